"""RoI Pool as plain loops: the largest cell of every bin, and where it was.

Bins arrive as ranges of rows and columns inside the map (ops/roi_pool.py computes them once for both bodies).

Shapes here: N C H W of x; batch (R,), top bottom (R, P), left right (R, Q), out and argmax (R, C, P, Q).
"""
import numpy as np
from numba import prange

from numpyvision.kernels.jit import jit_inner, jit_parallel

CHANNELS = 8                           # that backward treats together: no two threads ever write to the same place


@jit_parallel
def roi_pool(x, batch, top, bottom, left, right, out, argmax):
    """Fills out, and argmax with the place h*W + w of each maximum: the first of equals, -1 in a bin without a cell; a NaN beats numbers.

    x (N, H, W, C), channels last: a cell is compared with the largest so far in all channels at once, a register of them at a time.
    """
    W, C, P, Q = x.shape[2], x.shape[3], top.shape[1], left.shape[1]
    for r in prange(len(batch)):
        largest, where = np.empty(C, x.dtype), np.empty(C, np.int32)
        for p in range(P):
            for q in range(Q):
                largest[:] = 0
                where[:] = -1
                for i in range(top[r, p], bottom[r, p]):
                    for j in range(left[r, q], right[r, q]):
                        first = i == top[r, p] and j == left[r, q]
                        _take_larger(x[batch[r], i, j], np.int32(i * W + j), first, largest, where)
                for c in range(C):
                    out[r, c, p, q] = largest[c]
                    argmax[r, c, p, q] = where[c]


@jit_inner
def _take_larger(cell, place, first, largest, where):
    """Where a channel of this cell is larger than the largest so far, or is the first NaN, it takes its place."""
    for c in range(cell.size):
        better = first | ((cell[c] > largest[c]) | (cell[c] != cell[c])) & (largest[c] == largest[c])
        largest[c] = cell[c] if better else largest[c]
        where[c] = place if better else where[c]


@jit_parallel
def roi_pool_backward(dout, batch, argmax, dx):
    """Fills dx (N, C, H*W): every bin's gradient goes to its maximum; bins that share a cell add up there. A turn has few channels."""
    R, C, P, Q = dout.shape
    for block in prange((C + CHANNELS - 1) // CHANNELS):
        channels = slice(block * CHANNELS, min((block + 1) * CHANNELS, C))
        for n in range(len(dx)):
            dx[n, channels] = 0
        for r in range(R):
            for c in range(channels.start, channels.stop):
                plane = dx[batch[r], c]
                for p in range(P):
                    for q in range(Q):
                        if argmax[r, c, p, q] >= 0:
                            plane[argmax[r, c, p, q]] += dout[r, c, p, q]
