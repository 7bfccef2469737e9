"""Argument checks for `ops/`, `losses/` and `boxes/`: a wrong shape is named before it reaches a compiled loop.

Every message says what was expected, what came, and (where one mistake is usual) what to do about it. All raise ValueError.
"""
import operator

import numpy as np


def require(condition, message):
    """ValueError(message) unless condition. Build the message lazily if it is dear: it is formatted on every call."""
    if not condition:
        raise ValueError(message)


def array(name, x, ndim, shape_text):
    """x must be a floating array (NumPy, CuPy, ...) of ndim axes: `array("x", x, 4, "(N, C, H, W)")`.

    Arrays of objects pass too: a kernel never gets one (`backend.compiled`), and the readable bodies compute with anything that can be
    added and multiplied, such as the letters of `ops/symbolic.py`.
    """
    if not (hasattr(x, "ndim") and hasattr(x, "shape") and hasattr(x, "dtype")):
        raise ValueError(f"{name} must be an array of shape {shape_text}, got a {type(x).__name__}; wrap it in np.asarray(...)")
    if x.ndim != ndim:
        hint = f"; a single image needs {name}[None]" if ndim == 4 and x.ndim == 3 else ""
        raise ValueError(f"{name} must be {shape_text}, got {tuple(x.shape)}{hint}")
    if np.dtype(x.dtype).kind not in "fO":
        raise ValueError(f"{name} must be float32 or float64, got {x.dtype}; convert it with {name}.astype(np.float32)")


def integer_array(name, x, ndim, shape_text):
    """x must be an integer array of ndim axes: labels, indices."""
    if not (hasattr(x, "ndim") and hasattr(x, "dtype")):
        raise ValueError(f"{name} must be an integer array of shape {shape_text}, got a {type(x).__name__}; wrap it in np.asarray(...)")
    if x.ndim != ndim:
        raise ValueError(f"{name} must be {shape_text}, got {tuple(x.shape)}")
    if np.dtype(x.dtype).kind not in "iu":
        raise ValueError(f"{name} must hold integers, got {x.dtype}; convert it with {name}.astype(np.int64)")


def same_dtype(arrays):
    """All arrays of the dict {name: array} must have one dtype; None is an absent optional: `same_dtype({"x": x, "w": w, "b": b})`."""
    dtypes = {name: a.dtype for name, a in arrays.items() if a is not None}
    if len(set(dtypes.values())) > 1:                                # text only now: naming a dtype is dear, and this runs at every call
        got = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        first, dtype = next(iter(dtypes.items()))
        raise ValueError(f"arrays of one operation must share a dtype, got {got}; convert the others to {first}'s with .astype(np.{dtype})")


def positive_int(name, value):
    """value as an int >= 1 (NumPy integers too, never a float or a bool)."""
    return _integer(name, value, 1)


def int_pair(name, value, minimum=0):
    """An int or a pair -> (h, w), both >= minimum: `kh, kw = int_pair("kernel_size", kernel_size, minimum=1)`."""
    if isinstance(value, (tuple, list)):
        require(len(value) == 2, f"{name} must be an int or a pair (h, w), got {len(value)} numbers: {value!r}")
        return _integer(f"{name}[0]", value[0], minimum), _integer(f"{name}[1]", value[1], minimum)
    n = _integer(name, value, minimum)
    return n, n


def _integer(name, value, minimum):
    if type(value) is int and value >= minimum:                      # nearly always, and this runs ten times a convolution
        return value
    try:
        n = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        n = None
    if n is None or n < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return n
