"""What the elementwise losses share: weights, and the number that their sum is divided by."""
import numpy as np

from numpyvision import backend
from numpyvision.backend import get_array_module
from numpyvision.check import arguments as check


def weight_and_normalizer(x, weights, normalizer):
    """Weights as an array of x's dtype that broadcasts to x (None stays None), and the normalizer: by default how many have a weight."""
    xp = get_array_module(x)
    count = x.size
    if weights is not None:
        weights = xp.asarray(weights, dtype=x.dtype)
        check.require(_fits(weights.shape, x.shape), f"weights must broadcast to {x.shape}, got {weights.shape}; "
                                                     "one weight a row of an (R, 4) array is weights[:, None]")
        count = int(xp.broadcast_to(weights != 0, x.shape).sum())
    if normalizer is None:
        return weights, float(max(count, 1))
    check.require(normalizer > 0, f"normalizer must be above 0, got {normalizer}; for a count that may be 0 pass max(count, 1)")
    return weights, float(normalizer)


def check_weighted(name, x, target_name, target):
    """x an array of any shape, target one of the same shape and dtype."""
    if backend.compiled(x, target) and x.shape == target.shape:        # arrays for a kernel need no further look
        return
    ndim = getattr(x, "ndim", 0)
    check.array(name, x, ndim, "any shape")
    check.array(target_name, target, getattr(target, "ndim", ndim), "any shape")
    if x.shape != target.shape:                                        # its text is formatted only where it is needed
        raise ValueError(f"{target_name} must have the shape of {name} {x.shape}, got {target.shape}")
    check.same_dtype({name: x, target_name: target})


def flat(x, *others):
    """x and the others, broadcast to x's shape, on one axis in C order: what a kernel takes. None stays None."""
    return [None if a is None else (a if a.shape == x.shape else np.broadcast_to(a, x.shape)).ravel() for a in (x, *others)]


def _fits(shape, target):
    return len(shape) <= len(target) and all(a in (1, b) for a, b in zip(shape[::-1], target[::-1], strict=False))
