"""Normalisation layers: batch statistics, group statistics, or frozen ones; with relu=True, a ReLU behind them.

Frozen batch norm is a layer of its own and not a switch of BatchNorm2d, so that `train` means one thing everywhere: keep a cache.
"""
import numpy as np

from numpyvision.cache import NoCache
from numpyvision.layers.base import Layer
from numpyvision.ops import norm


class BatchNorm2d(Layer):
    """Normalise each channel over the batch (Ioffe & Szegedy 2015). With train=False the running statistics take the batch's place.

    The running mean and variance are updated in forward(train=True): the one mutation that the law tolerates.
    """

    def __init__(self, channels, momentum=0.1, eps=1e-5, relu=False, *, dtype=np.float32):
        self.momentum, self.eps, self.relu = momentum, eps, relu
        self.params = {"gamma": np.ones(channels, dtype), "beta": np.zeros(channels, dtype)}
        self.buffers = {"running_mean": np.zeros(channels, dtype), "running_var": np.ones(channels, dtype)}

    def forward(self, x, train=True):
        forward = norm.batch_norm_relu_forward if self.relu else norm.batch_norm_forward
        out, cache = forward(x, self.params["gamma"], self.params["beta"], self.buffers["running_mean"], self.buffers["running_var"],
                             train=train, momentum=self.momentum, eps=self.eps)
        return out, cache if train else NoCache()

    def backward(self, dout, cache):
        dx, dgamma, dbeta = norm.batch_norm_relu_backward(dout, cache) if self.relu else norm.batch_norm_backward(dout, cache)
        return dx, {"gamma": dgamma, "beta": dbeta}


class FrozenBatchNorm2d(Layer):
    """Normalise with statistics that never change: what a detector does with a pre-trained backbone and small batches."""

    def __init__(self, channels, eps=1e-5, relu=False, *, dtype=np.float32):
        self.eps, self.relu = eps, relu
        self.params = {"gamma": np.ones(channels, dtype), "beta": np.zeros(channels, dtype)}
        self.buffers = {"running_mean": np.zeros(channels, dtype), "running_var": np.ones(channels, dtype)}

    def forward(self, x, train=True):
        forward = norm.affine_norm_relu_forward if self.relu else norm.affine_norm_forward
        out, cache = forward(x, self.params["gamma"], self.params["beta"], self.buffers["running_mean"], self.buffers["running_var"],
                             eps=self.eps)
        return out, cache if train else NoCache()

    def backward(self, dout, cache):
        dx, dgamma, dbeta = norm.affine_norm_relu_backward(dout, cache) if self.relu else norm.affine_norm_backward(dout, cache)
        return dx, {"gamma": dgamma, "beta": dbeta}


class GroupNorm(Layer):
    """Normalise groups of channels of one image (Wu & He 2018): the same with one image as with a hundred, so it suits detectors."""

    def __init__(self, channels, num_groups=8, eps=1e-5, relu=False, *, dtype=np.float32):
        self.num_groups, self.eps, self.relu = num_groups, eps, relu
        self.params = {"gamma": np.ones(channels, dtype), "beta": np.zeros(channels, dtype)}

    def forward(self, x, train=True):
        forward = norm.group_norm_relu_forward if self.relu else norm.group_norm_forward
        out, cache = forward(x, self.params["gamma"], self.params["beta"], self.num_groups, eps=self.eps)
        return out, cache if train else NoCache()

    def backward(self, dout, cache):
        dx, dgamma, dbeta = norm.group_norm_relu_backward(dout, cache) if self.relu else norm.group_norm_backward(dout, cache)
        return dx, {"gamma": dgamma, "beta": dbeta}


NORMS = {"batch": BatchNorm2d, "frozen": FrozenBatchNorm2d, "group": GroupNorm}


def make_norm(kind, channels, relu=False, *, dtype=np.float32):
    """A norm layer by name: "batch", "frozen" or "group"; relu: with a ReLU behind it."""
    if kind not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {kind!r}")
    return NORMS[kind](channels, relu=relu, dtype=dtype)
