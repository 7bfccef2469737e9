"""What a forward pass cost, read off its cache: the cache knows every convolution that ran, and on what."""
import math

from numpyvision.check import arguments


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
