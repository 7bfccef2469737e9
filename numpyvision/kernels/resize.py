"""Upsampling loops: nearest neighbour by a whole factor, and any separable resampling.

Shapes here: x (N, C, H, W), out (N, C, Ho, Wo); s a whole factor; T taps, the neighbouring cells that one output reads along an axis.
Nearest by factor 2, the feature pyramid's, has a loop of its own that LLVM vectorises, on one thread: a second would save microseconds in a
step, and cost a first run a second of compiling. Everything else goes through `resample`, one plane (n, c) a turn of `prange`: along each
axis, output q is the sum over t < T of weight[q, t] * x[first[q] + t]. The gradient is such a sum too, with the table transposed.
"""
from functools import lru_cache

import numpy as np
from numba import prange

from numpyvision.kernels.jit import jit, jit_inner, jit_parallel

EDGE = 4                                # cells at either end of an axis that may be read in another way than those between


@jit
def upsample_nearest(x, s):
    """Every pixel becomes an s x s block of itself."""
    N, C, H, W = x.shape
    out = np.empty((N, C, s * H, s * W), x.dtype)
    for plane in range(N * C):
        n, c = plane // C, plane % C
        for h in range(H):
            row = x[n, c, h]
            wide = out[n, c, s * h]
            if s == 2:
                for w in range(W):
                    wide[2 * w] = row[w]
                    wide[2 * w + 1] = row[w]
            else:
                for w in range(s * W):
                    wide[w] = row[w // s]
            for i in range(1, s):
                for w in range(s * W):                       # out[...] = wide would make numba compile a second longer
                    out[n, c, s * h + i, w] = wide[w]
    return out


@jit
def upsample_nearest_backward(dout, s):
    """Every pixel gathers the gradient of its s x s block: (N, C, s*H, s*W) -> (N, C, H, W)."""
    N, C = dout.shape[:2]
    H, W = dout.shape[2] // s, dout.shape[3] // s
    dx = np.empty((N, C, H, W), dout.dtype)
    for plane in range(N * C):
        n, c = plane // C, plane % C
        column = np.empty(s * W, dout.dtype)
        for h in range(H):
            for w in range(s * W):
                column[w] = dout[n, c, s * h, w]
            for i in range(1, s):
                row = dout[n, c, s * h + i]
                for w in range(s * W):
                    column[w] += row[w]
            result = dx[n, c, h]
            if s == 2:
                for w in range(W):
                    result[w] = column[2 * w] + column[2 * w + 1]
            else:
                for w in range(W):
                    result[w] = 0
                for w in range(s * W):
                    result[w // s] += column[w]
    return dx


def resample(x, size, kind, align_corners, a):
    """x resized to `size` = (Ho, Wo) by "nearest", "bilinear" or "bicubic" (with Keys' a)."""
    rows, columns = (taps(length, n, kind, align_corners, a, x.dtype) for length, n in zip(x.shape[2:], size, strict=True))
    return _apply(x, rows, columns)


def resample_backward(dout, x_shape, kind, align_corners, a):
    """The transpose of `resample`: (N, C, Ho, Wo) -> (N, C, H, W)."""
    rows, columns = (transposed_taps(length, n, kind, align_corners, a, dout.dtype)
                     for length, n in zip(x_shape[2:], dout.shape[2:], strict=True))
    return _apply(dout, rows, columns)


def _apply(x, rows, columns):
    """Unsigned places: a negative index would count from the end, and to test for that in every place doubles the time of the loop."""
    (first_y, weight_y), (first_x, weight_x) = rows, columns
    return _resample(x, first_y.astype(np.uint64), weight_y, first_x.astype(np.uint64), weight_x.T.copy())


@lru_cache(maxsize=128)
def taps(length, size, kind, align_corners, a, dtype):
    """Where each of `size` outputs reads an axis of `length` cells: first (size,) int64 and weight (size, T).

    A tap beyond the border reads the border cell instead, so its weight is added there and all taps lie inside the axis.
    """
    if kind == "nearest":
        return np.arange(size) * length // size, np.ones((size, 1), dtype)
    if align_corners:
        position = np.arange(size) * ((length - 1) / max(size - 1, 1))
    else:
        position = (np.arange(size) + 0.5) * (length / size) - 0.5
    left = np.floor(position).astype(np.int64)
    u = position - left                                          # in [0, 1): how far beyond the cell to the left
    if kind == "bilinear":
        start, weights = left, [1 - u, u]
    else:                                                        # Keys (1981), Eq. (4): the outer pieces of the cubic, then the inner
        outer, inner = (lambda d: ((a * d - 5 * a) * d + 8 * a) * d - 4 * a), (lambda d: ((a + 2) * d - (a + 3)) * d * d + 1)
        start, weights = left - 1, [outer(1 + u), inner(u), inner(1 - u), outer(2 - u)]
    T = min(len(weights), length)
    first = np.clip(start, 0, length - T)
    weight = np.zeros((size, T))
    for t, w in enumerate(weights):
        weight[np.arange(size), np.clip(start + t, 0, length - 1) - first] += w
    return first, weight.astype(dtype)


@lru_cache(maxsize=128)
def transposed_taps(length, size, *kind):
    """The same table by input cell: which outputs read it. first (length,) int64, weight (length, T), T the most that any cell has."""
    first, weight = taps(length, size, *kind)
    q, t = np.nonzero(weight)
    cell = first[q] + t
    lowest, highest = np.full(length, size), np.full(length, -1)
    np.minimum.at(lowest, cell, q)
    np.maximum.at(highest, cell, q)
    T = max(int((highest - lowest).max()) + 1, 1)
    start = np.clip(lowest, 0, size - T)                         # the readers of a cell are neighbours; a cell without any has zeros
    table = np.zeros((length, T), weight.dtype)
    table[cell, q - start[cell]] = weight[q, t]
    return start, table


@jit_parallel
def _resample(x, first_y, weight_y, first_x, weight_x):
    """weight_y (Ho, T), weight_x (T, Wo): the axis that makes the plane smaller goes first, the one that makes it larger last."""
    N, C, H, W = x.shape
    Ho, Wo = len(first_y), len(first_x)
    out = np.empty((N, C, Ho, Wo), x.dtype)
    doubled = _doubles(first_x, weight_x, W)
    for plane in prange(N * C):
        image = x[plane // C, plane % C]
        result = out[plane // C, plane % C]
        if Ho > H:
            wide = np.empty((H, Wo), x.dtype)
            _across(image, first_x, weight_x, doubled, wide)
            for r in range(Ho):
                _down(wide, first_y[r], weight_y, r, result)
        else:
            narrow = np.empty((Ho, W), x.dtype)
            for r in range(Ho):
                _down(image, first_y[r], weight_y, r, narrow)
            _across(narrow, first_x, weight_x, doubled, result)
    return out


@jit_inner
def _down(x, top, weight, r, out):
    """out[r, w] = sum over t of weight[r, t] * x[top + t, w]. Literal T: the compiler unrolls the taps, and does a register of w at a time.

    Whole arrays and all indices, here and below: a view of a row is made, and counted, in the time that forty of its numbers take.
    """
    if weight.shape[1] == 2:
        _sum_rows(x, top, weight, r, 2, out)
    elif weight.shape[1] == 4:
        _sum_rows(x, top, weight, r, 4, out)
    elif weight.shape[1] == 8:
        _sum_rows(x, top, weight, r, 8, out)
    else:
        _sum_rows(x, top, weight, r, weight.shape[1], out)


@jit_inner
def _sum_rows(x, top, weight, r, T, out):
    for w in range(out.shape[1]):
        total = weight[r, 0] * x[top, w]
        for t in range(1, T):
            total += weight[r, t] * x[top + np.uint64(t), w]
        out[r, w] = total


@jit_inner
def _doubles(first, weight, W):
    """Whether an axis becomes twice as long, so that, away from the border, output q + 2 is output q read one cell further."""
    if len(first) != 2 * W or W < 3 * EDGE or len(weight) > 4:
        return False
    for q in range(2 * EDGE, 2 * (W - EDGE) - 2):
        for t in range(len(weight)):
            if first[q + 2] != first[q] + np.uint64(1) or weight[t, q + 2] != weight[t, q]:
                return False
    return True


@jit_inner
def _across(x, first, weight, doubled, out):
    """out[h, q] = sum over t of weight[t, q] * x[h, first[q] + t]."""
    if doubled and len(weight) == 2:
        _sum_doubled(x, first, weight, 2, out)
    elif doubled and len(weight) == 4:
        _sum_doubled(x, first, weight, 4, out)
    elif len(weight) == 2:
        _sum_neighbours(x, first, weight, 2, out)
    elif len(weight) == 4:
        _sum_neighbours(x, first, weight, 4, out)
    elif len(weight) == 8:
        _sum_neighbours(x, first, weight, 8, out)
    else:
        _sum_neighbours(x, first, weight, len(weight), out)


@jit_inner
def _sum_neighbours(x, first, weight, T, out):
    for h in range(out.shape[0]):
        for q in range(out.shape[1]):
            out[h, q] = _dot(x, h, first, weight, T, q)


@jit_inner
def _dot(x, h, first, weight, T, q):
    total = weight[0, q] * x[h, first[q]]
    for t in range(1, T):
        total += weight[t, q] * x[h, first[q] + np.uint64(t)]
    return total


@jit_inner
def _sum_doubled(x, first, weight, T, out):
    """The same where `_doubles`: away from the border, two outputs have weights that stay and read neighbours. Nothing is gathered."""
    W, even, odd = x.shape[1], first[2 * EDGE], first[2 * EDGE + 1]
    for h in range(out.shape[0]):
        for q in range(2 * EDGE):
            out[h, q] = _dot(x, h, first, weight, T, q)
            out[h, 2 * W - 1 - q] = _dot(x, h, first, weight, T, 2 * W - 1 - q)
        for j in range(np.uint64(W - 2 * EDGE)):
            left, right = weight[0, 2 * EDGE] * x[h, even + j], weight[0, 2 * EDGE + 1] * x[h, odd + j]
            for t in range(1, T):
                left += weight[t, 2 * EDGE] * x[h, even + j + np.uint64(t)]
                right += weight[t, 2 * EDGE + 1] * x[h, odd + j + np.uint64(t)]
            q = np.uint64(2) * (j + np.uint64(EDGE))
            out[h, q] = left
            out[h, q + np.uint64(1)] = right
