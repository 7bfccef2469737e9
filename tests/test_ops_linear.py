"""The fully connected layer."""
import numpy as np
import pytest

from numpyvision.ops import linear


def test_by_hand():
    x, w, b = np.array([[1., 2.]]), np.array([[1., 0., -1.], [10., 100., 1000.]]), np.array([.5, 0., 0.])
    out, cache = linear.linear_forward(x, w, b)
    assert out.tolist() == [[21.5, 200, 1999]]
    dx, dw, db = linear.linear_backward(np.array([[1., 1., 0.]]), cache)
    assert dx.tolist() == [[1, 110]]                                   # a row of w tells what its feature did
    assert dw.tolist() == [[1, 1, 0], [2, 2, 0]]                       # outer product of x and dout
    assert db.tolist() == [1, 1, 0]


def test_feature_maps_are_flattened_and_come_back_in_shape():
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, (3, 2, 4, 5)).astype(np.float32)             # whole numbers: every order of summation gives the same bits
    w = rng.integers(-9, 10, (40, 6)).astype(np.float32)
    out, cache = linear.linear_forward(x, w)
    np.testing.assert_array_equal(out, x.reshape(3, 40) @ w)
    dx, dw, db = linear.linear_backward(out, cache)
    assert dx.shape == x.shape and dw.shape == w.shape and db is None
    assert {a.dtype for a in (out, dx, dw)} == {np.dtype(np.float32)}


def test_no_rows():
    out, cache = linear.linear_forward(np.zeros((0, 3, 2, 2)), np.ones((12, 5)), np.ones(5))
    dx, dw, db = linear.linear_backward(out, cache)
    assert out.shape == (0, 5) and dx.shape == (0, 3, 2, 2)
    assert not dw.any() and not db.any()


@pytest.mark.parametrize("w, b, message", [
    (np.ones((4, 2)), None, r"D = 3 .*got \(4, 2\).*transposed"),
    (np.ones((3, 2)), np.ones(3), r"b must be \(F,\) = \(2,\)"),
    (np.ones((3, 2), np.float32), None, "share a dtype"),
    (np.ones(3), None, r"w must be \(D, F\)"),
])
def test_wrong_arguments_are_named(w, b, message):
    with pytest.raises(ValueError, match=message):
        linear.linear_forward(np.ones((5, 3)), w, b)


def test_wrong_dout_is_named():
    _, cache = linear.linear_forward(np.ones((5, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"dout must be \(N, F\) = \(5, 2\)"):
        linear.linear_backward(np.ones((1, 2)), cache)
