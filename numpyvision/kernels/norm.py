"""Batch, frozen and group normalisation are one loop: they differ only in which planes share a mean and a variance.

Shapes here: x is seen as (A, S, B, P): S statistics, each shared by A * B planes of P pixels.
    batch norm  (N, C, 1, H*W)            one statistic a channel, shared by the N images
    group norm  (1, N*G, C/G, H*W)        one statistic a group of an image, shared by the group's C/G channels
In both, the plane (a, s, b) belongs to channel (s*B + b) % C. One statistic is one turn of `prange`, so that its planes are still in the
cache when they are read again. Sums run in the dtype of x within a plane, in LANES partial sums side by side, and in float64 from plane to
plane. The lanes are written out: a sum that LLVM may regroup as it likes differs between the first run on a machine and the next (jit.py).
"""
import numpy as np
from numba import prange

from numpyvision.kernels.jit import jit, jit_parallel

LANES = 64                    # four vectors of 16 floats: enough additions under way to hide how long one takes


@jit_parallel
def normalize(x, gamma, beta, eps, mean, var, measure):
    """gamma * (x - mean) / sqrt(var + eps) + beta. If measure is true, mean and var (S,) are first computed, and written to."""
    A, S, B, P = x.shape
    out = np.empty_like(x)
    for s in prange(S):
        if measure:
            mean[s], var[s] = _moments(x, s)
        center, inv_std = mean[s], 1 / np.sqrt(np.float64(var[s]) + eps)
        for a in range(A):
            for b in range(B):
                c = (s * B + b) % gamma.size
                scale, shift = x.dtype.type(gamma[c] * inv_std), beta[c]
                row = x[a, s, b]
                result = out[a, s, b]
                for i in range(P):
                    result[i] = (row[i] - center) * scale + shift
    return out


@jit
def _moments(x, s):
    """Mean and biased variance of x[:, s], in two passes: the variance from the deviations, never as E[x^2] - E[x]^2."""
    A, _, B, P = x.shape
    total, squares, lanes = 0.0, 0.0, np.empty(LANES, x.dtype)
    for a in range(A):
        for b in range(B):
            row = x[a, s, b]
            lanes[:] = 0
            for start in range(0, P - LANES + 1, LANES):
                for j in range(LANES):
                    lanes[j] += row[start + j]
            for i in range(P - P % LANES, P):
                lanes[i % LANES] += row[i]
            total += _add_up(lanes)
    center = x.dtype.type(total / (A * B * P))
    for a in range(A):
        for b in range(B):
            row = x[a, s, b]
            lanes[:] = 0
            for start in range(0, P - LANES + 1, LANES):
                for j in range(LANES):
                    lanes[j] += (row[start + j] - center) * (row[start + j] - center)
            for i in range(P - P % LANES, P):
                lanes[i % LANES] += (row[i] - center) * (row[i] - center)
            squares += _add_up(lanes)
    return center, squares / (A * B * P)


@jit
def _add_up(lanes):
    """The sum of the lanes, folded in halves; they are spent."""
    width = lanes.size // 2
    while width:
        for j in range(width):
            lanes[j] += lanes[j + width]
        width //= 2
    return lanes[0]


@jit_parallel
def normalize_backward(dout, x, gamma, mean, inv_std, measured):
    """dx (A, S, B, P), and per plane (A, S, B) the shares of dgamma and dbeta. If not measured, mean and inv_std were constants.

    dx = gamma * inv_std * (dout - mean(dout) - xhat * mean(dout * xhat)), where a mean is over all that shared the statistic (for
    group norm with gamma * dout in place of dout); xhat = (x - mean) * inv_std. The last two terms are the way through the statistics.
    """
    A, S, B, P = x.shape
    dx = np.empty_like(x)
    dgamma = np.empty((A, S, B), x.dtype)
    dbeta = np.empty((A, S, B), x.dtype)
    for s in prange(S):
        center, inverse = mean[s], inv_std[s]
        through_mean, through_std = 0.0, 0.0
        lanes, lanes_x = np.empty(LANES, x.dtype), np.empty(LANES, x.dtype)
        for a in range(A):
            for b in range(B):
                row, gradient = x[a, s, b], dout[a, s, b]
                lanes[:] = 0
                lanes_x[:] = 0
                for start in range(0, P - LANES + 1, LANES):
                    for j in range(LANES):
                        lanes[j] += gradient[start + j]
                        lanes_x[j] += gradient[start + j] * (row[start + j] - center)
                for i in range(P - P % LANES, P):
                    lanes[i % LANES] += gradient[i]
                    lanes_x[i % LANES] += gradient[i] * (row[i] - center)
                part, part_x = _add_up(lanes), _add_up(lanes_x)
                dbeta[a, s, b], dgamma[a, s, b] = part, part_x * inverse
                weight = gamma[(s * B + b) % gamma.size]
                through_mean += weight * part
                through_std += weight * part_x * inverse
        count = A * B * P if measured else np.inf                       # constants pass no gradient: both terms vanish
        offset = x.dtype.type(through_mean / count)
        slope = x.dtype.type(through_std * inverse / count)
        for a in range(A):
            for b in range(B):
                row, gradient = x[a, s, b], dout[a, s, b]
                result = dx[a, s, b]
                weight = gamma[(s * B + b) % gamma.size]
                for i in range(P):
                    result[i] = inverse * (weight * gradient[i] - offset - (row[i] - center) * slope)
    return dx, dgamma, dbeta
