"""Nearest-neighbour upsampling."""
import numpy as np
import pytest

import numpyvision
from numpyvision.ops import resize


def test_lecture_nearest_neighbour(mode):
    """L16-U02."""
    out, cache = resize.upsample_nearest_forward(np.array([[[[1., 2], [3, 4]]]]))
    assert out[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    dx = resize.upsample_nearest_backward(np.arange(16.).reshape(1, 1, 4, 4), cache)
    assert dx[0, 0].tolist() == [[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale_factor", [1, 2, 3, 8])
def test_is_a_kronecker_product_and_its_transpose(mode, dtype, scale_factor):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 19, 5)).astype(dtype).transpose(0, 1, 3, 2)
    out, cache = resize.upsample_nearest_forward(x, scale_factor)
    np.testing.assert_array_equal(out, np.kron(x, np.ones((scale_factor, scale_factor), dtype)))
    dout = rng.standard_normal(out.shape).astype(dtype)
    dx = resize.upsample_nearest_backward(dout, cache)
    blocks = dout.astype(np.float64).reshape(2, 3, 5, scale_factor, 19, scale_factor)
    np.testing.assert_allclose(dx, blocks.sum(axis=(3, 5)), atol=1e-5 if dtype == np.float32 else 1e-13)
    assert out.dtype == dx.dtype == dtype and not np.shares_memory(out, x)


def test_no_images(mode):
    out, cache = resize.upsample_nearest_forward(np.zeros((0, 3, 2, 4)))
    assert out.shape == (0, 3, 4, 8) and resize.upsample_nearest_backward(out, cache).shape == (0, 3, 2, 4)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="scale_factor must be an integer >= 1, got 1.5"):
        resize.upsample_nearest_forward(np.zeros((1, 1, 2, 2)), 1.5)
    _, cache = resize.upsample_nearest_forward(np.zeros((1, 1, 2, 2)))
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode), pytest.raises(ValueError, match=r"dout must have out's shape \(1, 1, 4, 4\)"):
            resize.upsample_nearest_backward(np.zeros((1, 1, 4, 5)), cache)
