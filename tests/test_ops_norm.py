"""Batch, frozen and group normalisation."""
import numpy as np
import pytest

import numpyvision
from numpyvision.kernels import vector
from numpyvision.ops import activation, norm


def running(C, dtype=np.float64):
    return np.zeros(C, dtype), np.ones(C, dtype)


def test_batch_norm_by_hand(mode):
    x = np.array([1., 3, 5, 7]).reshape(2, 1, 1, 2)                    # mean 4, biased variance 5, unbiased 20/3
    mean, var = running(1)
    out, cache = norm.batch_norm_forward(x, np.array([2.]), np.array([10.]), mean, var, momentum=.1, eps=0.)
    np.testing.assert_allclose(out.ravel(), 10 + 2 * np.array([-3, -1, 1, 3]) / np.sqrt(5), rtol=1e-14)
    np.testing.assert_allclose([mean[0], var[0]], [.1 * 4, .9 * 1 + .1 * 20 / 3], rtol=1e-14)
    dx, dgamma, dbeta = norm.batch_norm_backward(np.array([1., 0, 0, 0]).reshape(x.shape), cache)
    np.testing.assert_allclose(dbeta, [1], rtol=1e-14)
    np.testing.assert_allclose(dgamma, [-3 / np.sqrt(5)], rtol=1e-14)
    # 2/sqrt(5) * (dout - 1/4 - xhat * (-3/sqrt(5)) / 4): the direct way, the way through the mean, the way through the variance
    expected = 2 / np.sqrt(5) * np.array([1 - .25 - 9 / 20, -.25 - 3 / 20, -.25 + 3 / 20, -.25 + 9 / 20])
    np.testing.assert_allclose(dx.ravel(), expected, rtol=1e-13)


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (2, 3, 40, 33)])
def test_what_normalisation_forgets_gets_no_gradient(mode, shape):
    """out does not change if x is shifted or scaled, so dx is orthogonal to 1 and to x, in every channel (batch) or group (group)."""
    rng = np.random.default_rng(0)
    x, gamma, beta, dout = (rng.standard_normal(s) for s in (shape, 3, 3, shape))
    x = 3 * x + 2
    out, cache = norm.batch_norm_forward(x, gamma, beta, *running(3), eps=0.)
    np.testing.assert_allclose(norm.batch_norm_forward(7 * x - 5, gamma, beta, *running(3), eps=0.)[0], out, atol=1e-11)
    dx, _, _ = norm.batch_norm_backward(dout, cache)
    np.testing.assert_allclose(dx.sum(axis=(0, 2, 3)), 0, atol=1e-10)
    np.testing.assert_allclose((dx * x).sum(axis=(0, 2, 3)), 0, atol=1e-10)
    _, cache = norm.group_norm_forward(x, gamma, beta, 1, eps=0.)
    dx, _, _ = norm.group_norm_backward(dout, cache)
    np.testing.assert_allclose(dx.sum(axis=(1, 2, 3)), 0, atol=1e-10)
    np.testing.assert_allclose((dx * x).sum(axis=(1, 2, 3)), 0, atol=1e-10)


def test_trained_statistics_are_used_at_test_time(mode):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((8, 2, 16, 16)) * [[[3.]], [[.5]]] + [[[-2.]], [[4.]]]
    gamma, beta, (mean, var) = np.ones(2), np.zeros(2), running(2)
    for _ in range(200):
        trained, _ = norm.batch_norm_forward(x, gamma, beta, mean, var)
    before = mean.copy(), var.copy()
    tested, cache = norm.batch_norm_forward(x, gamma, beta, mean, var, train=False)
    np.testing.assert_allclose(tested, trained, atol=2e-3)             # biased or not: 1 part in 2 * 2048
    np.testing.assert_array_equal(before, (mean, var))
    mean += 1                                                          # a later training step must not reach into this cache
    dx, dgamma, _ = norm.batch_norm_backward(np.ones_like(x), cache)
    np.testing.assert_allclose(dx, np.broadcast_to((1 / np.sqrt(var + 1e-5))[:, None, None], x.shape), rtol=1e-12)
    np.testing.assert_allclose(dgamma, tested.sum(axis=(0, 2, 3)), atol=1e-8)


def test_affine_norm_is_batch_norm_at_test_time_and_writes_nothing(mode):
    rng = np.random.default_rng(2)
    x, gamma, beta, mean = (rng.standard_normal(s) for s in ((2, 3, 4, 5), 3, 3, 3))
    var = rng.uniform(.5, 2, 3)
    expected, _ = norm.batch_norm_forward(x, gamma, beta, mean, var, train=False)
    for a in (x, gamma, beta, mean, var):
        a.flags.writeable = False
    out, cache = norm.affine_norm_forward(x, gamma, beta, mean, var)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-15)
    dx, dgamma, dbeta = norm.affine_norm_backward(x, cache)
    np.testing.assert_allclose(dx, x * (gamma / np.sqrt(var + 1e-5))[:, None, None], rtol=1e-12)


def test_group_norm_between_layer_and_instance_norm(mode):
    rng = np.random.default_rng(3)
    x, gamma, beta = rng.standard_normal((2, 6, 5, 7)) + 9, rng.standard_normal(6), rng.standard_normal(6)
    for groups in (6, 3, 1):
        grouped = x.reshape(2, groups, 6 // groups, 5, 7)
        xhat = (grouped - grouped.mean((2, 3, 4), keepdims=True)) / np.sqrt(grouped.var((2, 3, 4), keepdims=True) + 1e-5)
        out, _ = norm.group_norm_forward(x, gamma, beta, groups)
        np.testing.assert_allclose(out, gamma[:, None, None] * xhat.reshape(x.shape) + beta[:, None, None], atol=1e-12)
    alone, _ = norm.group_norm_forward(x[:1], gamma, beta, 3)
    np.testing.assert_array_equal(alone, norm.group_norm_forward(x, gamma, beta, 3)[0][:1])         # the batch plays no part


@pytest.mark.parametrize("dtype, atol", [(np.float32, 2e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("shape", [(3, 8, 1, 1), (2, 8, 7, 5), (2, 16, 70, 65)])
def test_compiled_equals_readable(dtype, atol, shape):
    rng = np.random.default_rng(4)
    C = shape[1]
    x, gamma, beta, dout = (rng.standard_normal(s).astype(dtype) for s in (shape, C, C, shape))
    x, gamma = (x * 2 + 5).transpose(0, 1, 3, 2), np.repeat(gamma, 2)[::2]                          # not contiguous
    results = []
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode):
            mean, var = running(C, dtype)
            out, cache = norm.batch_norm_forward(x, gamma, beta, mean, var)
            frozen, cache_frozen = norm.affine_norm_forward(x, gamma, beta, mean, var)
            grouped, cache_grouped = norm.group_norm_forward(x, gamma, beta, 4)
            upstream = dout.transpose(0, 1, 3, 2)
            results.append((out, mean, var, *norm.batch_norm_backward(upstream, cache),
                            frozen, *norm.affine_norm_backward(upstream, cache_frozen),
                            grouped, *norm.group_norm_backward(upstream, cache_grouped)))
    for readable, compiled in zip(*results, strict=True):
        assert readable.dtype == compiled.dtype == dtype
        np.testing.assert_allclose(compiled, readable, atol=atol * max(1, np.abs(readable).max()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 8, 1, 1), (2, 8, 7, 5), (4, 16, 33, 65), (0, 8, 3, 3)])
def test_norm_with_relu_is_norm_and_then_relu_to_the_last_bit(mode, dtype, shape):
    rng = np.random.default_rng(5)
    C = shape[1]
    x, gamma, beta, dout = (rng.standard_normal(s).astype(dtype) for s in (shape, C, C, shape))
    mean, var = rng.standard_normal(C).astype(dtype), rng.uniform(.5, 2, C).astype(dtype)
    if x.size > 1000:
        x[0, 0, 0, 0], x[0, 5, 1, 2] = np.nan, np.inf                  # both poison their channel, and must be seen to
    for name, extra in (("batch_norm", (mean, var)), ("affine_norm", (mean, var)), ("group_norm", (4,))):
        apart, fused = ([a.copy() if isinstance(a, np.ndarray) else a for a in extra] for _ in range(2))
        with np.errstate(invalid="ignore"):
            h, cache = getattr(norm, f"{name}_forward")(x, gamma, beta, *apart)
            expected, relu = activation.relu_forward(h)
            out, both = getattr(norm, f"{name}_relu_forward")(x, gamma, beta, *fused)
            pairs = [(out, expected), *zip(fused, apart, strict=True),
                     *zip(getattr(norm, f"{name}_relu_backward")(dout, both),
                          getattr(norm, f"{name}_backward")(activation.relu_backward(dout, relu), cache), strict=True)]
        for ours, theirs in pairs:
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="dout must have"):
        norm.group_norm_relu_backward(np.ones((9, C, 3, 3), dtype), both)


def test_float32_keeps_its_digits_far_from_zero(mode):
    """A mean of 1000 and a deviation of 1: E[x^2] - E[x]^2 would have no digit left. And a map whose parts lie far from one another."""
    x = (np.random.default_rng(5).standard_normal((2, 1, 200, 304)) + 1000).astype(np.float32)
    apart = x.copy()
    apart[:, :, :100], apart[1, :, :150] = 0, -500
    for maps in (x, apart):
        out, _ = norm.batch_norm_forward(maps, *np.array([[1], [0]], np.float32), *running(1, np.float32))
        exact = maps.astype(np.float64)
        np.testing.assert_allclose(out, (exact - exact.mean()) / np.sqrt(exact.var() + 1e-5), atol=1e-4)    # 1000 is rounded to 6e-5


def test_empty_batch_changes_nothing(mode):
    mean, var = running(3)
    x, one = np.zeros((0, 3, 4, 4)), np.ones(3)
    for (out, cache), backward in (
            (norm.batch_norm_forward(x, one, one, mean, var), norm.batch_norm_backward),
            (norm.affine_norm_forward(x, one, one, mean, var), norm.affine_norm_backward),
            (norm.group_norm_forward(x, one, one, 3), norm.group_norm_backward)):
        dx, dgamma, dbeta = backward(x, cache)
        assert out.shape == dx.shape == x.shape and dgamma.tolist() == dbeta.tolist() == [0, 0, 0]
    assert mean.tolist() == [0, 0, 0] and var.tolist() == [1, 1, 1]


def test_a_nan_is_not_hidden_and_stays_in_its_channel(mode):
    x = np.ones((2, 3, 4, 4))
    x[0, 1, 2, 2] = np.nan
    out, _ = norm.batch_norm_forward(x, np.ones(3), np.zeros(3), *running(3))
    assert np.isnan(out[:, 1]).all() and np.isfinite(out[:, [0, 2]]).all()


def test_wrong_arguments_are_named():
    one = np.ones(3)
    with pytest.raises(ValueError, match=r"more than one number a channel to train on, got x \(1, 3, 1, 1\)"):
        norm.batch_norm_forward(np.ones((1, 3, 1, 1)), one, one, *running(3))
    norm.batch_norm_forward(np.ones((1, 3, 1, 1)), one, one, *running(3), train=False)
    with pytest.raises(ValueError, match=r"running_var must be \(C,\) = \(3,\)"):
        norm.batch_norm_forward(np.ones((2, 3, 4, 4)), one, one, one, np.ones(4))
    with pytest.raises(ValueError, match="gamma must be"):
        norm.group_norm_forward(np.ones((2, 3, 4, 4)), np.ones((3, 1, 1)), one, 3)
    with pytest.raises(ValueError, match="num_groups must divide the 3 channels of x, got 2"):
        norm.group_norm_forward(np.ones((2, 3, 4, 4)), one, one, 2)
    with pytest.raises(ValueError, match="share a dtype"):
        norm.batch_norm_forward(np.ones((2, 3, 4, 4), np.float32), one, one, *running(3))
    with pytest.raises(ValueError, match="must have channels and pixels"):
        norm.group_norm_forward(np.ones((2, 3, 0, 4)), one, one, 3)
    _, cache = norm.group_norm_forward(np.ones((2, 3, 4, 4)), one, one, 3)
    with pytest.raises(ValueError, match="dout must have x's shape"):
        norm.group_norm_backward(np.ones((2, 3, 4, 5)), cache)


@pytest.mark.skipif(not vector._has_bits, reason="a processor whose denormals cost nothing, or plain Python")
def test_gradients_too_small_to_multiply_fast_count_as_zero_here_and_nowhere_else():
    rng, one = np.random.default_rng(6), np.ones(4, np.float32)
    _, cache = norm.group_norm_forward(rng.standard_normal((2, 4, 8, 8), np.float32), one, one, 2)
    small = np.full((2, 4, 8, 8), 1e-40, np.float32)
    assert not any(g.any() for g in norm.group_norm_backward(small, cache))
    assert (small * np.float32(2)).all()                                 # NumPy, on this thread: as before
