"""ReLU, sigmoid and the sum of two maps."""
import numpy as np
import pytest

import numpyvision
from numpyvision import kernels
from numpyvision.ops import activation


def test_relu_by_hand(mode):
    x = np.array([[-2., 0., 3., -.5]])
    out, cache = activation.relu_forward(x)
    assert out.tolist() == [[0, 0, 3, 0]]
    assert activation.relu_backward(np.array([[1., 2., 3., 4.]]), cache).tolist() == [[0, 0, 3, 0]]     # shut at the kink too


def test_relu_shows_a_nan_and_an_infinity(mode):
    x = np.array([np.nan, np.inf, -np.inf, 1.])
    out, cache = activation.relu_forward(x)
    np.testing.assert_array_equal(out, [np.nan, np.inf, 0, 1])
    np.testing.assert_array_equal(activation.relu_backward(np.array([np.nan, 2., 3., np.nan]), cache), [np.nan, 2, 0, np.nan])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_compiled_equals_readable_bit_for_bit(dtype):
    rng = np.random.default_rng(0)
    x, dout = (rng.standard_normal((3, 5, 67, 41)).astype(dtype) for _ in range(2))
    results = []
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode):
            out, cache = activation.relu_forward(x.transpose(0, 1, 3, 2))           # not contiguous
            results.append((out, activation.relu_backward(dout.transpose(0, 1, 3, 2), cache)))
    for readable, compiled in zip(*results, strict=True):
        np.testing.assert_array_equal(readable, compiled)
        assert compiled.dtype == dtype


def test_relu_remembers_its_output_alone():
    """The next layer caches the same array as its input: counted once, it costs nothing."""
    out, cache = activation.relu_forward(np.ones((2, 3)))
    assert list(cache) == ["out"] and cache.out is out


def test_relu_of_no_axes_and_of_nothing(mode):
    assert activation.relu_forward(np.array(-1.))[0].shape == ()
    out, cache = activation.relu_forward(np.zeros((0, 3)))
    assert activation.relu_backward(out, cache).shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_equal_numpys_bit_for_bit(dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((3, 5, 67, 41)).astype(dtype) for _ in range(2))
    x[0, 0, 0, :3], y[0, 0, 0, :3] = [np.nan, np.inf, np.inf], [1, 1, -np.inf]
    for a, b in ((x, y), (x.transpose(0, 1, 3, 2), y.transpose(0, 1, 3, 2)), (x, y[0]), (x[:0], y[:0]), (x, y.astype(np.float64))):
        with np.errstate(invalid="ignore"):
            expected = a + b
            out = activation.add(a, b)
        np.testing.assert_array_equal(out, expected)
        assert out.dtype == expected.dtype and not np.shares_memory(out, a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sum_with_relu_is_sum_and_then_relu_to_the_last_bit(mode, dtype):
    rng = np.random.default_rng(1)
    x, y, dout = (rng.standard_normal((3, 5, 67, 41)).astype(dtype) for _ in range(3))
    x[0, 0, 0, :3], y[0, 0, 0, :3] = [np.nan, np.inf, -1], [1, 1, 1]
    for a, b, d in ((x, y, dout), (x.transpose(0, 1, 3, 2), y.transpose(0, 1, 3, 2), dout.transpose(0, 1, 3, 2)), (x[:0], y[:0], dout[:0])):
        expected, relu = activation.relu_forward(activation.add(a, b))
        out, cache = activation.add_relu(a, b)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(activation.relu_backward(d, cache), activation.relu_backward(d, relu))


def test_sigmoid_by_hand_and_far_out():
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        out, cache = activation.sigmoid_forward(np.array([0., np.log(3), 1000., -700., -1000.]))
    np.testing.assert_allclose(out, [.5, .75, 1, np.exp(-700), 0], rtol=1e-14)
    np.testing.assert_allclose(activation.sigmoid_backward(np.ones(5), cache)[:3], [.25, .1875, 0], rtol=1e-14)


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 5e-7), (np.float64, 1e-15)])
def test_sigmoid_compiled_equals_readable(dtype, rtol):
    x = np.concatenate([np.linspace(-80, 80, 40001), [np.nan, np.inf, -np.inf, 1000, -1000]]).astype(dtype)[::-1]
    dout = np.cos(np.arange(2 * x.size, dtype=dtype))[::2]
    with numpyvision.use("numpy"):
        readable, cache = activation.sigmoid_forward(x)
        dx_readable = activation.sigmoid_backward(dout, cache)
    out, _ = activation.sigmoid_forward(x)
    dx = activation.sigmoid_backward(dout, cache)
    assert out.dtype == dx.dtype == dtype
    np.testing.assert_allclose(out, readable, rtol=rtol)
    np.testing.assert_allclose(dx, dx_readable, rtol=rtol)
    assert activation.sigmoid_forward(np.array(0.))[0] == .5 and activation.sigmoid_forward(x[:0])[0].shape == (0,)


@pytest.mark.parametrize("forward, backward", [(activation.relu_forward, activation.relu_backward),
                                               (activation.sigmoid_forward, activation.sigmoid_backward)])
def test_wrong_arguments_are_named(forward, backward):
    with pytest.raises(ValueError, match="x must be float32 or float64, got int64"):
        forward(np.arange(3))
    with pytest.raises(ValueError, match="dout must have out's shape"):
        backward(np.ones((3, 1)), forward(np.ones(3))[1])


def test_fast_exp_and_log_are_as_exact_as_float32_can_show():
    """kernels/elementwise.py: the two functions under the losses, called through loops of one line."""
    import numba
    exp_negative, log1p_unit = kernels.elementwise.exp_negative, kernels.elementwise.log1p_unit

    @numba.njit
    def exp_all(x):
        return np.array([exp_negative(v) for v in x])

    @numba.njit
    def log1p_all(x):
        return np.array([log1p_unit(v) for v in x])

    x = np.concatenate([-np.logspace(-8, np.log10(87), 20001), [0.]]).astype(np.float32)
    np.testing.assert_allclose(exp_all(x), np.exp(x.astype(np.float64)), rtol=2.5e-7)
    np.testing.assert_array_equal(exp_all(np.array([-np.inf, -1e4, np.nan], np.float32)), np.array([0, 0, np.nan], np.float32))
    u = np.linspace(0, 1, 20001, dtype=np.float32)
    np.testing.assert_allclose(log1p_all(u), np.log1p(u.astype(np.float64)), rtol=2.5e-7)
    np.testing.assert_allclose(exp_all(x.astype(np.float64)), np.exp(x.astype(np.float64)), rtol=1e-15)
    np.testing.assert_allclose(log1p_all(u.astype(np.float64)), np.log1p(u.astype(np.float64)), rtol=1e-15)
    assert exp_all(x).dtype == log1p_all(u).dtype == np.float32
