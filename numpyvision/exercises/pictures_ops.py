"""Pictures for the exercises about operations: `NAME(figure, function)`; the function may be a student's.

This file: layers with weights, and normalisation; those of pooling, crops and resizing are in `pictures_resample.py`.
"""
import numpy as np

from numpyvision.exercises.pictures_resample import *  # noqa: F403  (so that every picture is found here)
from numpyvision.exercises.pictures_resample import PARTS, curve, tables
from numpyvision.ops import activation, conv, conv_transpose, linear, norm
from numpyvision.plot import style

NINE = np.arange(9.).reshape(1, 1, 3, 3)
FILTER = np.array([[[[1., 2], [0, -1]]]])
DOUT = np.array([[[[1., 2], [3, 4]]]])
KERNEL = np.arange(1., 10).reshape(1, 1, 3, 3)


def relu_forward(figure, function):
    """The function's graph."""
    x = np.linspace(-3, 3, 121)
    curve(figure.subplots(), x, function(x)[0], "x", "out", "negative numbers become 0")


def relu_backward(figure, function):
    """A wave that goes through, and the upstream gradient that may pass only where it did."""
    t = np.linspace(0, 12, 241)
    x, dout = np.sin(t), np.cos(2.3 * t)
    out, cache = activation.relu_forward(x)
    upper, lower = figure.subplots(2, 1, sharex=True)
    curve(upper, t, x, "", "forward", None, color=style.GREY, label="x")
    upper.plot(t, out, color=PARTS[0], label="out")
    curve(lower, t, dout, "", "backward", None, color=style.GREY, label="dout")
    lower.plot(t, function(dout, cache), color=PARTS[1], label="dx")
    for ax in (upper, lower):
        ax.set_ylim(-1.1, 1.7)                                           # room for the legend above the waves
        ax.legend(loc="upper right", ncols=2, fontsize=8)


def linear_forward(figure, function):
    """The worked example."""
    x, w, b = np.array([[1., 2]]), np.array([[1., 2, 3], [4, 5, 6]]), np.array([10., 20, 30])
    tables(figure, ("x", x), ("w", w), ("b", b), ("out = x @ w + b", function(x, w, b)[0]))


def linear_backward(figure, function):
    """The worked example."""
    x, w, dout = np.array([[1., 2]]), np.array([[1., 2, 3], [4, 5, 6]]), np.array([[1., 0, -1]])
    dx, dw, db = function(dout, linear.linear_forward(x, w, np.zeros(3))[1])
    tables(figure, ("x", x), ("w", w), ("dout", dout), ("dx", dx), ("dw", dw), ("db", db))


def im2col(figure, function):
    """A 3 x 3 image with its first window framed, and that window as the first column."""
    cols = function(NINE, (2, 2))[0, 0]
    tables(figure, ("x, its first window framed", NINE[0, 0], [(0, 0), (0, 1), (1, 0), (1, 1)]),
           ("columns: one a window", cols, [(i, 0) for i in range(4)]))


def conv2d_forward(figure, function):
    """An image and what an edge filter makes of it."""
    y, x = np.mgrid[:32, :32]
    image = ((y - 16.) ** 2 + (x - 16.) ** 2 < 100).astype(float)
    edge = np.array([[-1., 0, 1], [-2, 0, 2], [-1, 0, 1]])
    out, _ = function(image[None, None], edge[None, None], padding=1)
    panels = figure.subplots(1, 3)
    for ax, values, title in zip(panels, (image, edge, out[0, 0]), ("x", "w, an edge filter", "out"), strict=True):
        ax.imshow(values, cmap="gray" if title == "x" else "RdBu")
        ax.set(title=title, xticks=[], yticks=[])


def conv2d_db(figure, function):
    """Two filters' outputs, each of which collects into one number."""
    dout = np.array([[[[1., 2], [3, 4]], [[0, -1], [0, 2]]]])
    _, cache = conv.conv2d_forward(NINE, np.ones((2, 1, 2, 2)), np.zeros(2))
    tables(figure, ("dout of filter 0", dout[0, 0]), ("dout of filter 1", dout[0, 1]), ("db", function(dout, cache)))


def conv2d_dw(figure, function):
    """The worked example: the top left weight met the framed pixels."""
    _, cache = conv.conv2d_forward(NINE, FILTER)
    tables(figure, ("x: what w[0, 0] met", NINE[0, 0], [(0, 0), (0, 1), (1, 0), (1, 1)]), ("dout", DOUT[0, 0]),
           ("dw", function(DOUT, cache)[0, 0], [(0, 0)]))


def col2im(figure, function):
    """How many 3 x 3 windows each pixel of a 6 x 6 image is in, at stride 1 and at stride 2 with padding."""
    close = function(np.ones((1, 1, 9, 16)), (1, 1, 6, 6), (3, 3))
    apart = function(np.ones((1, 1, 9, 9)), (1, 1, 6, 6), (3, 3), (2, 2), (1, 1))
    tables(figure, ("columns of ones, stride 1", close[0, 0]), ("stride 2, padding 1", apart[0, 0]))


def conv2d_dx(figure, function):
    """The worked example, and the gradient of a single output: the filter itself."""
    _, cache = conv.conv2d_forward(NINE, FILTER)
    one = np.array([[[[0., 0], [0, 1]]]])
    tables(figure, ("w", FILTER[0, 0]), ("dout", DOUT[0, 0]), ("dx", function(DOUT, cache)[0, 0]),
           ("dout", one[0, 0]), ("dx: w, where it lay", function(one, cache)[0, 0]))


def conv1d_forward(figure, function):
    """The worked example: each output is the filter times the three numbers around its place."""
    x, w = np.array([[[1., 2, 3, 4]]]), np.array([[[1., 10, 100]]])
    out = function(x, w, padding=1)[0]
    tables(figure, ("0  a  b  c  d  0", np.pad(x[0], ((0, 0), (1, 1)))), ("x  y  z", w[0]), ("out", out[0]), rows=True, fmt="{:g}")


def batch_norm_forward(figure, function):
    """Three channels' numbers before and after, in training."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3, 4, 4)) * np.array([0.5, 1, 2])[:, None, None] + np.array([-4., 0, 5])[:, None, None]
    out, _ = function(x, np.ones(3), np.zeros(3), np.zeros(3), np.ones(3))
    for ax, values, title in zip(figure.subplots(1, 2), (x, out), ("x, three channels", "out, gamma 1, beta 0"), strict=True):
        for c in range(3):
            ax.hist(values[:, c].ravel(), np.linspace(-10, 12, 67), alpha=0.55, color=PARTS[c])
        ax.set(title=title, yticks=[])
        style.plain(ax)


def batch_norm_backward(figure, function):
    """The worked example: one pixel's gradient pulls at all of its channel."""
    x, dout = np.array([[[[1., 1], [3, 3]]]]), np.array([[[[1., 0], [0, 0]]]])
    _, cache = norm.batch_norm_forward(x, np.ones(1), np.zeros(1), np.zeros(1), np.ones(1))
    dx, dgamma, dbeta = function(dout, cache)
    tables(figure, ("x", x[0, 0]), ("dout", dout[0, 0]), ("dx", dx[0, 0].round(3)), ("dgamma", dgamma), ("dbeta", dbeta))


def group_norm_forward(figure, function):
    """The mean of each channel of each image, before and after: within a group of two, they come to balance."""
    x = np.array([[1., 3, 10, 30], [-4, -2, 0, 8]])[:, :, None, None] + np.array([-1., 1])
    out, _ = function(x, np.ones(4), np.zeros(4), 2)
    tables(figure, ("x: mean of channel 0 .. 3, two images", x.mean(axis=(2, 3))), ("out, 2 groups", out.mean(axis=(2, 3))), fmt="{:.2g}")


def group_norm_backward(figure, function):
    """The worked example: two channels in one group."""
    x, dout = np.array([[[[1., 1]], [[3, 3]]]]), np.array([[[[1., 0]], [[0, 0]]]])
    _, cache = norm.group_norm_forward(x, np.array([1., 2]), np.zeros(2), 1)
    dx, dgamma, dbeta = function(dout, cache)
    tables(figure, ("x: a channel a row", x[0, :, 0]), ("dout", dout[0, :, 0]), ("dx", dx[0, :, 0].round(3)), ("dgamma", dgamma),
           ("dbeta", dbeta))


def conv_transpose2d_forward(figure, function):
    """The slide: four stamps, 5 x 5; the framed cells were covered more than once."""
    full = function(DOUT, KERNEL, stride=2)[0][0, 0]
    count = function(np.ones_like(DOUT), np.ones_like(KERNEL), stride=2)[0][0, 0]
    tables(figure, ("x", DOUT[0, 0]), ("w", KERNEL[0, 0]), ("stride 2: four stamps, overlaps framed", full, np.argwhere(count > 1.5)))


def conv_transpose2d_backward(figure, function):
    """The gradient of the middle output alone: all four pixels reached it, each through another weight."""
    out, cache = conv_transpose.conv_transpose2d_forward(DOUT, KERNEL, stride=2)
    dout = np.zeros_like(out)
    dout[0, 0, 2, 2] = 1
    dx, dw, _ = function(dout, cache)
    tables(figure, ("x", DOUT[0, 0]), ("w", KERNEL[0, 0]), ("dout", dout[0, 0]), ("dx", dx[0, 0]), ("dw", dw[0, 0]))


def conv_transpose1d_forward(figure, function):
    """The slide's two stamps, one below the other, and their sum."""
    x, w = np.array([[[1., 10]]]), np.array([[[1., 2, 3]]])
    stamps = [function(x * np.eye(2)[k], w, stride=2)[0][0, 0] for k in range(2)]
    tables(figure, ("a = 1: a (x, y, z)", stamps[0]), ("b = 10: b (x, y, z), two places on", stamps[1]),
           ("out", function(x, w, stride=2)[0][0, 0]), rows=True)


def conv_matrix(figure, function):
    """The filter along the rows, one step a row, and two."""
    shown = [function(np.array([1., 2, 3]), 6, stride) for stride in (1, 2)]
    tables(figure, *((f"stride {s}", X.toarray() if hasattr(X, "toarray") else X) for s, X in zip((1, 2), shown, strict=True)))
