"""Pooling loops, over whole rows of windows at a time.

Shapes here: x (N, C, H, W), out (N, C, Ho, Wo); k, s, p are kernel size, stride and padding. One plane (n, c) is one turn of `prange`.
Planes (or rows) are first copied into a buffer with p extra places on every side, so that no window hangs over the edge.
"""
import numpy as np
from numba import prange

from numpyvision.kernels.elementwise import LANES, add_up
from numpyvision.kernels.jit import jit_inner, jit_parallel, jit_sum

MANY = 1 << 20                          # numbers: from here on a mean of planes takes long enough for two threads


@jit_parallel
def max_pool2d(x, k, s, p):
    """out and, int64, the place h*W + w of each maximum in its plane: the first of equals; a NaN beats every number."""
    N, C, H, W = x.shape
    Ho, Wo = (H + 2 * p - k) // s + 1, (W + 2 * p - k) // s + 1
    out = np.empty((N, C, Ho, Wo), x.dtype)
    indices = np.empty((N, C, Ho, Wo), np.int64)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        padded = _padded(x[n, c], p) if p > 0 else x[n, c]
        for r in range(Ho):
            rows, top = padded[r * s:], r * s - p
            if k == 2 and s == 2:               # literal numbers: the compiler unrolls the window, and does 16 windows at a time
                _max_row(rows, 2, 2, p, top, W, out[n, c, r], indices[n, c, r])
            elif k == 3 and s == 2:
                _max_row(rows, 3, 2, p, top, W, out[n, c, r], indices[n, c, r])
            else:
                _max_row(rows, k, s, p, top, W, out[n, c, r], indices[n, c, r])
    return out, indices


@jit_inner
def _padded(plane, p):
    """A copy with p places of -inf, which never win, on every side."""
    H, W = plane.shape
    padded = np.full((H + 2 * p, W + 2 * p), -np.inf, plane.dtype)
    for h in range(H):
        row, source = padded[p + h, p:], plane[h]
        for w in range(W):
            row[w] = source[w]
    return padded


@jit_inner
def _max_row(rows, k, s, p, top, W, out, indices):
    """The windows of one row of out. rows is the padded plane from their first row on, which is row `top` of the image."""
    lowest, corner, first = rows.dtype.type(-np.inf), np.int32(top * W - p), np.int32(max(top, 0) * W)
    for q in range(out.size):
        largest = lowest
        place = first + np.int32(max(s * q - p, 0))                                     # for a window that holds nothing but -inf
        for i in range(k):
            for j in range(k):
                value = rows[i, s * q + j]
                better = (value > largest) | (value != value)                           # the second is true of NaN alone
                largest = value if better else largest
                place = corner + np.int32(i * W + s * q + j) if better else place
        out[q] = largest
        indices[q] = place


@jit_parallel
def max_pool2d_backward(dout, indices, dx):
    """Fills dx (N, C, H, W); -> how many indices pointed outside their plane (those are skipped; the caller raises)."""
    N, C, H, W = dx.shape
    wrong, size = 0, np.uint64(H * W)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        gradient, place = dout[n, c].reshape(-1), indices[n, c].reshape(-1)
        result = dx[n, c].reshape(-1)
        result[:] = 0
        for i in range(gradient.size):
            where = np.uint64(place[i])                                                 # a negative index becomes a huge one
            if where < size:
                result[where] += gradient[i]
            else:
                wrong += 1
    return wrong


@jit_parallel
def max_unpool2d(x, indices, H, W):
    """out (N, C, H, W), and how many indices pointed outside their plane (those are skipped; the caller raises)."""
    N, C, Ho, Wo = x.shape
    out = np.empty((N, C, H, W), x.dtype)
    wrong, size = 0, np.uint64(H * W)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        value, place = x[n, c].reshape(-1), indices[n, c].reshape(-1)
        result = out[n, c].reshape(-1)
        result[:] = 0
        for i in range(value.size):
            where = np.uint64(place[i])                                                 # a negative index becomes a huge one
            if where < size:
                result[where] = value[i]                                                # a later one overwrites
            else:
                wrong += 1
    return out, wrong


@jit_parallel
def max_unpool2d_backward(dout, indices):
    """dx: each place's gradient goes to the last value that was written there; and the number of wrong indices, as above."""
    N, C, H, W = dout.shape
    dx = np.empty(indices.shape, dout.dtype)
    wrong, size, zero = 0, np.uint64(H * W), dout.dtype.type(0)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        gradient, place = dout[n, c].reshape(-1), indices[n, c].reshape(-1)
        result = dx[n, c].reshape(-1)
        taken = np.zeros(H * W, np.uint8)                                               # a byte a place stays in the cache
        for i in range(place.size - 1, -1, -1):                                         # backwards: the last one comes first
            where = np.uint64(place[i])
            if where < size:
                result[i] = zero if taken[where] else gradient[where]
                taken[where] = 1
            else:
                result[i] = zero
                wrong += 1
    return dx, wrong


def global_avg_pool(x):
    """The mean of each plane: (N, C, H, W) -> (N, C)."""
    N, C, H, W = x.shape
    means = _few_means if x.size < MANY else _many_means
    return means(x.reshape(N * C, H * W)).reshape(N, C)


@jit_sum
def _few_means(planes):
    """(planes, P) -> (planes,), on one thread."""
    means = np.empty(len(planes), planes.dtype)
    for p in range(len(planes)):
        row, total = planes[p], planes.dtype.type(0)
        for i in range(row.size):
            total += row[i]
        means[p] = total / row.size
    return means


@jit_parallel
def _many_means(planes):
    """The same on all threads, where LLVM may not regroup a sum: in lanes, which cost too much where planes are small."""
    means = np.empty(len(planes), planes.dtype)
    for p in prange(len(planes)):
        means[p] = add_up(planes[p], np.empty(LANES, planes.dtype)) / planes.shape[1]
    return means


@jit_parallel
def avg_pool2d(x, k, s, p):
    """The mean of each k x k window; padding counts as zeros."""
    N, C, H, W = x.shape
    Ho, Wo = (H + 2 * p - k) // s + 1, (W + 2 * p - k) // s + 1
    out = np.empty((N, C, Ho, Wo), x.dtype)
    share = x.dtype.type(1 / (k * k))
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        total = np.zeros(W + 2 * p + s, x.dtype)
        inner = total[p:p + W]
        for r in range(Ho):
            inner[:] = 0
            for h in range(max(r * s - p, 0), min(r * s - p + k, H)):
                row = x[n, c, h]
                for w in range(W):
                    inner[w] += row[w]
            if s == 2:
                _sum_across(total, k, 2, share, out[n, c, r])
            else:
                _sum_across(total, k, s, share, out[n, c, r])
    return out


@jit_inner
def _sum_across(total, k, s, share, out):
    """share times the sum of k neighbouring columns, every s-th time."""
    out[:] = 0
    for j in range(k):
        shifted = total[j:]
        for q in range(out.size):
            out[q] += share * shifted[s * q]


@jit_parallel
def avg_pool2d_backward(dout, H, W, k, s, p):
    """dx (N, C, H, W): every place of a window receives 1 / k^2 of the window's gradient."""
    N, C, Ho, Wo = dout.shape
    dx = np.empty((N, C, H, W), dout.dtype)
    share = dout.dtype.type(1 / (k * k))
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        spread = np.empty(W + 2 * p + s, dout.dtype)
        inner = spread[p:p + W]
        dx[n, c] = 0
        for r in range(Ho):
            spread[:] = 0
            gradient = dout[n, c, r]
            for j in range(k):
                shifted = spread[j:]
                for q in range(Wo):
                    shifted[s * q] += share * gradient[q]
            for h in range(max(r * s - p, 0), min(r * s - p + k, H)):
                row = dx[n, c, h]
                for w in range(W):
                    row[w] += inner[w]
    return dx
