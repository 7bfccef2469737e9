"""What every layer and model is: parameters with names, a forward that returns its cache, a backward that takes it.

    out, cache = layer.forward(x, train=True);   dx, grads = layer.backward(dout, cache)

A layer keeps nothing between the two: everything backward needs is in `cache`, so one layer may run many times (once a pyramid level, say)
before any of its backwards. `grads` is a nested dict whose dotted names equal those of `named_params()`.
"""
from numpyvision.cache import new_cache


class Layer:
    """Base of all layers. Parameters live in `params`, running statistics in `buffers`, sub-layers in attributes or lists of them."""

    def named_params(self, prefix=""):
        """(dotted name, array) of every parameter here and below, in the order in which they were made."""
        yield from self._named("params", prefix)

    def named_buffers(self, prefix=""):
        """(dotted name, array) of every array that is part of the state but gets no gradient: running means and variances."""
        yield from self._named("buffers", prefix)

    def _named(self, kind, prefix):
        for name, array in vars(self).get(kind, {}).items():
            yield prefix + name, array
        for name, value in vars(self).items():
            for path, layer in sublayers(name, value):
                yield from layer._named(kind, f"{prefix}{path}.")

    def astype(self, dtype):
        """Convert all parameters and buffers in place (float64 to check gradients, float32 to train); returns self."""
        for kind in ("params", "buffers"):
            arrays = vars(self).get(kind, {})
            for name in arrays:
                arrays[name] = arrays[name].astype(dtype)
        for name, value in vars(self).items():
            for _, layer in sublayers(name, value):
                layer.astype(dtype)
        return self

    def forward(self, x, train=True):
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dout, cache):
        raise NotImplementedError(f"{type(self).__name__} has no backward")


def sublayers(name, value):
    """(path, layer) for an attribute that is a layer or a list or dict of layers."""
    if isinstance(value, Layer):
        yield name, value
    elif isinstance(value, (list, tuple)):
        yield from ((f"{name}.{i}", v) for i, v in enumerate(value) if isinstance(v, Layer))
    elif isinstance(value, dict):
        yield from ((f"{name}.{key}", v) for key, v in value.items() if isinstance(v, Layer))


class Sequential(Layer):
    """Layers in a row: the output of one is the input of the next."""

    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x, train=True):
        cache = new_cache(train)
        for i, layer in enumerate(self.layers):
            x, cache[i] = layer.forward(x, train)
        return x, cache

    def backward(self, dout, cache):
        grads = [None] * len(self.layers)
        for i in reversed(range(len(self.layers))):
            dout, grads[i] = self.layers[i].backward(dout, cache[i])
        return dout, {"layers": grads}
