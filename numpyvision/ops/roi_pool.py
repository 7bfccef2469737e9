"""RoI Pool (Fast R-CNN 2.1; L16-F03 to F06): snap a box to the grid of cells, divide it into P x Q bins, keep each bin's largest cell.

Shapes here: N images, C channels, H W feature size, R RoIs, P Q output size.
    x (N, C, H, W)   rois (R, 5) = (batch_index, x1, y1, x2, y2) in image pixels   out (R, C, P, Q)

What the slide draws and what the code of 2015 does are different splits (erratum L16-E07); both are here:

    mode="slide"   cells round(x1) : round(x2); bin k is floor(k n / P) : floor((k+1) n / P), disjoint       5 rows in 2 -> 0:2, 2:5
    mode="caffe"   cells round(x1) : round(x2) + 1; bin k is floor(k n / P) : ceil((k+1) n / P), overlapping 5 rows in 2 -> 0:3, 2:5

Either way the box is rounded, so the crop moves in jumps: slightly misaligned, and without a gradient to the box (L16-F05). RoI Align
(`ops/roi.py`) is the same crop without the rounding.
"""
from typing import NamedTuple

import numpy as np

from numpyvision import backend, check, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache
from numpyvision.ops import roi


class Bins(NamedTuple):
    """The cells of every bin: rows top : bottom, columns left : right, cut to the map; empty where top >= bottom or left >= right."""

    batch: np.ndarray      # (R,) int64, the image
    top: np.ndarray        # (R, P) int64, and so on
    bottom: np.ndarray
    left: np.ndarray       # (R, Q)
    right: np.ndarray


def roi_pool_forward(x, rois, output_size, spatial_scale, mode="caffe"):
    """Features of every RoI at a fixed size: the largest cell in each of P x Q bins of the snapped box.

    x (N, C, H, W), rois (R, 5) = (batch_index, x1, y1, x2, y2), output_size P or (P, Q), spatial_scale = 1 / stride -> (R, C, P, Q).
    mode "caffe" or "slide": see the top of this file. A box counts as at least one cell; a bin without a cell (outside the map, or in
    mode "slide" one of more bins than cells) is 0. A NaN beats every number, so that it shows.
    Caches argmax (R, C, P, Q) int64, where in its plane each maximum was, as h*W + w: the first of equals, -1 for a bin without a cell;
    and rois and x_shape.
    """
    output_size = check.int_pair("output_size", output_size, 1)
    roi.check_rois(x, rois, spatial_scale)
    check.require(mode in ("caffe", "slide"), f'mode must be "caffe" or "slide", got {mode!r}')
    bins = pool_bins(rois, x.shape[2:], output_size, spatial_scale, mode)
    if backend.compiled(x, rois):
        shape, every_row = (len(rois), x.shape[1], *output_size), np.tile([0, x.shape[2]], (len(x), 1))
        out, argmax = np.empty(shape, x.dtype), np.empty(shape, np.int64)              # by NumPy, which asks for large pages
        kernels.roi_pool.roi_pool(kernels.roi.channels_last(np.ascontiguousarray(x), every_row), *bins, out, argmax)
    else:
        out, argmax = _running_max(x, *bins)
    return out, Cache(argmax=argmax, rois=rois, x_shape=x.shape)


def roi_pool_backward(dout, cache):
    """dout (R, C, P, Q) -> dx (N, C, H, W), drois (R, 5), which is zero.

    Each bin's gradient goes to the cell that won it, and where bins overlap, a cell may have won several: they add up (L16-F06).
    drois is zero because out is piecewise constant in the box: it is, almost everywhere, the true gradient, and it is useless (L16-F05).
    """
    argmax, rois, (N, C, H, W) = cache.argmax, cache.rois, cache.x_shape
    check.require(dout.shape == argmax.shape, f"dout must have out's shape {argmax.shape}, got {dout.shape}")
    xp = get_array_module(dout, rois)
    batch = rois[:, 0].astype(np.int64)
    if backend.compiled(dout):
        dx = np.empty((N, C, H * W), dout.dtype)
        kernels.roi_pool.roi_pool_backward(np.ascontiguousarray(dout), batch, argmax, dx)
    else:
        dx = xp.zeros((N, C, H * W), dtype=dout.dtype)
        channel = xp.arange(C)[:, None, None]
        won = xp.where(argmax >= 0, dout, 0)                                           # an empty bin adds 0, to whichever cell
        backend.scatter_add(dx, (batch[:, None, None, None], channel, xp.maximum(argmax, 0)), won)
    dx = dx.reshape(N, C, H, W)
    return dx, xp.zeros_like(rois)


def pool_bins(rois, feature_size, output_size, spatial_scale, mode):
    """The cells of every bin, all in whole numbers: rois (R, 5) on a map (H, W), output_size (P, Q) -> Bins."""
    xp = get_array_module(rois)
    ranges, corners = [], snap(rois[:, 1:] * spatial_scale)
    for length, bins, near in ((feature_size[0], output_size[0], 1), (feature_size[1], output_size[1], 0)):
        first = corners[:, near:near + 1]                                              # (R, 1)
        after = corners[:, near + 2:near + 3] + (mode == "caffe")                      # caffe: the far corner is a cell of the box too
        n = xp.maximum(after - first, 1)
        k = xp.arange(bins)                                                            # (bins,)
        start, stop = k * n // bins, (k + 1) * n // bins                               # roughly equal, disjoint
        if mode == "caffe":
            stop = -(-(k + 1) * n // bins)                                             # rounded up: the bins overlap
        ranges += [xp.clip(first + start, 0, length), xp.clip(first + stop, 0, length)]
    return Bins(rois[:, 0].astype(np.int64), *ranges)


def snap(v):
    """The nearest whole number as int64, halves away from zero as C's round() has it (NumPy's rounds them to the even one)."""
    xp = get_array_module(v)
    v = xp.clip(v, -2.0**40, 2.0**40)                                                  # beyond it, products would leave int64
    return (xp.sign(v) * xp.floor(abs(v) + 0.5)).astype(np.int64)


def _running_max(x, batch, top, bottom, left, right):
    """For all bins of all RoIs at once: tap (i, j) is the cell i rows below and j columns right of each bin's corner, while inside."""
    xp, (N, C, H, W) = get_array_module(x), x.shape
    R, P, Q = len(batch), top.shape[1], left.shape[1]
    image, channel = batch[:, None, None, None], xp.arange(C)[:, None, None]
    some = (top < bottom)[:, None, :, None] & (left < right)[:, None, None, :]         # (R, 1, P, Q): bins that have a cell
    first = top[:, None, :, None] * W + left[:, None, None, :]
    out = xp.full((R, C, P, Q), -np.inf, dtype=x.dtype)
    argmax = xp.zeros((R, C, P, Q), dtype=np.int64) + xp.where(some, first, -1)
    for i in range(int((bottom - top).max()) if R else 0):
        for j in range(int((right - left).max())):
            row, column = top + i, left + j
            inside = (row < bottom)[:, None, :, None] & (column < right)[:, None, None, :]
            row, column = xp.minimum(row, H - 1)[:, None, :, None], xp.minimum(column, W - 1)[:, None, None, :]
            tap = x[image, channel, row, column]                                       # (R, C, P, Q)
            better = inside & ((tap > out) | ((tap != tap) & (out == out)))            # the second is true of the first NaN alone
            out = xp.where(better, tap, out)
            argmax = xp.where(better, row * W + column, argmax)
    return xp.where(some, out, 0), argmax
