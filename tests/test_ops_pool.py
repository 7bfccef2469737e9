"""Max, average and global average pooling."""
import numpy as np
import pytest

import numpyvision
from numpyvision.ops import pool

WINDOWS = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 3, 0), (2, 3, 1), (5, 2, 2), (1, 1, 0), (4, 1, 2)]     # kernel_size, stride, padding


def test_lecture_max_pooling_remembers_positions(mode):
    """L16-U07."""
    x = np.array([[1., 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]).reshape(1, 1, 4, 4)
    out, cache = pool.max_pool2d_forward(x, 2)
    assert out[0, 0].tolist() == [[5, 6], [7, 8]]
    assert cache.indices[0, 0].tolist() == [[5, 2], [12, 15]] and cache.indices.dtype == np.int64
    dx = pool.max_pool2d_backward(np.array([[[[10., 20], [30, 40]]]]), cache)
    assert dx[0, 0].tolist() == [[0, 0, 20, 0], [0, 10, 0, 0], [0, 0, 0, 0], [30, 0, 0, 40]]


def test_overlapping_windows_add_up_at_a_shared_maximum(mode):
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    _, cache = pool.max_pool2d_forward(x, 2, stride=1)
    dx = pool.max_pool2d_backward(np.array([[[[1., 10], [100, 1000]]]]), cache)
    assert dx[0, 0].tolist() == [[0, 0, 0], [0, 1111, 0], [0, 0, 0]]


@pytest.mark.parametrize("kernel_size, stride, padding", WINDOWS)
def test_max_pool_equals_a_loop_over_windows(mode, kernel_size, stride, padding):
    """With many equal maxima: the first in reading order is meant."""
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 3, (2, 3, 7, 37)).astype(np.float64)
    out, cache = pool.max_pool2d_forward(x, kernel_size, stride, padding)
    for n, c, r, q in np.ndindex(*out.shape):
        rows = range(max(r * stride - padding, 0), min(r * stride - padding + kernel_size, 7))
        cols = range(max(q * stride - padding, 0), min(q * stride - padding + kernel_size, 37))
        best = max(((h, w) for h in rows for w in cols), key=lambda place, x=x[n, c]: x[place])        # max() keeps the first
        assert cache.indices[n, c, r, q] == best[0] * 37 + best[1]
        assert out[n, c, r, q] == x[n, c][best]


@pytest.mark.parametrize("kernel_size, stride, padding", WINDOWS)
def test_average_pool_equals_a_loop_and_its_transpose(mode, kernel_size, stride, padding):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 7, 37))
    out, cache = pool.avg_pool2d_forward(x, kernel_size, stride, padding)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    for r, q in np.ndindex(*out.shape[2:]):
        window = padded[:, :, r * stride:r * stride + kernel_size, q * stride:q * stride + kernel_size]
        np.testing.assert_allclose(out[:, :, r, q], window.mean(axis=(2, 3)), atol=1e-14)
    dout = rng.standard_normal(out.shape)                              # linear: <dout, pool(x)> = <dx, x>
    assert np.isclose((dout * out).sum(), (pool.avg_pool2d_backward(dout, cache) * x).sum(), rtol=1e-12)


@pytest.mark.parametrize("kernel_size, stride, padding", WINDOWS)
def test_a_nan_is_not_hidden(mode, kernel_size, stride, padding):
    x = np.random.default_rng(2).standard_normal((1, 1, 7, 9))
    x[0, 0, 3, 4] = np.nan
    out, cache = pool.max_pool2d_forward(x, kernel_size, stride, padding)
    clean, _ = pool.max_pool2d_forward(np.nan_to_num(x), kernel_size, stride, padding)
    touched = np.zeros((7, 9), bool)
    touched[3, 4] = True
    reached, _ = pool.avg_pool2d_forward(touched[None, None].astype(float), kernel_size, stride, padding)
    np.testing.assert_array_equal(np.isnan(out), reached > 0)
    np.testing.assert_array_equal(out[reached == 0], clean[reached == 0])
    assert (cache.indices[reached > 0] == 3 * 9 + 4).all()


def test_a_window_of_minus_infinity_points_inside_the_image(mode):
    x = np.full((1, 1, 3, 3), -np.inf)
    for window in WINDOWS:
        if window[0] <= 3:
            out, cache = pool.max_pool2d_forward(x, *window)
            assert (out == -np.inf).all() and (cache.indices >= 0).all() and (cache.indices < 9).all()
            row = np.maximum(np.arange(out.shape[2]) * window[1] - window[2], 0)
            np.testing.assert_array_equal(cache.indices[0, 0], row[:, None] * 3 + row)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel_size, stride, padding", WINDOWS)
def test_compiled_equals_readable(dtype, kernel_size, stride, padding):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 3, 70, 41)).astype(dtype).transpose(0, 1, 3, 2)
    results = []
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode):
            largest, cache_max = pool.max_pool2d_forward(x, kernel_size, stride, padding)
            mean, cache_mean = pool.avg_pool2d_forward(x, kernel_size, stride, padding)
            dout = np.random.default_rng(4).standard_normal(mean.shape).astype(dtype)
            results.append((largest, cache_max.indices, mean, pool.max_pool2d_backward(dout, cache_max),
                            pool.avg_pool2d_backward(dout, cache_mean)))
    for i, (readable, compiled) in enumerate(zip(*results, strict=True)):
        assert compiled.dtype == readable.dtype == (np.int64 if i == 1 else dtype)
        np.testing.assert_allclose(compiled, readable, atol=(0 if i < 2 else 1e-6 if dtype == np.float32 else 1e-14))


def test_global_average_of_a_map_for_many_threads(mode):
    x = np.random.default_rng(0).standard_normal((2, 3, 421, 433)) + 5
    np.testing.assert_allclose(pool.global_avg_pool_forward(x)[0], x.mean(axis=(2, 3)), rtol=1e-13)
    assert x.size > 1 << 20


def test_global_average(mode):
    x = np.arange(12.).reshape(1, 2, 2, 3)
    out, cache = pool.global_avg_pool_forward(x)
    assert out.tolist() == [[2.5, 8.5]]
    dx = pool.global_avg_pool_backward(np.array([[6., 12]]), cache)
    assert dx[0].tolist() == [[[1, 1, 1], [1, 1, 1]], [[2, 2, 2], [2, 2, 2]]]
    dx[0, 0, 0, 0] = 7                                                 # an array of its own, not a broadcast view
    assert dx[0, 0, 0, 1] == 1


def test_no_images(mode):
    for out, cache in (pool.max_pool2d_forward(np.zeros((0, 3, 4, 4)), 2), pool.avg_pool2d_forward(np.zeros((0, 3, 4, 4)), 2)):
        backward = pool.max_pool2d_backward if "indices" in cache else pool.avg_pool2d_backward
        assert out.shape == (0, 3, 2, 2) and backward(out, cache).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("arguments, message", [
    (dict(kernel_size=5), "at least kernel_size 5 high and wide"),
    (dict(kernel_size=2, padding=2), "padding must be at most half of kernel_size 2, got 2"),
    (dict(kernel_size=0), "kernel_size must be an integer >= 1, got 0"),
    (dict(kernel_size=2, stride=0), "stride must be an integer >= 1"),
    (dict(kernel_size=2, padding=-1), "padding must be an integer"),
])
@pytest.mark.parametrize("forward", [pool.max_pool2d_forward, pool.avg_pool2d_forward])
def test_wrong_arguments_are_named(forward, arguments, message):
    with pytest.raises(ValueError, match=message):
        forward(np.zeros((1, 1, 4, 4)), **arguments)


def test_a_single_image_is_named():
    with pytest.raises(ValueError, match=r"a single image needs x\[None\]"):
        pool.max_pool2d_forward(np.zeros((3, 4, 4)), 2)


def test_indices_of_another_layer_raise_instead_of_writing_elsewhere():
    _, cache = pool.max_pool2d_forward(np.zeros((1, 2, 4, 4)), 2)
    for wrong in (16, -1, 10**12):
        cache["indices"] = np.full((1, 2, 2, 2), wrong)
        with pytest.raises(ValueError, match=r"indices must lie in 0..15 .* got 8 outside"):
            pool.max_pool2d_backward(np.zeros((1, 2, 2, 2)), cache)
