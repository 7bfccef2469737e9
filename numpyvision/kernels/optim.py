"""One pass over all parameters for each update rule: read gradient and state once, write parameter and state once.

A model has hundreds of parameters, most of them small: a call for each costs more than its arithmetic. So one call takes them all, cut
into pieces of equal work (training/pieces.py). An array of arrays is nothing that numba knows; what goes in are addresses in memory.

Shapes here: K pieces; addresses (2 + slots, K) int64 of where a piece of p, of g and of each state begins; counts (K,) how many numbers it
has; decay (K,) and numbers in the parameters' dtype (a float64 scalar would make every float32 product a float64 one).
"""
import numpy as np
from numba import carray, prange

from numpyvision.kernels.jit import alone_below, jit_inner, jit_parallel, jit_sum
from numpyvision.kernels.vector import flush_denormals, pointer_to

FEW = 4                                 # fewer pieces than this are not worth a second thread


@alone_below(FEW)
@jit_parallel
def sgd(counts, addresses, decay, numbers, nesterov):
    """numbers: lr, momentum."""
    for k in prange(counts.size):
        p, g = _piece(addresses[0, k], counts[k], decay), _piece(addresses[1, k], counts[k], decay)
        v = _piece(addresses[2, k], counts[k], decay)
        flush_denormals(True)                                         # a state without gradients decays into them: 20 times as slow
        _sgd(p, g, v, numbers[0], numbers[1], decay[k], nesterov)
        flush_denormals(False)


@jit_inner
def _piece(address, count, like):
    """A piece of p, of g or of a state: an array of `like`'s dtype on the parameter's own memory."""
    return carray(pointer_to(address, like), count)


@jit_inner
def _sgd(p, g, v, lr, momentum, decay, nesterov):
    for i in range(p.size):
        d = g[i] + decay * p[i]
        u = momentum * v[i] + d
        v[i] = u
        p[i] -= lr * (d + momentum * u if nesterov else u)


@alone_below(FEW)
@jit_parallel
def adam(counts, addresses, decay, shrink, numbers):
    """numbers: see _adam. p is multiplied by shrink (K,) first."""
    for k in prange(counts.size):
        p, g = _piece(addresses[0, k], counts[k], decay), _piece(addresses[1, k], counts[k], decay)
        m, v = _piece(addresses[2, k], counts[k], decay), _piece(addresses[3, k], counts[k], decay)
        flush_denormals(True)
        _adam(p, g, m, v, numbers, decay[k], shrink[k])
        flush_denormals(False)


@jit_inner
def _adam(p, g, m, v, numbers, decay, shrink):
    beta1, rest1, beta2, rest2 = numbers[0], numbers[1], numbers[2], numbers[3]
    rate, root, eps = numbers[4], numbers[5], numbers[6]
    for i in range(p.size):
        q = shrink * p[i]
        d = g[i] + decay * q
        a = beta1 * m[i] + rest1 * d
        b = beta2 * v[i] + rest2 * d * d
        m[i] = a
        v[i] = b
        p[i] = q - rate * a / (np.sqrt(b) * root + eps)


@jit_sum
def sum_of_squares(x):
    total = 0.0                                                       # float64, whatever x is
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total
