"""kernels/winograd.py against the readable float64 convolution: exact enough at every size, never for float64, the same bits every time."""
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import numpyvision
from numpyvision import kernels
from numpyvision.ops import conv

TOLERANCE = 2e-5                     # of the largest value: the float32 contract
SHAPES = [(2, 16, 13, 10, 48, (1, 1)), (1, 32, 5, 4, 16, (0, 2)), (3, 64, 7, 7, 32, (1, 1)), (13, 16, 7, 7, 16, (1, 1)),
          (2, 32, 32, 32, 32, (1, 1)), (2, 48, 9, 7, 96, (1, 1)), (1, 96, 6, 5, 128, (0, 2)),
          (1, 160, 6, 11, 80, (1, 1)), (1, 32, 28, 52, 48, (1, 1)), (1, 256, 30, 62, 64, (1, 1)),    # the last five: shared out by filters
          (1, 16, 10, 304, 16, (1, 0)), (1, 16, 9, 420, 16, (2, 1)), (5, 16, 8, 8, 32, (2, 2)), (1, 16, 4, 4, 16, (0, 0))]


def arrays(N, C, H, W, F, padding, seed=0):
    rng = np.random.default_rng(seed)
    dout = (N, F, H + 2 * padding[0] - 2, W + 2 * padding[1] - 2)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((N, C, H, W), (F, C, 3, 3), (F,), dout)]


def exact(x, w, b, dout, padding):
    """out, dx, dw by the readable body in float64."""
    with numpyvision.use("numpy"):
        out, cache = conv.conv2d_forward(*(a.astype(np.float64) for a in (x, w, b)), padding=padding)
        return out, *conv.conv2d_backward(dout.astype(np.float64), cache)[:2]


def fast(x, w, b, dout, padding):
    winograd = kernels.winograd
    return winograd.conv2d(x, w, b, padding), winograd.conv2d_dx(dout, w, padding), winograd.conv2d_dw(dout, x, padding)


def error(got, expected):
    assert got.shape == expected.shape and got.dtype == np.float32
    return abs(got - expected).max() / abs(expected).max()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_cut_into_strips_gives_the_convolution(shape):
    *sizes, padding = shape
    x, w, b, dout = arrays(*sizes, padding)
    for name, got, expected in zip(("out", "dx", "dw"), fast(x, w, b, dout, padding), exact(x, w, b, dout, padding), strict=True):
        assert error(got, expected) < TOLERANCE, name


def test_exact_enough_at_512_channels():
    x, w, b, dout = arrays(1, 512, 12, 12, 512, (1, 1))
    assert max(error(got, e) for got, e in zip(fast(x, w, b, dout, (1, 1)), exact(x, w, b, dout, (1, 1)), strict=True)) < TOLERANCE


def test_only_float32_3x3_at_stride_1_comes_here():
    x = np.zeros((1, 16, 8, 8), np.float32)
    usual = ((16, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1)
    assert kernels.winograd.suits(x, *usual)
    assert not kernels.winograd.suits(x.astype(np.float64), *usual)
    for k, other in enumerate([(16, 16, 5, 5), (2, 2), (3, 3), (2, 2), 2]):
        assert not kernels.winograd.suits(x, *usual[:k], other, *usual[k + 1:])


def test_a_result_is_never_a_workspace():
    x, w, b, dout = arrays(2, 16, 12, 12, 16, (1, 1))
    first = fast(x, w, b, dout, (1, 1))
    kept = [a.copy() for a in first]
    again = fast(x + 1, w + 1, b, dout + 1, (1, 1))
    assert all(np.array_equal(a, k) for a, k in zip(first, kept, strict=True))
    assert not any(np.shares_memory(a, other) for a in first for other in again)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_every_time(threads):
    import numba
    x, w, b, dout = arrays(3, 32, 20, 20, 32, (1, 1))
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        runs = [fast(x, w, b, dout, (1, 1)) for _ in range(3)]
    finally:
        numba.set_num_threads(before)
    assert all(np.array_equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


def test_uncompiled_twin_of_the_vector_code():
    """NUMBA_DISABLE_JIT=1 runs the Python functions that vector.py gives in place of its instructions."""
    script = """
import test_kernels_winograd as t
x, w, b, dout = t.arrays(2, 16, 7, 9, 16, (1, 1))
print(max(t.error(g, e) for g, e in zip(t.fast(x, w, b, dout, (1, 1)), t.exact(x, w, b, dout, (1, 1)))))
"""
    folders = [pathlib.Path(__file__).parent, pathlib.Path(numpyvision.__file__).parent.parent]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(map(str, folders))})
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < TOLERANCE
