"""Multiply-adds counted from caches, against counts by hand."""
import numpy as np

from numpyvision.layers.conv import Conv2d
from numpyvision.layers.linear import Linear
from numpyvision.metrics.cost import counting, multiply_adds
from numpyvision.ops import conv, conv_transpose

RNG = np.random.default_rng(0)


def test_convolution():
    """2 images, 3 -> 5 channels, 3 x 3, stride 2, 9 x 7 with padding 1: 5 x 4 places of 27 weights for each of 5 channels."""
    _, cache = Conv2d(3, 5, 3, stride=2, padding=1, rng=RNG).forward(np.zeros((2, 3, 9, 7), np.float32))
    assert multiply_adds(cache) == 2 * (5 * 4) * 27 * 5


def test_groups_and_dilation():
    x, w = np.zeros((1, 4, 9, 9)), np.zeros((6, 2, 3, 3))
    _, cache = conv.conv2d_forward(x, w, groups=2, dilation=2)
    assert multiply_adds(cache) == 5 * 5 * 18 * 6


def test_transposed_convolution():
    """Each input pixel stamps the whole filter once."""
    _, cache = conv_transpose.conv_transpose2d_forward(np.zeros((2, 3, 4, 5)), np.zeros((3, 7, 2, 2)), stride=2)
    assert multiply_adds(cache) == 2 * 20 * 3 * 7 * 4


def test_a_tree_is_the_sum_and_no_cache_is_nothing():
    layer = Linear(12, 5, rng=RNG)
    _, cache = layer.forward(np.zeros((3, 12), np.float32))
    assert multiply_adds({"a": cache, ("b", 0): [cache, {"c": cache}], "shape": (3, 4), "positive": np.zeros(3)}) == 3 * 3 * 60
    assert multiply_adds(layer.forward(np.zeros((3, 12), np.float32), train=False)[1]) == 0


def test_counting_needs_no_cache_and_leaves_nothing_behind():
    before, layer, x = conv.conv2d_forward, Conv2d(3, 5, 3, rng=RNG), np.zeros((2, 3, 6, 6), np.float32)
    with counting() as counts:
        layer.forward(x, train=False)
        Linear(4, 2, rng=RNG).forward(np.zeros((3, 4), np.float32), train=False)
    layer.forward(x)
    assert counts == [2 * 16 * 27 * 5, 3 * 8] and conv.conv2d_forward is before
