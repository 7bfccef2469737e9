"""conv_matrix: the slide's matrices (L16-V07 to V12, errata E01, E09, E11), and X @ image = conv2d, X.T @ out = conv_transpose2d."""
import numpy as np
import pytest

from numpyvision.ops import conv, conv1d, conv_matrix, conv_transpose
from numpyvision.ops.symbolic import symbols

XYZ = symbols("xyz")
PADDED = np.array([0, *symbols("abcd"), 0], dtype=object)


def printed(a):
    return [str(v) for v in a]


# ---- the slide

@pytest.mark.parametrize("stride,out_size,shared", [(1, 4, 2), (2, 2, 1)])
def test_lecture_windows_move_by_the_stride(stride, out_size, shared):
    """L16-V01, V02: a 3x3 filter on 4x4, padding 1 (here: on its 6x6) gives 4x4 or 2x2; neighbouring windows share 2 columns, or 1."""
    X = conv_matrix.conv_matrix(np.ones((3, 3)), (6, 6), stride).toarray().reshape(out_size, out_size, 6, 6)
    columns = [set(np.flatnonzero(X[0, q].any(axis=0)).tolist()) for q in range(out_size)]
    assert columns[0] == {0, 1, 2} and columns[1] == {stride, stride + 1, stride + 2}
    assert len(columns[0] & columns[1]) == shared
    assert conv_matrix.conv_matrix(np.ones((3, 3)), (4, 4), stride, 1).shape == (out_size**2, 16)


def test_lecture_stride_one():
    """L16-V07, and erratum E01: every row reads x y z, where the slide prints x y x; with that, its own products would not follow."""
    X = conv_matrix.conv_matrix(XYZ, 6)
    assert str(X) == "[[x y z 0 0 0]\n [0 x y z 0 0]\n [0 0 x y z 0]\n [0 0 0 x y z]]"
    products = ["ay + bz", "ax + by + cz", "bx + cy + dz", "cx + dy"]
    assert printed(X @ PADDED) == products
    misprint = conv_matrix.conv_matrix(symbols("xyx"), 6)
    assert printed(misprint @ PADDED)[:2] == ["ay + bx", "ax + by + cx"] != products[:2]


def test_lecture_stride_one_transposed():
    """L16-V08."""
    X = conv_matrix.conv_matrix(XYZ, 6)
    assert printed(X.T @ symbols("abcd")) == ["ax", "ay + bx", "az + by + cx", "bz + cy + dx", "cz + dy", "dz"]


def test_lecture_stride_one_transposed_is_a_convolution():
    """L16-V09, erratum E10: X.T is again a convolution matrix, of the reversed kernel (z, y, x), at padding k-1 - 0."""
    X = conv_matrix.conv_matrix(XYZ, 6)
    assert np.array_equal(X.T, conv_matrix.conv_matrix(XYZ[::-1], 4, padding=2))
    assert not np.array_equal(X.T, conv_matrix.conv_matrix(XYZ, 4, padding=2))


def test_lecture_stride_two():
    """L16-V10."""
    X = conv_matrix.conv_matrix(XYZ, 6, stride=2)
    assert str(X) == "[[x y z 0 0 0]\n [0 0 x y z 0]]"
    assert printed(X @ PADDED) == ["ay + bz", "bx + cy + dz"]


def test_lecture_stride_two_transposed():
    """L16-V11, erratum E11: the slide's five outputs of L16-V05 and a sixth, 0; without the padded ends, four."""
    column = conv_matrix.conv_matrix(XYZ, 6, stride=2).T @ symbols("ab")
    assert printed(column) == ["ax", "ay", "az + bx", "by", "bz", "0"]
    by_hand, _ = conv1d.conv_transpose1d_forward(symbols("ab").reshape(1, 1, 2), XYZ.reshape(1, 1, 3), stride=2)
    assert printed(by_hand[0, 0]) == printed(column)[:5]
    trimmed = conv_matrix.conv_matrix(XYZ, 4, stride=2, padding=1)
    assert np.array_equal(trimmed, conv_matrix.conv_matrix(XYZ, 6, stride=2)[:, 1:-1])
    assert printed(trimmed.T @ symbols("ab")) == ["ay", "az + bx", "by", "bz"]


def test_lecture_stride_two_transposed_is_no_convolution():
    """L16-V12: a stride-1 convolution of (a, b) is constant along diagonals, whatever its kernel and padding; X.T moves by 2 rows."""
    X = conv_matrix.conv_matrix(XYZ, 6, stride=2)
    assert not toeplitz(X.T)
    for k in range(1, 9):
        for padding in range(8):
            if 2 + 2 * padding - k + 1 > 0:
                assert toeplitz(conv_matrix.conv_matrix(symbols("stuvwxyz")[:k], 2, padding=padding))
    # erratum L16-E09: but it is one of the bed of nails (a 0 b 0), which moves the second column down once more
    nails = np.zeros((4, 2), dtype=object)
    nails[[0, 2], [0, 1]] = 1
    regular = conv_matrix.conv_matrix(XYZ[::-1], 4, padding=2)
    assert toeplitz(regular) and np.array_equal(regular @ nails, X.T)


def toeplitz(matrix):
    return bool((matrix[1:, 1:] == matrix[:-1, :-1]).all())


# ---- numbers

@pytest.mark.parametrize("seed", range(30))
def test_product_is_conv2d_and_transposed_product_conv_transpose2d(mode, seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 2]))
    C, F = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    pair = lambda low, high: tuple(int(v) for v in rng.integers(low, high, 2))
    kernel, stride, padding, dilation = pair(1, 4), pair(1, 4), pair(0, 3), pair(1, 3)
    size = tuple(d * (k - 1) + 1 + int(rng.integers(0, 5)) for k, d in zip(kernel, dilation, strict=True))
    w, x = rng.standard_normal((F, C // groups, *kernel)), rng.standard_normal((1, C, *size))
    X = conv_matrix.conv_matrix(w, x.shape[1:], stride, padding, dilation, groups)
    out, _ = conv.conv2d_forward(x, w, None, stride, padding, dilation, groups)
    assert X.format == "csr" and X.shape == (out.size, x.size) and X.dtype == np.float64
    np.testing.assert_allclose(X @ x.ravel(), out.ravel(), rtol=0, atol=1e-12)
    y = rng.standard_normal(out.shape)
    spare = tuple((n + 2 * p - d * (k - 1) - 1) % s for n, p, d, k, s in zip(size, padding, dilation, kernel, stride, strict=True))
    up, _ = conv_transpose.conv_transpose2d_forward(y, w, None, stride, padding, spare, dilation, groups)
    np.testing.assert_allclose(X.T @ y.ravel(), up.ravel(), rtol=0, atol=1e-12)


def test_forms_of_one_channel_and_of_sequences():
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((3, 2)), rng.standard_normal((5, 4))
    out, _ = conv.conv2d_forward(x[None, None], w[None, None], None, (2, 1), 1)
    np.testing.assert_allclose(conv_matrix.conv_matrix(w, (5, 4), (2, 1), 1) @ x.ravel(), out.ravel(), rtol=0, atol=1e-14)
    w, x = rng.standard_normal((4, 3, 2)), rng.standard_normal((1, 3, 7))
    out, _ = conv1d.conv1d_forward(x, w, None, 2, 1, 3)
    np.testing.assert_allclose(conv_matrix.conv_matrix(w, (3, 7), 2, 1, 3) @ x.ravel(), out.ravel(), rtol=0, atol=1e-14)
    w = rng.standard_normal(3)
    assert np.array_equal(conv_matrix.conv_matrix(w, 6).toarray(), conv_matrix.conv_matrix(w, (6,)).toarray())
    assert conv_matrix.conv_matrix(w.astype(np.float32), 6).dtype == np.float32


@pytest.mark.parametrize("w,shape,message", [
    (np.zeros(3), (4, 4), r"input_shape must be \(L,\)"), (np.zeros((3, 3)), 6, r"input_shape must be \(H, W\)"),
    (np.zeros((1, 1, 3)), 6, r"input_shape must be \(C, L\)"), (np.zeros(7), 6, "does not fit"), ([1, 2, 3], 6, "w must be"),
    (np.zeros((1, 1, 3, 3)), (2, 4, 4), "w must be .F, 2, kh, kw. for x with 2 channels"),
])
def test_wrong_arguments_are_named(w, shape, message):
    with pytest.raises(ValueError, match=message):
        conv_matrix.conv_matrix(w, shape)
