"""check/arguments.py: messages that say what was expected, what came, and what to do."""
import numpy as np
import pytest
import strict_array

from numpyvision import check

X = np.zeros((2, 3, 8, 8))


def test_good_arguments_pass():
    check.require(True, "never")
    check.array("x", X, 4, "(N, C, H, W)")
    check.array("x", strict_array.module.asarray(X), 4, "(N, C, H, W)")
    check.array("x", X.astype(np.float32)[:0], 4, "(N, C, H, W)")
    check.integer_array("labels", np.zeros(3, np.int64), 1, "(N,)")
    check.same_dtype({"x": X, "w": X, "b": None})
    assert check.positive_int("groups", np.int64(2)) == 2
    assert check.int_pair("stride", 2) == (2, 2) and check.int_pair("padding", (0, 1)) == (0, 1)
    assert check.int_pair("padding", np.int32(1)) == (1, 1) and check.int_pair("kernel_size", [3, 5], minimum=1) == (3, 5)


@pytest.mark.parametrize("call, words", [
    (lambda: check.require(False, "this and that"), "this and that"),
    (lambda: check.array("x", X[0], 4, "(N, C, H, W)"), r"x must be \(N, C, H, W\), got \(3, 8, 8\); a single image needs x\[None\]"),
    (lambda: check.array("b", X[0, 0], 1, "(F,)"), r"b must be \(F,\), got \(8, 8\)$"),
    (lambda: check.array("x", [[1.0]], 2, "(N, D)"), r"x must be an array of shape \(N, D\), got a list; wrap it in np.asarray"),
    (lambda: check.array("x", X.astype(np.uint8), 4, "(N, C, H, W)"), r"float32 or float64, got uint8; convert it with x.astype"),
    (lambda: check.integer_array("labels", [1, 2], 1, "(N,)"), "labels must be an integer array"),
    (lambda: check.integer_array("labels", np.zeros(2), 1, "(N,)"), r"labels must hold integers, got float64"),
    (lambda: check.integer_array("labels", np.zeros((2, 1), int), 1, "(N,)"), r"labels must be \(N,\), got \(2, 1\)"),
    (lambda: check.same_dtype({"x": X, "w": X.astype(np.float32)}), r"got x float64, w float32; .*astype\(np.float64\)"),
    (lambda: check.positive_int("groups", 0), "groups must be an integer >= 1, got 0"),
    (lambda: check.positive_int("groups", 2.0), "got 2.0"),
    (lambda: check.positive_int("groups", True), "got True"),
    (lambda: check.int_pair("stride", (1, 0), minimum=1), r"stride\[1\] must be an integer >= 1, got 0"),
    (lambda: check.int_pair("stride", (1, 2, 3)), r"an int or a pair \(h, w\), got 3 numbers"),
    (lambda: check.int_pair("padding", -1), "padding must be an integer >= 0, got -1"),
    (lambda: check.int_pair("padding", "same"), "got 'same'"),
])
def test_bad_arguments_are_explained(call, words):
    with pytest.raises(ValueError, match=words):
        call()
