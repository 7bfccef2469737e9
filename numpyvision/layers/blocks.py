"""Residual blocks (He et al. 2016): out = relu(F(x) + shortcut(x)). Read `backward` beside `forward`: it is forward, read upwards.

Three gates are all there is to it. An *add* hands the same gradient to both of its inputs; a *copy* (x fed two branches) adds the two
gradients that come back; a *ReLU* lets the gradient pass where its input was positive.

Shapes here: N images, C channels in, F channels out, stride s: (N, C, H, W) -> (N, F, H/s, W/s).
"""
import numpy as np

from numpyvision.cache import NoCache, new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.conv import Conv2d
from numpyvision.layers.norm import make_norm
from numpyvision.ops.activation import add, add_relu, relu_backward


class ConvNorm(Layer):
    """A convolution and the norm behind it, with relu=True also a ReLU behind that. No bias: the norm's beta is one."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, norm="group", relu=False, *, rng, dtype=np.float32):
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False, rng=rng, dtype=dtype)
        self.norm = make_norm(norm, out_channels, relu, dtype=dtype)

    def forward(self, x, train=True):
        cache = new_cache(train)
        h, cache["conv"] = self.conv.forward(x, train)
        out, cache["norm"] = self.norm.forward(h, train)
        return out, cache

    def backward(self, dout, cache):
        grads = {}
        dh, grads["norm"] = self.norm.backward(dout, cache.norm)
        dx, grads["conv"] = self.conv.backward(dh, cache.conv)
        return dx, grads


class Identity(Layer):
    """The shortcut of a block that changes neither size nor channels."""

    def forward(self, x, train=True):
        return x, NoCache()

    def backward(self, dout, cache):
        return dout, {}


class BasicBlock(Layer):
    """Two 3x3 convolutions and a shortcut: the block of ResNet-18 and -34."""

    def __init__(self, in_channels, out_channels, stride=1, norm="group", *, rng, dtype=np.float32):
        self.conv1 = ConvNorm(in_channels, out_channels, 3, stride, norm, relu=True, rng=rng, dtype=dtype)
        self.conv2 = ConvNorm(out_channels, out_channels, 3, 1, norm, rng=rng, dtype=dtype)
        self.shortcut = make_shortcut(in_channels, out_channels, stride, norm, rng, dtype)

    def forward(self, x, train=True):
        cache = new_cache(train)
        h, cache["conv1"] = self.conv1.forward(x, train)
        h, cache["conv2"] = self.conv2.forward(h, train)
        skip, cache["shortcut"] = self.shortcut.forward(x, train)
        out, cache["relu"] = add_relu(h, skip)
        return out, cache

    def backward(self, dout, cache):
        grads = {}
        dsum = relu_backward(dout, cache.relu)                          # add gate: both branches get the same gradient
        dx_skip, grads["shortcut"] = self.shortcut.backward(dsum, cache.shortcut)
        dh, grads["conv2"] = self.conv2.backward(dsum, cache.conv2)
        dx_main, grads["conv1"] = self.conv1.backward(dh, cache.conv1)
        return add(dx_main, dx_skip), grads                             # copy gate: x fed two branches, gradients add


class Bottleneck(Layer):
    """1x1 down to a quarter of the channels, 3x3, 1x1 up again: the block of ResNet-50 and deeper."""

    def __init__(self, in_channels, out_channels, stride=1, norm="group", *, rng, dtype=np.float32):
        middle = out_channels // 4
        self.conv1 = ConvNorm(in_channels, middle, 1, 1, norm, relu=True, rng=rng, dtype=dtype)
        self.conv2 = ConvNorm(middle, middle, 3, stride, norm, relu=True, rng=rng, dtype=dtype)
        self.conv3 = ConvNorm(middle, out_channels, 1, 1, norm, rng=rng, dtype=dtype)
        self.shortcut = make_shortcut(in_channels, out_channels, stride, norm, rng, dtype)

    def forward(self, x, train=True):
        cache = new_cache(train)
        h, cache["conv1"] = self.conv1.forward(x, train)
        h, cache["conv2"] = self.conv2.forward(h, train)
        h, cache["conv3"] = self.conv3.forward(h, train)
        skip, cache["shortcut"] = self.shortcut.forward(x, train)
        out, cache["relu"] = add_relu(h, skip)
        return out, cache

    def backward(self, dout, cache):
        grads = {}
        dsum = relu_backward(dout, cache.relu)                          # add gate: both branches get the same gradient
        dx_skip, grads["shortcut"] = self.shortcut.backward(dsum, cache.shortcut)
        dh, grads["conv3"] = self.conv3.backward(dsum, cache.conv3)
        dh, grads["conv2"] = self.conv2.backward(dh, cache.conv2)
        dx_main, grads["conv1"] = self.conv1.backward(dh, cache.conv1)
        return add(dx_main, dx_skip), grads                             # copy gate: x fed two branches, gradients add


BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


def make_shortcut(in_channels, out_channels, stride, norm, rng, dtype):
    """Nothing where the block keeps its shape, else a 1x1 convolution that changes it (He et al. 2016, option B)."""
    if stride == 1 and in_channels == out_channels:
        return Identity()
    return ConvNorm(in_channels, out_channels, 1, stride, norm, rng=rng, dtype=dtype)
