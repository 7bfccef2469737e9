"""RoI Pool as plain loops: the largest cell of every bin, and where it was.

Bins arrive as ranges of rows and columns inside the map (ops/roi_pool.py computes them once for both bodies).

Shapes here: x (N, C, H, W), batch (R,), top bottom (R, P), left right (R, Q), out and argmax (R, C, P, Q).
"""
import numpy as np
from numba import prange

from numpyvision.kernels.jit import jit_exact, jit_parallel


@jit_parallel
def roi_pool(x, batch, top, bottom, left, right):
    """out, and the place h*W + w of each maximum: the first of equals, -1 in a bin without a cell; a NaN beats every number."""
    N, C, H, W = x.shape
    R, P, Q = len(batch), top.shape[1], left.shape[1]
    out = np.zeros((R, C, P, Q), x.dtype)
    argmax = np.full((R, C, P, Q), -1, np.int64)
    for r in prange(R):
        for c in range(C):
            plane = x[batch[r], c]
            for p in range(P):
                y0, y1 = top[r, p], bottom[r, p]
                for q in range(Q):
                    x0, x1 = left[r, q], right[r, q]
                    if y0 < y1 and x0 < x1:
                        where, largest = y0 * W + x0, plane[y0, x0]
                        for i in range(y0, y1):
                            row = plane[i, x0:x1]
                            for j in range(row.size):
                                if not row[j] <= largest and largest == largest:         # greater, or a NaN: the first one stays
                                    largest, where = row[j], i * W + x0 + j
                        out[r, c, p, q] = largest
                        argmax[r, c, p, q] = where
    return out, argmax


@jit_exact
def roi_pool_backward(dout, batch, argmax, N, H, W):
    """dx (N, C, H, W): every bin's gradient to its maximum; bins that share a cell add up there."""
    R, C, P, Q = dout.shape
    dx = np.zeros((N, C, H * W), dout.dtype)
    for r in range(R):
        for c in range(C):
            plane = dx[batch[r], c]
            for p in range(P):
                for q in range(Q):
                    if argmax[r, c, p, q] >= 0:
                        plane[argmax[r, c, p, q]] += dout[r, c, p, q]
    return dx.reshape(N, C, H, W)
