"""Resizing feature maps (lecture L16-U02). Shapes here: x (N, C, H, W), s the scale factor, out (N, C, s*H, s*W)."""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.cache import Cache
from numpyvision.check import arguments as check


def upsample_nearest_forward(x, scale_factor=2):
    """Nearest neighbour: every pixel becomes an s x s block of itself. x (N, C, H, W) -> (N, C, s*H, s*W), s a whole number >= 1.

    [[1, 2], [3, 4]] -> [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]] (L16-U02). Caches shapes only.
    """
    check.array("x", x, 4, "(N, C, H, W)")
    s = check.positive_int("scale_factor", scale_factor)
    if backend.compiled(x):
        out = kernels.resize.upsample_nearest(np.ascontiguousarray(x), s)
    else:
        xp = backend.get_array_module(x)
        out = xp.repeat(xp.repeat(x, s, axis=2), s, axis=3)
    return out, Cache(x_shape=x.shape, scale_factor=s)


def upsample_nearest_backward(dout, cache):
    """dout (N, C, s*H, s*W) -> dx (N, C, H, W): copy gate, a pixel collects the gradients of its s x s copies."""
    s, (N, C, H, W) = cache.scale_factor, cache.x_shape
    check.require(dout.shape == (N, C, s * H, s * W), f"dout must have out's shape {(N, C, s * H, s * W)}, got {dout.shape}")
    if backend.compiled(dout):
        return kernels.resize.upsample_nearest_backward(np.ascontiguousarray(dout), s)
    return dout.reshape(N, C, H, s, W, s).sum(axis=(3, 5))
