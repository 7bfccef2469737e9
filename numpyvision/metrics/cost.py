"""What a forward pass cost, read off its caches: a cache knows which convolution ran, and on what."""
import contextlib
import math

from numpyvision.check import arguments
from numpyvision.ops import conv, conv_transpose, linear

COUNTED = (conv, "conv2d_forward"), (conv_transpose, "conv_transpose2d_forward"), (linear, "linear_forward")


def multiply_adds(cache):
    """Multiplications of a weight with a value in a forward(train=True), by its cache (nested dicts and lists) -> int.

    Counts convolutions, transposed convolutions and linear layers; norms, activations and crops are small beside them.
    """
    if isinstance(cache, (list, tuple)):
        return sum(map(multiply_adds, cache))
    if not isinstance(cache, dict):
        return 0
    if {"x", "w", "has_b"} <= set(cache):
        return _one(cache)
    return sum(map(multiply_adds, cache.values()))


@contextlib.contextmanager
def counting():
    """Count whatever runs inside, with or without caches: `with counting() as counts: model.predict(...)`; then `sum(counts)`."""
    counts, originals = [], [getattr(module, name) for module, name in COUNTED]

    def counted(forward):
        def run(*args, **kwargs):
            out, cache = forward(*args, **kwargs)
            counts.append(_one(cache))
            return out, cache
        return run
    try:
        for (module, name), forward in zip(COUNTED, originals, strict=True):
            setattr(module, name, counted(forward))
        yield counts
    finally:
        for (module, name), forward in zip(COUNTED, originals, strict=True):
            setattr(module, name, forward)


def _one(cache):
    """One layer: every weight meets every output pixel (convolution), input pixel (transposed), or row (linear)."""
    x, w = cache["x"], cache["w"]
    if w.ndim == 2:
        return len(x) * w.size
    places = x.shape[2:]
    if "output_padding" not in cache:
        pairs = [arguments.int_pair(name, cache[name]) for name in ("stride", "padding", "dilation")]
        places = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(places, w.shape[2:], *pairs, strict=True)]
    return len(x) * math.prod(places) * w.size
