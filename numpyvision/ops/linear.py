"""The fully connected layer: one matrix product forward, two backward.

Shapes here: N rows (images, RoIs), D features of a row, F outputs. x (N, ...) is flattened to (N, D); w (D, F), b (F,), out (N, F).
"""
import math

import numpy as np

from numpyvision import backend, kernels
from numpyvision.cache import Cache
from numpyvision.check import arguments as check


def linear_forward(x, w, b=None):
    """out = x @ w + b.

    x (N, D) or (N, C, H, W) with D = C*H*W, w (D, F), b (F,) or None -> (N, F). Caches x and w. No rows give (0, F).
    """
    _check_linear(x, w, b)
    rows = x.reshape(len(x), w.shape[0])                               # (N, D)
    if backend.compiled(x, w, b):
        out = kernels.linear.matmul(np.ascontiguousarray(rows), np.ascontiguousarray(w))                # (N, F)
    else:
        out = rows @ w                                                 # (N, F)
    if b is not None:
        out += b                                                       # in place: out was born here
    return out, Cache(x=x, w=w, has_b=b is not None)


def linear_backward(dout, cache):
    """dout (N, F) -> dx of x's shape, dw (D, F), db (F,) or None: out is linear in each, so each gradient is dout times the other."""
    x, w = cache.x, cache.w
    check.require(dout.shape == (len(x), w.shape[1]), f"dout must be (N, F) = {(len(x), w.shape[1])}, got {dout.shape}")
    db = dout.sum(axis=0) if cache.has_b else None                     # copy gate: b was added to every row
    rows = x.reshape(len(x), w.shape[0])                               # (N, D)
    if backend.compiled(dout, x, w):
        dout, rows, w = (np.ascontiguousarray(a) for a in (dout, rows, w))
        return kernels.linear.matmul_bt(dout, w).reshape(x.shape), kernels.linear.matmul_at(rows, dout), db
    dw = rows.T @ dout                                                 # (D, N) @ (N, F)
    dx = (dout @ w.T).reshape(x.shape)
    return dx, dw, db


def _check_linear(x, w, b):
    check.array("w", w, 2, "(D, F)")
    check.array("x", x, x.ndim if getattr(x, "ndim", 0) >= 2 else 2, "(N, D) or (N, C, H, W)")
    check.same_dtype({"x": x, "w": w, "b": b})
    features = math.prod(x.shape[1:])
    check.require(features == w.shape[0], f"w must be (D, F) with D = {features} for x {x.shape}, got {w.shape}; "
                                          "was the layer built for another image size, or is w transposed?")
    if b is not None:
        check.array("b", b, 1, "(F,)")
        check.require(b.shape == w.shape[1:], f"b must be (F,) = ({w.shape[1]},), got {b.shape}")
