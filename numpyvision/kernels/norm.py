"""Batch, frozen and group normalisation are one loop: they differ only in which planes share a mean and a variance.

Shapes here: x is seen as (A, S, B, P): S statistics, each shared by A * B planes of P pixels.
    batch norm  (N, C, 1, H*W)            one statistic a channel, shared by the N images
    group norm  (1, N*G, C/G, H*W)        one statistic a group of an image, shared by the group's C/G channels
In both, the plane (a, s, b) belongs to channel (s*B + b) % C. One statistic is one turn of `prange`, so that its planes are still in the
cache when they are read again. Both loops may do the work of a ReLU on the way, while memory is what they wait for: numbers that do not
exceed `least` become `least`. With NaN for `least` nothing happens, because no comparison with NaN is true. Sums run in the dtype of x
within a block or a plane, in LANES partial sums side by side (elementwise.py: `add_to_lanes`), and in float64 from one to the next.
"""
import numpy as np
from numba import prange

from numpyvision.kernels.elementwise import LANES, SMALL, add_to_lanes, fold
from numpyvision.kernels.jit import alone_below, jit_inner, jit_parallel
from numpyvision.kernels.vector import flush_denormals

BLOCK = 4096                            # numbers that _moments reads twice: 16 KB of float32, which stay in the first cache


@alone_below(SMALL)
@jit_parallel
def normalize(x, gamma, beta, eps, mean, var, inv_std, measure, least, out):
    """out = max(least, gamma * (x - mean) * inv_std + beta), inv_std = 1 / sqrt(var + eps). If measure, mean and var (S,) are set."""
    A, S, B, P = x.shape
    for s in prange(S):
        flush_denormals(True)                                           # with numbers below 1e-38 it would take 20 times as long
        if measure:
            mean[s], var[s] = _moments(x.reshape(A, S, B * P), np.int64(s))
        center, inverse = mean[s], 1 / np.sqrt(np.float64(var[s]) + eps)
        inv_std[s] = inverse
        for a in range(A):
            for b in range(B):
                c = (s * B + b) % gamma.size
                scale, shift = x.dtype.type(gamma[c] * inverse), beta[c]
                row = x[a, s, b]
                result = out[a, s, b]
                for i in range(P):
                    y = (row[i] - center) * scale + shift
                    result[i] = least if y <= least else y
        flush_denormals(False)


@jit_inner
def _moments(x, s):
    """Mean and biased variance of x[:, s], x (A, S, L), in one pass over memory.

    Never as E[x^2] - E[x]^2, which has no digit left far from zero. A block that fits the first cache is read twice, for its mean and for
    its squared deviations from it. Blocks are joined by the rule of Chan, Golub & LeVeque (1983): if two sets' means lie delta apart, the
    squares about their common mean are both sets' own, and delta^2 * n1 * n2 / (n1 + n2).
    """
    A, _, L = x.shape
    rows, lanes = max(1, BLOCK // L), np.empty(LANES, x.dtype)
    count, mean, squares = 0, 0.0, 0.0
    for first in range(0, A, rows):
        for i in range(0, L, BLOCK):
            last, end = min(first + rows, A), min(i + BLOCK, L)
            n = (last - first) * (end - i)
            lanes[:] = 0
            for a in range(first, last):
                add_to_lanes(x[a, s][i:end], lanes)
            block_mean = fold(lanes) / n
            center = x.dtype.type(block_mean)
            lanes[:] = 0
            for a in range(first, last):
                _add_squares(x[a, s][i:end], center, lanes)
            delta, count = block_mean - mean, count + n
            mean += delta * n / count
            squares += fold(lanes) + delta * delta * n * (count - n) / count
    return mean, squares / count


@jit_inner
def _add_squares(row, center, lanes):
    """Add (row - center)^2 to the lanes."""
    whole = row.size - row.size % LANES
    for start in range(0, whole, LANES):
        for j in range(LANES):
            lanes[j] += (row[start + j] - center) * (row[start + j] - center)
    for j in range(row.size - whole):
        lanes[j] += (row[whole + j] - center) * (row[whole + j] - center)


@alone_below(SMALL)
@jit_parallel
def normalize_backward(dout, out, least, x, gamma, mean, inv_std, measured, dx):
    """Fills dx (A, S, B, P) -> dgamma, dbeta (C,). If not measured, mean and inv_std were constants. dout counts where out > least.

    dx = gamma * inv_std * (dout - mean(dout) - xhat * mean(dout * xhat)), where a mean is over all that shared the statistic (for
    group norm with gamma * dout in place of dout); xhat = (x - mean) * inv_std. The last two terms are the way through the statistics.
    """
    A, S, B, P = x.shape
    sums, sums_x = np.empty((A, S, B), x.dtype), np.empty((A, S, B), x.dtype)           # of each plane: dout, dout * xhat
    zero = x.dtype.type(0)
    for s in prange(S):
        flush_denormals(True)
        center, inverse = mean[s], inv_std[s]
        through_mean, through_std = 0.0, 0.0
        lanes, lanes_x = np.empty(LANES, x.dtype), np.empty(LANES, x.dtype)
        for a in range(A):
            for b in range(B):
                _sum_products(dout[a, s, b], out[a, s, b], least, x[a, s, b], center, lanes, lanes_x)
                sums[a, s, b], sums_x[a, s, b] = fold(lanes), fold(lanes_x) * inverse
                weight = gamma[(s * B + b) % gamma.size]
                through_mean += weight * sums[a, s, b]
                through_std += weight * sums_x[a, s, b]
        count = max(A * B * P, 1)
        offset = x.dtype.type(through_mean / count * inverse)
        slope = x.dtype.type(through_std / count * inverse * inverse)
        for a in range(A):
            for b in range(B - 1, -1, -1):                              # backwards: the planes read last are still in the cache
                row, gradient, gate = x[a, s, b], dout[a, s, b], out[a, s, b]
                result = dx[a, s, b]
                weight = gamma[(s * B + b) % gamma.size] * inverse
                if measured:
                    for i in range(P):
                        passed = zero if gate[i] <= least else gradient[i]
                        result[i] = weight * passed - offset - (row[i] - center) * slope
                else:                                                   # constants pass no gradient, and x need not be read again
                    for i in range(P):
                        result[i] = weight * (zero if gate[i] <= least else gradient[i])
        flush_denormals(False)
    dgamma, dbeta = np.zeros_like(gamma), np.zeros_like(gamma)
    for a in range(A):
        for k in range(S * B):
            dbeta[k % gamma.size] += sums[a, k // B, k % B]
            dgamma[k % gamma.size] += sums_x[a, k // B, k % B]
    return dgamma, dbeta


@jit_inner
def _sum_products(gradient, gate, least, row, center, lanes, lanes_x):
    """Set lanes to the partial sums of gradient where gate > least, lanes_x to those of that times (row - center)."""
    lanes[:] = 0
    lanes_x[:] = 0
    zero = row.dtype.type(0)
    whole = row.size - row.size % LANES
    for start in range(0, whole, LANES):
        for j in range(LANES):
            passed = zero if gate[start + j] <= least else gradient[start + j]
            lanes[j] += passed
            lanes_x[j] += passed * (row[start + j] - center)
    for j in range(row.size - whole):
        passed = zero if gate[whole + j] <= least else gradient[whole + j]
        lanes[j] += passed
        lanes_x[j] += passed * (row[whole + j] - center)
