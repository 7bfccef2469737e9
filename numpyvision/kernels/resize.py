"""Nearest-neighbour upsampling by a whole factor, and its gradient. One plane (n, c) is one turn of `prange`.

Shapes here: x (N, C, H, W), out (N, C, s*H, s*W). Factor 2, the feature pyramid's, has a loop of its own that LLVM vectorises.
"""
import numpy as np
from numba import prange

from numpyvision.kernels.jit import jit_parallel


@jit_parallel
def upsample_nearest(x, s):
    """Every pixel becomes an s x s block of itself."""
    N, C, H, W = x.shape
    out = np.empty((N, C, s * H, s * W), x.dtype)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        for h in range(H):
            row = x[n, c, h]
            wide = out[n, c, s * h]
            if s == 2:
                for w in range(W):
                    wide[2 * w] = row[w]
                    wide[2 * w + 1] = row[w]
            else:
                for w in range(W):
                    wide[s * w:s * w + s] = row[w]
            for i in range(1, s):
                out[n, c, s * h + i] = wide
    return out


@jit_parallel
def upsample_nearest_backward(dout, s):
    """Every pixel gathers the gradient of its s x s block: (N, C, s*H, s*W) -> (N, C, H, W)."""
    N, C = dout.shape[:2]
    H, W = dout.shape[2] // s, dout.shape[3] // s
    dx = np.empty((N, C, H, W), dout.dtype)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        column = np.empty(s * W, dout.dtype)
        for h in range(H):
            column[:] = dout[n, c, s * h]
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
                    result[w] = column[s * w:s * w + s].sum()
    return dx
