"""Convolution and transposed convolution of sequences: the 2D operations on images one row high.

Shapes here: N sequences, C input and F output channels, L length, k kernel size, Lo output length.
    conv1d            x (N, C, L)   w (F, C/groups, k)   out (N, F, Lo)   Lo = floor((L + 2p - d(k-1) - 1) / s) + 1
    conv_transpose1d  x (N, C, L)   w (C, F/groups, k)   out (N, F, Lo)   Lo = (L-1)*s - 2p + d*(k-1) + output_padding + 1

The lecture's examples (L16-V05, V07 to V11) are these, run on letters: see `symbolic.py`.
"""
from numpyvision import check
from numpyvision.cache import Cache
from numpyvision.ops import conv, conv_transpose


def conv1d_forward(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """out[n, f, q] = b[f] + sum over c, j of w[f, c, j] * x[n, c, s*q + d*j - p]; zero outside the sequence.

    x (N, C, L), w (F, C/groups, k), b (F,) or None -> (N, F, Lo). Caches what conv2d caches, under `conv2d`.
    """
    check_sequence(x, w, "(F, C/groups, k)")
    row = one_row(stride=stride, padding=padding, dilation=dilation)
    out, cache = conv.conv2d_forward(x[:, :, None], w[:, :, None], b, **row, groups=groups)
    return out[:, :, 0], Cache(conv2d=cache)


def conv1d_backward(dout, cache):
    """dout (N, F, Lo) -> dx, dw, db (None if forward had no b)."""
    dx, dw, db = conv.conv2d_backward(dout[:, :, None], cache.conv2d)
    return dx[:, :, 0], dw[:, :, 0], db


def conv_transpose1d_forward(x, w, b=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """out[n, f, s*q + d*j - p] collects w[c, f, j] * x[n, c, q] over all c, j, q; then + b[f].

    x (N, C, L), w (C, F/groups, k), b (F,) or None -> (N, F, Lo). (a, b) under (x, y, z) at stride 2 is (ax, ay, az + bx, by, bz)
    (L16-V05). Caches what conv_transpose2d caches, under `conv_transpose2d`.
    """
    check_sequence(x, w, "(C, F/groups, k)")
    row = one_row(stride=stride, padding=padding, output_padding=output_padding, dilation=dilation)
    out, cache = conv_transpose.conv_transpose2d_forward(x[:, :, None], w[:, :, None], b, **row, groups=groups)
    return out[:, :, 0], Cache(conv_transpose2d=cache)


def conv_transpose1d_backward(dout, cache):
    """dout (N, F, Lo) -> dx, dw, db (None if forward had no b)."""
    dx, dw, db = conv_transpose.conv_transpose2d_backward(dout[:, :, None], cache.conv_transpose2d)
    return dx[:, :, 0], dw[:, :, 0], db


def one_row(**settings):
    """The settings of an image one row high: along the vertical, steps of 1 and padding of 0."""
    still = {"stride": 1, "dilation": 1, "padding": 0, "output_padding": 0}
    return {name: (still[name], check.int_pair(name, value, still[name])[1]) for name, value in settings.items()}


def check_sequence(x, w, w_shape):
    """ValueError unless x and w have the axes of a sequence and its filters; conv2d checks the rest."""
    check.array("x", x, 3, "(N, C, L)")
    check.array("w", w, 3, w_shape)
