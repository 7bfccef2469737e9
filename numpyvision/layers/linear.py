"""A fully connected layer."""
import numpy as np

from numpyvision.cache import NoCache
from numpyvision.layers.base import Layer
from numpyvision.ops import linear


class Linear(Layer):
    """(N, D) or (N, anything with D numbers) -> (N, out_features). w (D, F) starts as in `Conv2d`; b (F,) at zero."""

    def __init__(self, in_features, out_features, std=None, *, rng, dtype=np.float32):
        w = rng.standard_normal((in_features, out_features)) * (np.sqrt(2 / in_features) if std is None else std)
        self.params = {"w": w.astype(dtype), "b": np.zeros(out_features, dtype)}

    def forward(self, x, train=True):
        out, cache = linear.linear_forward(x, self.params["w"], self.params["b"])
        return out, cache if train else NoCache()

    def backward(self, dout, cache):
        dx, dw, db = linear.linear_backward(dout, cache)
        return dx, {"w": dw, "b": db}
