"""Convolution as a layer: it holds the weights; the arithmetic is in `ops/conv.py`."""
import numpy as np

from numpyvision.cache import NoCache
from numpyvision.layers.base import Layer
from numpyvision.ops import conv


class Conv2d(Layer):
    """(N, in_channels, H, W) -> (N, out_channels, Ho, Wo).

    w (F, C/groups, kh, kw) starts as Gaussian noise of standard deviation `std`, by default sqrt(2 / fan_in): half of what arrives is lost
    to the ReLU before it, and this keeps the variance of the activations the same from layer to layer (He et al. 2015, Eq. 10).
    A convolution in front of a norm layer wants bias=False: the norm subtracts the mean, and the bias with it.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, std=None, *, rng,
                 dtype=np.float32):
        kh, kw = kernel_size if isinstance(kernel_size, (tuple, list)) else (kernel_size, kernel_size)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        fan_in = in_channels // groups * kh * kw
        w = rng.standard_normal((out_channels, in_channels // groups, kh, kw)) * (np.sqrt(2 / fan_in) if std is None else std)
        self.params = {"w": w.astype(dtype)}
        if bias:
            self.params["b"] = np.zeros(out_channels, dtype)

    def forward(self, x, train=True):
        out, cache = conv.conv2d_forward(x, self.params["w"], self.params.get("b"), self.stride, self.padding, self.dilation, self.groups)
        return out, cache if train else NoCache()

    def backward(self, dout, cache):
        dx, dw, db = conv.conv2d_backward(dout, cache)
        return dx, {"w": dw} if db is None else {"w": dw, "b": db}
