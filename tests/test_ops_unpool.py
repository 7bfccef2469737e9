"""max_unpool2d: the slide's numbers, the rows L16-U07 to U10, shared places, odd sizes, wrong pairings. torch is compared in oracle/."""
import itertools

import numpy as np
import pytest

import numpyvision
from numpyvision.ops import pool

SLIDE = np.array([[1., 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]).reshape(1, 1, 4, 4)
# (kernel_size, stride, padding, H, W): the third and the last overlap, the second and the fourth drop a row or a column
WINDOWS = [(2, 2, 0, 6, 8), (2, 2, 0, 7, 5), (3, 1, 0, 6, 7), (3, 3, 0, 8, 10), (2, 2, 0, 2, 2), (1, 1, 0, 1, 1), (3, 2, 1, 9, 8)]


def pooled(k, s, p, H, W):
    """A map of distinct positive numbers, and what pooling makes of it."""
    x = 1. + np.random.default_rng(0).permutation(2 * 3 * H * W).reshape(2, 3, H, W)
    out, cache = pool.max_pool2d_forward(x, k, s, p)
    return x, out, cache.indices


def test_lecture_pool_remembers_and_unpool_puts_back(mode):
    """L16-U07, U08."""
    out, cache = pool.max_pool2d_forward(SLIDE, 2)
    assert out[0, 0].tolist() == [[5, 6], [7, 8]] and cache.indices.ravel().tolist() == [5, 2, 12, 15]
    out, cache = pool.max_unpool2d_forward(np.array([[[[1., 2], [3, 4]]]]), cache.indices)
    assert out[0, 0].tolist() == [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    assert pool.max_unpool2d_backward(np.arange(16.).reshape(1, 1, 4, 4), cache)[0, 0].tolist() == [[5, 2], [12, 15]]


@pytest.mark.parametrize("window", WINDOWS)
def test_lecture_unpool_after_pool_keeps_the_maxima_in_place(mode, window):
    """L16-U10: the maxima stay where they were, zeros elsewhere; and pooling that again gives them back (they are positive)."""
    k, s, p, H, W = window
    x, out, indices = pooled(*window)
    back, _ = pool.max_unpool2d_forward(out, indices, output_size=(H, W))
    kept = np.zeros((6, H * W), dtype=bool)
    kept[np.arange(6)[:, None], indices.reshape(6, -1)] = True
    assert np.array_equal(back, np.where(kept.reshape(x.shape), x, 0))
    assert np.array_equal(pool.max_pool2d_forward(back, k, s, p)[0], out)


@pytest.mark.parametrize("window", WINDOWS)
def test_backward_is_the_transpose(mode, window):
    """<unpool(x), y> = <x, backward(y)>: with the places given, unpooling is linear. And it is the transpose of picking those places."""
    x, out, indices = pooled(*window)
    rng = np.random.default_rng(1)
    v, y = rng.standard_normal(out.shape), rng.standard_normal(x.shape)
    up, cache = pool.max_unpool2d_forward(v, indices, output_size=x.shape[2:])
    left, right = (up * y).sum(), (v * pool.max_unpool2d_backward(y, cache)).sum()
    assert abs(left - right) <= 1e-12 * np.sqrt((up**2).sum() * (y**2).sum())


def test_shared_places_keep_the_last_and_pass_the_gradient_to_it_alone(mode):
    x = np.array([[1., 2, 3], [4, 5, 6]]).reshape(1, 1, 2, 3)
    indices = np.array([[7, 0, 7], [0, 7, 2]]).reshape(1, 1, 2, 3)
    out, cache = pool.max_unpool2d_forward(x, indices, output_size=(2, 4))
    assert out[0, 0].tolist() == [[4, 0, 6, 0], [0, 0, 0, 5]]
    assert pool.max_unpool2d_backward(10 + np.arange(8.).reshape(1, 1, 2, 4), cache)[0, 0].tolist() == [[0, 0, 0], [10, 17, 12]]


def test_both_bodies_agree_on_every_way_to_share(mode):
    """All 3^4 ways to give four values three places, one plane each."""
    indices = np.array(list(itertools.product(range(3), repeat=4))).reshape(81, 1, 2, 2)
    x = np.random.default_rng(0).standard_normal(indices.shape)
    out, cache = pool.max_unpool2d_forward(x, indices, output_size=(1, 3))
    dx = pool.max_unpool2d_backward(np.ones_like(out), cache)
    for n in range(81):
        expected = dict(zip(indices[n].ravel().tolist(), x[n].ravel().tolist(), strict=True))     # a dict, too, keeps the last
        assert out[n].ravel().tolist() == [expected.get(place, 0) for place in range(3)]
        assert dx[n].sum() == len(expected)


def test_odd_sizes_need_output_size(mode):
    """L16-U09: a pool that dropped the fifth row and column is undone to 5x5, and not to the default 4x4."""
    x = np.arange(25.).reshape(1, 1, 5, 5)
    out, cache = pool.max_pool2d_forward(x, 2)
    assert cache.indices.ravel().tolist() == [6, 8, 16, 18]
    with pytest.raises(ValueError, match="indices must lie in 0..15 .* got 2 outside"):
        pool.max_unpool2d_forward(out, cache.indices)
    back, _ = pool.max_unpool2d_forward(out, cache.indices, output_size=(5, 5))
    assert back[0, 0, 3].tolist() == [0, 16, 0, 18, 0]


@pytest.mark.parametrize("wrong", [-1, 16, 2**40, -2**63])
def test_wrong_indices_raise(mode, wrong):
    indices = np.array([5, 2, 12, wrong]).reshape(1, 1, 2, 2)
    with pytest.raises(ValueError, match="got 1 outside of it; do these indices come from another layer"):
        pool.max_unpool2d_forward(np.ones((1, 1, 2, 2)), indices)


def test_wrong_arguments_are_named():
    x, indices = np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 2), np.int64)
    with pytest.raises(ValueError, match="the indices of another pooling layer"):
        pool.max_unpool2d_forward(x, np.zeros((1, 1, 4, 4), np.int64))
    with pytest.raises(ValueError, match="indices must hold integers"):
        pool.max_unpool2d_forward(x, indices.astype(float))
    _, cache = pool.max_unpool2d_forward(x, indices)
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode), pytest.raises(ValueError, match="dout must have out's shape"):
            pool.max_unpool2d_backward(x, cache)


def test_narrow_indices_and_no_images(mode):
    x = np.ones((2, 1, 2, 2), np.float32)
    out, cache = pool.max_unpool2d_forward(x, np.full(x.shape, 3, np.int32), kernel_size=(3, 1))
    assert out.shape == (2, 1, 6, 2) and out.dtype == np.float32 and out[1, 0, 1, 1] == 1 and out.sum() == 2
    out, cache = pool.max_unpool2d_forward(x[:0], np.zeros((0, 1, 2, 2), np.int64))
    assert out.shape == (0, 1, 4, 4) and pool.max_unpool2d_backward(out, cache).shape == (0, 1, 2, 2)
