"""The matrix products under convolutions and linear layers: against NumPy at ragged sizes, and where numbers get too small."""
import numpy as np
import pytest

import numpyvision
from numpyvision import kernels
from numpyvision.kernels import product_wide, vector
from numpyvision.ops import conv, conv_transpose, linear

SIZES = [(1, 1, 1), (5, 7, 3), (8, 320, 32), (9, 321, 33), (3, 700, 65), (70, 40, 12), (130, 5, 300), (20, 0, 9), (20, 600, 7), (2, 601, 5)]


@pytest.mark.parametrize("M, K, J", SIZES)
def test_the_three_products_equal_numpys(M, K, J):
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((M, K)), rng.standard_normal((K, J))
    for product in (kernels.linear.matmul(A, B), kernels.linear.matmul_at(A.T.copy(), B), kernels.linear.matmul_bt(A, B.T.copy())):
        np.testing.assert_allclose(product, A @ B, rtol=1e-12, atol=1e-12)


def test_a_long_sum_of_float32_is_as_exact_as_a_short_one():
    """12544 features, all positive: summed one by one, the rounding of the last additions alone would be 1e-5."""
    rng = np.random.default_rng(0)
    x, w = rng.random((16, 12544), np.float32), rng.random((12544, 64), np.float32)
    exact = x.astype(float) @ w.astype(float)
    out, cache = linear.linear_forward(x, w)
    assert np.abs(out - exact).max() < 2e-6 * exact.max()
    dx, dw, _ = linear.linear_backward(out, cache)
    np.testing.assert_allclose(dx, out @ w.T, rtol=1e-5)
    np.testing.assert_allclose(dw, x.T @ out, rtol=1e-5)


@pytest.mark.skipif(not vector._has_bits, reason="a processor whose denormals cost nothing, or plain Python")
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_numbers_too_small_to_multiply_fast_count_as_zero_in_a_convolution_and_nowhere_else(kernel_size):
    rng = np.random.default_rng(0)
    small = np.full((1, 16, 8, 8), 1e-40, np.float32)
    w = rng.random((16, 16, kernel_size, kernel_size), np.float32)
    out, cache = conv.conv2d_forward(small, w, padding=kernel_size // 2)
    dx, dw, _ = conv.conv2d_backward(np.ones_like(out), cache)
    assert not out.any() and not dw.any() and dx.all()
    assert (small * np.float32(2)).all()                                 # NumPy, on this thread: as before


@pytest.mark.parametrize("C, F, groups, size, stride", [
    pytest.param(3, 4, 1, (33, 45), 1, id="one block stands for eight channels"),
    pytest.param(3, 20, 1, (70, 75), 2, id="blocks overlap"),
    pytest.param(6, 6, 6, (36, 40), 1, id="one channel a group"),
    pytest.param(40, 24, 2, (40, 41), 1, id="many taps: rows are laid apart"),
    pytest.param(18, 50, 1, (9, 11), 2, id="fewer channels than taps: turned"),
    pytest.param(460, 35, 1, (4, 5), 1, id="turned, more taps than sums at once"),
    pytest.param(3, 70, 1, (12, 11), 2, id="more channels than taps: x is turned"),
])
def test_the_gradient_to_filters_is_right(C, F, groups, size, stride):
    """Inner products, read where they lie: rows that are no whole registers, and maps too large for one piece. And panels, either way."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, C, *size)), rng.standard_normal((F, C // groups, 3, 3))
    out, cache = conv.conv2d_forward(x, w, stride=stride, padding=1, groups=groups)
    dout = rng.standard_normal(out.shape)
    _, dw, _ = conv.conv2d_backward(dout, cache)
    with numpyvision.use("numpy"):
        _, expected, _ = conv.conv2d_backward(dout, cache)
    np.testing.assert_allclose(dw, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size, kernel_size, stride, padding", [
    pytest.param((5, 9), 16, 8, 4, id="FCN's upsampler: quads of phases"),
    pytest.param((2, 18), 32, 16, 8, id="a whole tile of phases"),
    pytest.param((9, 8), 4, 2, 1, id="tiles of more than one row"),
    pytest.param((7, 16), 6, 3, 1, id="phases that no rule knows, and a row too many"),
    pytest.param((9, 14), 2, 2, 0, id="pairs of phases, rows that are not whole"),
])
def test_a_transposed_convolution_is_right(size, kernel_size, stride, padding):
    """Its phases are rows of one product, and dealt out to the pixels again."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 5, *size)), rng.standard_normal((5, 3, kernel_size, kernel_size))
    out, cache = conv_transpose.conv_transpose2d_forward(x, w, stride=stride, padding=padding)
    dout = rng.standard_normal(out.shape)
    grads = conv_transpose.conv_transpose2d_backward(dout, cache)
    with numpyvision.use("numpy"):
        expected, _ = conv_transpose.conv_transpose2d_forward(x, w, stride=stride, padding=padding)
        expected_grads = conv_transpose.conv_transpose2d_backward(dout, cache)
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-10)
    for ours, readable in zip(grads[:2], expected_grads[:2], strict=True):
        np.testing.assert_allclose(ours, readable, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels, groups, size, kernel_size, stride, padding", [
    pytest.param((9, 2), 1, (5, 40), (3, 16), (2, 8), (1, 4), id="a block that steps back, and a long sum"),
    pytest.param((20, 2), 2, (3, 3), (16, 16), (8, 8), (4, 3), id="groups, and rows that are no whole registers"),
    pytest.param((8, 3), 1, (17, 33), (2, 32), (1, 1), (0, 5), id="rows of more than one register, and a sum in two pieces"),
    pytest.param((24, 4), 2, (3, 16), (2, 16), (2, 2), (1, 4), id="tall tiles"),
])
def test_the_gradient_to_filters_as_wide_as_registers_is_right(channels, groups, size, kernel_size, stride, padding):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, channels[0], *size)), rng.standard_normal((channels[0], channels[1] // groups, *kernel_size))
    assert product_wide.suits(w.shape, (1, 1), groups, x.dtype)
    out, cache = conv_transpose.conv_transpose2d_forward(x, w, stride=stride, padding=padding, groups=groups)
    dout = rng.standard_normal(out.shape)
    dx, dw, _ = conv_transpose.conv_transpose2d_backward(dout, cache)
    with numpyvision.use("numpy"):
        expected_dx, expected, _ = conv_transpose.conv_transpose2d_backward(dout, cache)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(dw, expected, rtol=1e-10, atol=1e-10)
