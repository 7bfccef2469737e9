"""One pass over a parameter for each update rule: read gradient and state once, write parameter and state once.

All arrays are flat (n,), of one dtype, and so are the scalars (a float64 scalar would make every float32 product a float64 one).
One thread: an update is bound by memory, and starting threads for each of 200 small parameters costs more than it saves.
"""
import numpy as np

from numpyvision.kernels.jit import jit, jit_sum


@jit
def sgd(p, g, v, lr, momentum, decay, nesterov):
    for i in range(p.size):
        d = g[i] + decay * p[i]
        u = momentum * v[i] + d
        v[i] = u
        p[i] -= lr * (d + momentum * u if nesterov else u)


@jit
def adam(p, g, m, v, numbers):
    """numbers (9,) of p's dtype, see below: one array passes from Python to a kernel faster than nine scalars."""
    beta1, rest1, beta2, rest2 = numbers[0], numbers[1], numbers[2], numbers[3]
    rate, root, eps, decay, shrink = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
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
