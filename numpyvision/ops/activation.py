"""Activations, and the sum of two maps: elementwise, any shape."""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.cache import Cache
from numpyvision.check import arguments as check


def add(x, y):
    """x + y, two maps of one shape, on all threads. Its backward needs no function: both receive the gradient of the sum as it is."""
    if x.shape != y.shape or not backend.compiled(x, y):
        return x + y
    return _add(x, y, np.nan)


def add_relu(x, y):
    """max(x + y, 0), the end of a residual block, compiled in one pass over memory -> out, cache for relu_backward, which serves both."""
    if x.shape != y.shape or not backend.compiled(x, y):
        return relu_forward(add(x, y))
    out = _add(x, y, 0)
    return out, Cache(out=out)


def _add(x, y, least):
    """max(x + y, least) by the compiled loop; NaN for `least`: x + y."""
    out = np.empty(x.shape, x.dtype)
    kernels.elementwise.add(x.reshape(-1), y.reshape(-1), x.dtype.type(least), out.reshape(-1))
    return out


def relu_forward(x):
    """out = max(x, 0), any shape; NaN stays NaN.

    Caches out, not x: its zeros say where backward is shut, and the next convolution caches the same array as its input, so that
    remembering it costs nothing, while nobody else would have kept x.
    """
    check.array("x", x, getattr(x, "ndim", 0), "any shape")
    if backend.compiled(x):
        out = np.empty(x.shape, x.dtype)                               # by NumPy: with huge pages, half the time above 32 MB
        flat = x.reshape(-1)
        kernels.elementwise.pass_positive(flat, flat, out.reshape(-1))
    else:
        out = backend.get_array_module(x).maximum(x, 0)
    return out, Cache(out=out)


def relu_backward(dout, cache):
    """dout -> dx: the gradient passes where out > 0 and stops where out is 0 (at the kink x = 0 too, as everyone chooses)."""
    out = cache.out
    if dout.shape != out.shape:
        raise ValueError(f"dout must have out's shape {out.shape}, got {dout.shape}")
    if backend.compiled(dout, out):
        dx = np.empty(out.shape, out.dtype)
        kernels.elementwise.pass_positive(dout.reshape(-1), out.reshape(-1), dx.reshape(-1))
        return dx
    return backend.get_array_module(dout).where(out <= 0, 0, dout)         # <= 0 and not > 0: NaN lets NaN be seen


def sigmoid_forward(x):
    """out = 1 / (1 + e^-x), any shape, without overflow at x = -1000. Caches out. To train on it, use `sigmoid_bce`, which is stable."""
    check.array("x", x, getattr(x, "ndim", 0), "any shape")
    if backend.compiled(x):
        out = np.empty(x.shape, x.dtype)
        kernels.elementwise.sigmoid(x.reshape(-1), out.reshape(-1))
        return out, Cache(out=out)
    xp = backend.get_array_module(x)
    e = xp.exp(-abs(x))                                                # in (0, 1]: cannot overflow
    out = xp.where(x >= 0, 1, e) / (1 + e)                             # 1 / (1 + e^-x) = e^x / (1 + e^x)
    return out, Cache(out=out)


def sigmoid_backward(dout, cache):
    """dout -> dx: the slope of the sigmoid, written in its own value, is out (1 - out)."""
    out = cache.out
    if dout.shape != out.shape:
        raise ValueError(f"dout must have out's shape {out.shape}, got {dout.shape}")
    if backend.compiled(dout, out):
        dx = np.empty(out.shape, out.dtype)
        kernels.elementwise.sigmoid_backward(dout.reshape(-1), out.reshape(-1), dx.reshape(-1))
        return dx
    return dout * out * (1 - out)
