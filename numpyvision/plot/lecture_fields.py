"""The receptive field of a stack of 3x3 convolutions, measured with a gradient (L16-G06, erratum E12).

The gradient of one output with respect to the input says which pixels that output depends on. With all weights 1 nothing cancels: its
support is the theoretical receptive field, 1 + 2L; and its values are a bell whose width grows like sqrt(L), the effective receptive
field of Luo et al. (2016), for they count the ways from a pixel to the output.
"""
import numpy as np

from numpyvision.ops import conv
from numpyvision.plot import lecture, style


def gradients_of_center(layers, size=None, k=3, rng=None):
    """|d(centre output) / d(input)| of 1, 2, ... `layers` k x k convolutions -> a list of (size, size), each with maximum 1.

    size: of the image, odd; by default it has room for all. Weights are 1, or drawn standard normal from rng.
    """
    size = size or 3 + layers * (k - 1)
    w = np.ones((1, 1, k, k))
    dout, found = np.zeros((1, 1, size, size)), []
    dout[0, 0, size // 2, size // 2] = 1
    for _ in range(layers):                                                            # one layer more in front: its gradient is the next
        w = w if rng is None else rng.standard_normal(w.shape)
        _, cache = conv.conv2d_forward(np.zeros_like(dout), w, padding=k // 2)         # linear: the gradient is the same at any input
        dout = conv.conv2d_backward(dout, cache)[0]
        dout = dout / abs(dout).max()                                                  # else it grows like 9^L
        found.append(abs(dout[0, 0]))
    return found


def support(gradient):
    """Side of the square of pixels with a gradient: the theoretical receptive field."""
    return int((gradient > 0).any(axis=0).sum())


def effective_side(gradient):
    """Twice two standard deviations of the gradient's mass along x: where about 95 % of it lies."""
    mass = gradient.sum(axis=0) / gradient.sum()
    at = np.arange(len(mass))
    mean = (mass * at).sum()
    return float(4 * np.sqrt((mass * (at - mean) ** 2).sum()))


def draw_receptive_field(shown=(1, 2, 3, 4, 5), deepest=40):
    """L16-G06: the gradient of the centre for L layers; and both sizes of the field as L grows."""
    ax = lecture.canvas(22, 12.6, "Receptive field of L 3x3 convolutions, measured by gradient",
                        "Every pixel with a gradient: 1 + 2L on a side, growing with L. But nearly all of it comes from the middle:\n"
                        "the effective receptive field grows only like the square root of L (Luo et al. 2016; erratum L16-E12).")
    size, cell = 1 + 2 * max(shown), 0.34
    for k, L in enumerate(shown):
        field = gradients_of_center(L, size)[-1]
        x, y = 0.9 + (k % 3) * (size * cell + 0.5), 2.35 + (k // 3) * (size * cell + 0.85)
        colors = [[lecture.tint(lecture.HUES[0], 0.13 + 0.87 * v) if v > 0 else None for v in row] for row in field]
        lecture.board(ax, [[""] * size] * size, x, y, colors, cell=cell)
        edge = (size - support(field)) / 2 * cell
        lecture.frame(ax, x + edge, y + edge, x + size * cell - edge, y + size * cell - edge, lecture.HUES[1], 2.6)
        lecture.label(ax, x + size * cell / 2, y - 0.3, f"L = {L}:  {support(field)} x {support(field)}", size=13)
    x = 0.9 + 2 * (size * cell + 0.5)
    lecture.frame(ax, x + 0.3, 8.1, x + 0.8, 8.6, lecture.HUES[1], 2.6)
    lecture.label(ax, x + 1.05, 8.35, "1 + 2L on a side", size=13, ha="left")
    for k, strength in enumerate((0.13, 0.4, 0.7, 1.0)):
        lecture.board(ax, [[""]], x + 0.3, 8.95 + cell * k, [[lecture.tint(lecture.HUES[0], strength)]], cell=cell)
    lecture.label(ax, x + 1.05, 9.65, "size of the gradient", size=13, ha="left")
    inner = lecture.inset(ax, 14.6, 2.3, 6.7, 7.0)
    depth = np.arange(1, deepest + 1)
    fields = gradients_of_center(deepest)
    inner.plot(depth, [support(f) for f in fields], color=lecture.HUES[1], linewidth=3)
    inner.plot(depth, [effective_side(f) for f in fields], color=lecture.HUES[0], linewidth=3)
    inner.text(deepest * 0.6, 1.2 * deepest + 7, "theoretical:\n1 + 2L", fontsize=14, color=lecture.HUES[1], ha="right")
    inner.text(deepest, effective_side(fields[-1]) + 3.5, "effective:  about $3.3\\,\\sqrt{L}$", fontsize=14, color=lecture.HUES[0],
               ha="right")
    inner.set(xlim=(0, deepest), ylim=(0, 2 * deepest + 1))
    style.plain(inner)
    inner.tick_params(labelsize=lecture.NOTE)
    inner.set_xlabel("layers L", fontsize=lecture.NOTE, color=style.INK)
    inner.set_title("side of the field, pixels", fontsize=lecture.LABEL, color=style.INK)
    return ax.figure
