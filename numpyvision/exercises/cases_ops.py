"""Inputs for the exercises about operations: {name: function(rng) -> [(args, kwargs), ...]}, the worked example first.

A forward or backward without an entry here gets the lines that contract.py has for its operation.
"""
import numpy as np


def conv2d(rng):
    yield [np.arange(9.).reshape(1, 1, 3, 3), np.array([[[[1., 0], [0, -1]]]])], {}
    yield [rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((4, 3, 3, 2)), rng.standard_normal(4)], {}
    yield [rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)], {"stride": 2, "padding": 1}
    yield ([rng.standard_normal((2, 4, 7, 8)), rng.standard_normal((6, 2, 3, 2)), rng.standard_normal(6)],
           {"stride": (2, 1), "padding": (1, 0), "dilation": (2, 1), "groups": 2})
    yield [np.zeros((0, 2, 4, 4)), rng.standard_normal((3, 2, 3, 3))], {"padding": 1}                          # no image


CASES = {
    "conv2d_forward": conv2d,
}
OPTIONS = {}
CHECKS = {}
