"""One pass over a parameter for each update rule: read gradient and state once, write parameter and state once.

All arrays are flat (n,), of one dtype, and so are the scalars (a float64 scalar would make every float32 product a float64 one).
One thread: an update is bound by memory, and starting threads for each of 200 small parameters costs more than it saves.
"""
import numpy as np

from numpyvision.kernels.jit import jit


@jit
def sgd(p, g, v, lr, momentum, decay, nesterov):
    for i in range(p.size):
        d = g[i] + decay * p[i]
        u = momentum * v[i] + d
        v[i] = u
        p[i] -= lr * (d + momentum * u if nesterov else u)


@jit
def adam(p, g, m, v, lr, beta1, beta2, one_minus_beta1, one_minus_beta2, correction1, correction2, eps, decay, shrink):
    for i in range(p.size):
        q = shrink * p[i]
        d = g[i] + decay * q
        a = beta1 * m[i] + one_minus_beta1 * d
        b = beta2 * v[i] + one_minus_beta2 * d * d
        m[i] = a
        v[i] = b
        p[i] = q - lr * (a / correction1) / (np.sqrt(b / correction2) + eps)


@jit
def sum_of_squares(x):
    total = 0.0                                                       # float64, whatever x is
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total
