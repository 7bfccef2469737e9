"""Where did the NaN come from? Named by walking everything that a training step touched, in the order in which it was computed."""
import dataclasses

import numpy as np

from numpyvision import backend, tree
from numpyvision.cache import leaves


class NonFiniteError(FloatingPointError):
    """A loss or a gradient became NaN or infinite. The message names the step and the first bad tensor."""


def first_nonfinite(named_arrays):
    """(name, description) of the first array that holds a NaN or an infinity, or None. Integers, strings and None are passed over."""
    for name, value in named_arrays:
        if value is None or not hasattr(value, "dtype") and not isinstance(value, float):
            continue
        a = backend.to_numpy(value) if hasattr(value, "dtype") else np.asarray(value)
        if a.dtype.kind in "fc" and not np.isfinite(a).all():
            nans, infs = int(np.isnan(a).sum()), int(np.isinf(a).sum())
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(a))[0])
            return name, f"{a.shape} {a.dtype}: {nans} NaN, {infs} infinite of {a.size}, first at {where}"
    return None


def explain_losses(model, batch, rng, losses, step):
    """The NonFiniteError for a step whose losses are not finite: forward runs again on the same batch, and its cache is searched.

    Order: what came in, then the parameters, then the cache (an entry is the *input* of the operation that it belongs to, so the
    operation before it made the bad number), then the buffers (this very forward may have spoiled running statistics), then the losses.
    """
    bad = ", ".join(f"{name} = {float(value)}" for name, value in losses.items() if not np.isfinite(float(value)))
    found = first_nonfinite(_named_inputs(batch)) or first_nonfinite((f"parameter {n}", p) for n, p in model.named_params())
    if found is None:
        losses, cache = model.forward(batch.images, batch.targets, batch.sizes, rng=rng, train=True)
        found = first_nonfinite((f"cache {name}", value) for name, value in leaves(cache))
    found = found or first_nonfinite((f"buffer {n}", b) for n, b in model.named_buffers())
    found = found or first_nonfinite((f"loss {name}", float(value)) for name, value in losses.items())
    name, text = found or ("none", "a second forward on the same batch was finite: forward is not deterministic")
    return NonFiniteError(f"step {step}: {bad}; first bad tensor: {name} {text}; usual cause: {_cause(name)}")


def explain_gradients(grads, step):
    """The NonFiniteError for finite losses with gradients that are not. Searched in backward's own order: nearest to the loss first."""
    flat = tree.flatten(grads)
    found = first_nonfinite((f"gradient {name}", g) for name, g in flat.items())
    if found is None:                                                 # each is finite, their norm is not: squares overflow float64
        name = max(flat, key=lambda n: float(np.abs(backend.to_numpy(flat[n])).max(initial=0)))
        found = f"gradient {name}", "so large that the joint norm overflows"
    return NonFiniteError(f"step {step}: the losses are finite, the gradients are not; first bad tensor: {found[0]} {found[1]}; "
                          "usual cause: a backward that divides by zero or takes the log of it")


def explain_state(model, optimizer, step):
    """A NonFiniteError if the update of this step spoiled a parameter, a buffer or the optimiser's memory, else None."""
    named = [(f"parameter {n}", p) for n, p in model.named_params()] + [(f"buffer {n}", b) for n, b in model.named_buffers()]
    found = first_nonfinite(named + [(f"optimiser state {n}", s) for n, s in optimizer.state_dict().items()])
    return found and NonFiniteError(f"step {step}: first bad tensor: {found[0]} {found[1]}; usual cause: {_cause(found[0])}")


def _named_inputs(batch):
    yield "images", batch.images
    for i, target in enumerate(batch.targets):
        parts = {f.name: getattr(target, f.name) for f in dataclasses.fields(target)} if dataclasses.is_dataclass(target) else target
        parts = parts if isinstance(parts, dict) else {"": parts}
        for key, value in parts.items():
            yield f"targets[{i}]" + (f".{key}" if key else ""), value


def _cause(name):
    if name.startswith(("images", "targets")):
        return "the data; `numpyvision data check` lists faulty files"
    return "a learning rate that is too high; lower it, or lengthen the warm-up"
