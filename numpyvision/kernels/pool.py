"""Pooling loops. A window is reduced down its columns first, over whole rows that lie in memory one after the other, then across.

Shapes here: x (N, C, H, W), out (N, C, Ho, Wo); k, s, p are kernel size, stride and padding. One plane (n, c) is one turn of `prange`.
A row buffer has p extra places on both sides, so that windows may hang over the edge: -inf there never wins a maximum, 0 adds nothing.
"""
import numpy as np
from numba import prange

from numpyvision.kernels.jit import jit, jit_parallel


@jit_parallel
def max_pool2d(x, k, s, p):
    """out and, int64, the place h*W + w of each maximum in its plane; the first of equals, and NaN before every number."""
    N, C, H, W = x.shape
    Ho, Wo = (H + 2 * p - k) // s + 1, (W + 2 * p - k) // s + 1
    out = np.empty((N, C, Ho, Wo), x.dtype)
    indices = np.empty((N, C, Ho, Wo), np.int64)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        best = np.full(W + 2 * p + s, -np.inf, x.dtype)
        place = np.zeros(W + 2 * p + s, np.int32)
        inner_best = best[p:p + W]
        inner_place = place[p:p + W]
        for r in range(Ho):
            top, bottom = max(r * s - p, 0), min(r * s - p + k, H)
            row = x[n, c, top]
            for w in range(W):
                inner_best[w], inner_place[w] = row[w], top * W + w
            for h in range(top + 1, bottom):
                row = x[n, c, h]
                for w in range(W):
                    better = (row[w] > inner_best[w]) | (row[w] != row[w])              # the second is true of NaN alone
                    inner_best[w] = row[w] if better else inner_best[w]
                    inner_place[w] = h * W + w if better else inner_place[w]
            if s == 2:                                  # a stride that the compiler knows: it can use shuffles in place of gathers
                _max_across(best, place, k, 2, p, W, out[n, c, r], indices[n, c, r])
            else:
                _max_across(best, place, k, s, p, W, out[n, c, r], indices[n, c, r])
    return out, indices


@jit
def _max_across(best, place, k, s, p, W, out, indices):
    """The best of k neighbouring columns, every s-th time. Padding holds -inf and never wins, even in a window of -inf only."""
    for q in range(out.size):
        out[q], indices[q] = best[s * q], place[s * q]
    for q in range((p + s - 1) // s):                                                   # windows that begin in the left padding
        out[q], indices[q] = best[p], place[p]
    for j in range(1, k):
        shifted, shifted_place = best[j:], place[j:]
        inside = min(out.size, (p + W - 1 - j) // s + 1)                                # beyond: the right padding
        first = max(0, (p - j + s - 1) // s)
        for q in range(first, inside):
            value, where = shifted[s * q], shifted_place[s * q]
            better = (value > out[q]) | (value != value) | ((value == out[q]) & (where < indices[q]))
            out[q] = value if better else out[q]
            indices[q] = where if better else indices[q]


@jit_parallel
def max_pool2d_backward(dout, indices, H, W):
    """dx (N, C, H, W), and how many indices pointed outside their plane (those are skipped; the caller raises)."""
    N, C, Ho, Wo = dout.shape
    dx = np.empty((N, C, H, W), dout.dtype)
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
    return dx, wrong


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


@jit
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
