"""check/patterns.py: how one array is wrong beside another."""
import numpy as np
import pytest

from numpyvision.check import DIAGNOSES, compare
from numpyvision.check.patterns import border, factor, factor_source, number, rearrangements

A = np.random.default_rng(0).standard_normal((2, 3, 5, 5))


def changed(function):
    a = A.copy()
    result = function(a)
    return a if result is None else result


def put(index, value):
    def function(a):
        a[index] = value
    return function


CASES = [
    (lambda a: -a, "sign", "wrong sign"),
    (lambda a: a / 9, "constant-factor", "1/9 (0.1111) times"),
    (lambda a: a * 0, "wrong-forward", "All of it is zero"),
    (lambda a: a[:, :, ::-1], "flipped-kernel", "reverse order along the row axis"),
    (lambda a: a[::-1], "batch-leak", "reverse order along the image axis"),
    (lambda a: a[[0, 0]], "batch-leak", "What stands at image 1 belongs to image 0"),
    (lambda a: a.swapaxes(2, 3), "transposed-axes", "axes exchanged"),
    (lambda a: a.transpose(1, 0, 2, 3).reshape(a.shape), "transposed-axes", "reshaped"),
    (lambda a: np.roll(a, 1, 3), "shifted", "moved by +1 along the column axis"),
    (put((slice(None), slice(None), 0), 7.0), "border", "the first row"),
    (put((slice(None), 1), 3.0), "wrong-forward", "Only channel 1 of 3 is wrong"),
    (put(1, 3.0), "wrong-forward", "Only image 1 of 2 is wrong"),
    (lambda a: a + 0.5, "wrong-forward", "off by the same +0.5"),
    (lambda a: a + np.array([0, 1, 2.0])[:, None, None], "wrong-forward", "one number for each channel"),
    (lambda a: a * np.array([1, 2, 3.0])[:, None, None], "constant-factor", "one factor for each channel: 1, 2, 3"),
    (put((0, 1, 2, 3), 9.0), "wrong-forward", "out[0, 1, 2, 3] is 9, expected"),
    (put((0, 1, 2, 3), np.nan), "not-finite", "out[0, 1, 2, 3] is nan"),
    (lambda a: a[:, :, :4], "wrong-shape", "must have shape (2, 3, 5, 5), got (2, 3, 4, 5) (120 values where 150 are due)"),
    (lambda a: a.astype(int), "wrong-dtype", "must be float64, got int64"),
]


@pytest.mark.parametrize("function, code, words", CASES, ids=[f"{c}-{i}" for i, (_, c, _) in enumerate(CASES)])
def test_each_pattern(function, code, words):
    found = compare("out", changed(function), A)
    assert found is not None and found[0] == code and words in found[1], found
    assert found[0] in DIAGNOSES


def test_what_is_right_to_rounding_is_right():
    assert compare("out", A * (1 + 1e-13), A) is None and compare("out", A[:0], A[:0]) is None and compare("x", 3, 3) is None
    assert compare("out", A.astype(np.float32), A) is None
    assert compare("out", np.array([np.nan, np.inf]), np.array([np.nan, np.inf])) is None
    assert compare("out", A * (1 + 1e-6), A) is not None


def test_numbers_and_index_of_the_first_difference():
    code, message = compare("keep", np.array([0, 2, 5]), np.array([0, 2, 4]))
    assert message.startswith("keep[2] is 5, expected 4; 1 of 3 values differ.") and code == "wrong-forward"
    assert compare("mask", np.array([True, False]), np.array([True, True]))[1].startswith("mask[1] is False, expected True;")
    assert compare("loss", 2.5, 2.0)[1].startswith("loss is 2.5, expected 2; 1 of 1 values differ.")
    assert "Only box 1" in compare("iou", np.array([[1., 2], [3, 4], [5, 6]]), np.array([[1., 2], [9, 4], [5, 6]]), ("box", "other"))[1]


def test_a_factor_is_read_as_a_fraction_and_traced_to_its_sizes():
    assert number(1 / 9).startswith("1/9") and number(4.0) == "4" and number(0.7310586) == "0.731059"
    assert factor_source(6.0, {"H": 2, "W": 3}) == "; 6 is H * W" and factor_source(1 / 6, {"H": 2, "W": 3}) == "; 6 is H * W"
    assert factor_source(5.5, {"H": 2}) == ""
    assert factor(A, A) is None and factor(2 * A, A, {"n": 2})[1].endswith("; 2 is n.")


def test_unknown_entries_are_left_out():
    b = np.where(np.arange(25).reshape(5, 5) % 3 == 0, np.nan, A[0, 0])
    assert factor(-A[0, 0], b)[0] == "sign"
    assert any(code == "transposed-axes" for code, *_ in rearrangements(b, ("row", "column")))


def test_a_border_needs_an_inside_and_more_than_a_corner():
    wrong = np.zeros((1, 1, 4, 4), bool)
    axes = ("image", "channel", "row", "column")
    wrong[..., 0, 0] = True
    assert border(wrong, axes) == ""
    wrong[..., 0, :] = True
    assert "first row" in border(wrong, axes)
    wrong[..., 2, 2] = True
    assert border(wrong, axes) == ""
