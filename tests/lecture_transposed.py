"""Rows of the lecture: convolution and transposed convolution (V) and their errata. Run by test_lecture.py."""
import numpy as np
import pytest
from lecture_rows import SQUARE, close, image, printed, rng, row

from numpyvision.ops import conv, conv1d, conv_matrix, conv_transpose, resize
from numpyvision.ops.symbolic import symbols

XYZ, AB, ABCD = symbols("xyz"), symbols("ab"), symbols("abcd")
PADDED = np.array([0, *ABCD, 0], dtype=object)
STAMPED = np.array([[1, 2, 5, 4, 6], [4, 5, 14, 10, 12], [10, 14, 36, 24, 30], [12, 15, 34, 20, 24], [21, 24, 55, 32, 36]], float)


def naive_conv(x, w, stride, padding):
    x = np.pad(x, padding)
    out = [[(x[i:i + 3, j:j + 3] * w).sum() for j in range(0, x.shape[1] - 2, stride)] for i in range(0, x.shape[0] - 2, stride)]
    return np.array(out)


@row("V01", "V02")
def a_3x3_convolution_of_4x4_and_how_far_its_window_moves():
    x, w = rng(40).normal(size=(4, 4)), rng(41).normal(size=(3, 3))
    for stride, size, shared in ((1, 4, 2), (2, 2, 1)):
        out, _ = conv.conv2d_forward(image(x), image(w), stride=stride, padding=1)
        assert out.shape[2:] == (size, size)
        close(out[0, 0], naive_conv(x, w, stride, 1))
        X = conv_matrix.conv_matrix(np.ones((3, 3)), (6, 6), stride).toarray().reshape(size, size, 6, 6)
        red, blue = (set(np.flatnonzero(X[0, q].any(axis=0)).tolist()) for q in (0, 1))
        assert min(blue) - min(red) == stride and len(red & blue) == shared


@row("V03")
def a_transposed_convolution_of_2x2():
    K = image(np.arange(1, 10).reshape(3, 3))
    full, _ = conv_transpose.conv_transpose2d_forward(SQUARE, K, stride=2)
    close(full[0, 0], STAMPED)
    trimmed, _ = conv_transpose.conv_transpose2d_forward(SQUARE, K, stride=2, padding=1, output_padding=1)
    close(trimmed[0, 0], STAMPED[1:, 1:])                  # one pixel off the top and the left


@row("V04")
def it_stamps_weighted_copies_two_apart_and_adds_them_up():
    K = image(np.arange(1, 10).reshape(3, 3))
    stamps = conv_transpose.conv_transpose2d_stamps(SQUARE, K, stride=2, padding=1, output_padding=1)
    assert [(s.rows[0], s.columns[0]) for s in stamps.stamps] == [(0, 0), (0, 2), (2, 0), (2, 2)], "2 in the output per 1 in the input"
    for s, value in zip(stamps.stamps, (1, 2, 3, 4), strict=True):
        close(s.copy[0], value * K[0, 0])
    assert sorted(stamps.overlaps) == sorted({(2, j) for j in range(5)} | {(i, 2) for i in range(5)}) and stamps.count[2, 2] == 4
    close(stamps.full[0], STAMPED)
    close(stamps.out[0], STAMPED[1:, 1:])


@row("V05")
def the_1d_example_in_letters():
    out, _ = conv1d.conv_transpose1d_forward(AB[None, None], XYZ[None, None], stride=2)
    assert printed(out[0, 0]) == ["ax", "ay", "az + bx", "by", "bz"]


@row("V06")
def deconvolution_is_a_bad_name_and_warns():
    K = image(np.arange(9).reshape(3, 3))
    with pytest.warns(DeprecationWarning, match="conv_transpose2d"):
        out, _ = conv_transpose.deconv(SQUARE, K, stride=2)
    close(out, conv_transpose.conv_transpose2d_forward(SQUARE, K, stride=2)[0], 0)
    for name in ("upconvolution", "fractionally strided", "backward strided convolution", "transposed convolution"):
        assert name in " ".join(conv_transpose.__doc__.split())


@row("V07", "E01")
def convolution_as_a_matrix_has_rows_x_y_z():
    X = conv_matrix.conv_matrix(XYZ, 6)
    assert X.shape == (4, 6) and str(X[0]) == "[x y z 0 0 0]"
    products = ["ay + bz", "ax + by + cz", "bx + cy + dz", "cx + dy"]
    assert printed(X @ PADDED) == products
    out, _ = conv1d.conv1d_forward(ABCD[None, None], XYZ[None, None], padding=1)
    assert printed(out[0, 0]) == products, "and it is the convolution"
    misprint = conv_matrix.conv_matrix(symbols("xyx"), 6)  # the slide's rows: x y x
    assert printed(misprint @ PADDED) != products and "z" not in str(misprint @ PADDED)


@row("V08")
def its_transpose():
    X = conv_matrix.conv_matrix(XYZ, 6)
    assert printed(X.T @ ABCD) == ["ax", "ay + bx", "az + by + cx", "bz + cy + dx", "cz + dy", "dz"]


@row("V09", "E10")
def at_stride_1_the_transpose_is_a_convolution_with_the_kernel_reversed():
    for k, p in ((3, 1), (3, 0), (4, 2), (5, 1)):
        y, w = rng(42, k, p).normal(size=(1, 1, 9)), rng(43, k).normal(size=(1, 1, k))
        transposed, _ = conv1d.conv_transpose1d_forward(y, w, padding=p)
        reversed_, _ = conv1d.conv1d_forward(y, w[..., ::-1], padding=k - 1 - p)
        close(transposed, reversed_)
        same, _ = conv1d.conv1d_forward(y, w, padding=k - 1 - p)
        assert abs(same - transposed).max() > 0.1, "just a regular convolution with other padding: not with the same kernel"


@row("V10")
def convolution_of_stride_2_as_a_matrix():
    X = conv_matrix.conv_matrix(XYZ, 6, stride=2)
    assert X.shape == (2, 6) and printed(X @ PADDED) == ["ay + bz", "bx + cy + dz"]
    out, _ = conv1d.conv1d_forward(ABCD[None, None], XYZ[None, None], stride=2, padding=1)
    assert printed(out[0, 0]) == ["ay + bz", "bx + cy + dz"]


@row("V11", "E11")
def its_transpose_has_a_sixth_output_that_is_zero():
    column = printed(conv_matrix.conv_matrix(XYZ, 6, stride=2).T @ AB)
    assert column == ["ax", "ay", "az + bx", "by", "bz", "0"]
    out, _ = conv1d.conv_transpose1d_forward(AB[None, None], XYZ[None, None], stride=2)
    assert printed(out[0, 0]) != column, "the 1D example has five outputs"
    assert [*printed(out[0, 0]), "0"] == column
    trimmed, _ = conv1d.conv_transpose1d_forward(AB[None, None], XYZ[None, None], stride=2, padding=1, output_padding=1)
    assert printed(trimmed[0, 0]) == column[1:-1] == ["ay", "az + bx", "by", "bz"], "the rule of trimming, stated once"


@row("V12", "E09")
def at_stride_2_it_is_no_convolution_of_the_same_input_but_one_of_the_bed_of_nails():
    Xt = conv_matrix.conv_matrix(XYZ, 6, stride=2).T       # (6, 2)
    for padding in range(2, 8):                            # every convolution of (a, b) to 6 outputs, of a kernel of any size ...
        kernel = symbols("cdefghijklmn"[:2 * padding - 3])
        M = conv_matrix.conv_matrix(kernel, 2, padding=padding)
        assert M.shape == (6, 2) and all(M[i + 1, 1] == M[i, 0] for i in range(5)), "... repeats its first column one place lower"
    assert Xt[1, 1] != Xt[0, 0] and all(Xt[i + 2, 1] == Xt[i, 0] for i in range(4)), "X^T repeats it two places lower"
    x, w = rng(44).normal(size=(2, 3, 4, 5)), rng(45).normal(size=(3, 2, 3, 3))
    transposed, _ = conv_transpose.conv_transpose2d_forward(x, w, stride=2)
    nails, _ = resize.bed_of_nails_forward(x)
    nails = nails[:, :, :-1, :-1]                          # what lies behind the last nail is not of the image
    close(transposed, conv.conv2d_forward(nails, w.swapaxes(0, 1)[:, :, ::-1, ::-1], padding=2)[0])


@row("V13")
def transposed_means_adjoint():
    tried = 0
    for trial in range(200):
        draw = rng(46, trial)
        groups, (s, d), k = int(draw.integers(1, 3)), draw.integers(1, 4, 2), draw.integers(1, 5, 2)
        p = draw.integers(0, 3, 2)
        size = draw.integers(1, 9, 2)
        if ((size + 2 * p - d * (k - 1) - 1) < 0).any():
            continue
        x = draw.normal(size=(2, 2 * groups, *size))
        w = draw.normal(size=(3 * groups, 2, *k))
        settings = dict(stride=int(s), padding=tuple(map(int, p)), dilation=int(d), groups=groups)
        y, _ = conv.conv2d_forward(x, w, **settings)
        extra = tuple(int(v) for v in (size + 2 * p - d * (k - 1) - 1) % s)
        dy = draw.normal(size=y.shape)
        back, _ = conv_transpose.conv_transpose2d_forward(dy, w, output_padding=extra, **settings)
        left, right = (y * dy).sum(), (x * back).sum()
        assert back.shape == x.shape and abs(left - right) <= 1e-12 * np.sqrt(((y * dy) ** 2).sum() + 1), settings
        tried += 1
    assert tried > 100
