"""Which library an array belongs to, and whether the compiled loops may have it. The only file that names cupy.

An operation never asks "am I on a GPU?": it asks `xp = get_array_module(x)` and computes with `xp`. NumPy arrays of float32 or float64
may be handed to a compiled kernel instead; every other array (CuPy, a symbolic object array) takes the readable body.
"""
import numpy as np

FLOATS = {np.dtype(np.float32), np.dtype(np.float64)}
_mode = "compiled"


class use:
    """Switch the compiled loops on or off: `use("numpy")` runs every readable body, `use("compiled")` the numba kernels.

    Takes effect at once; as a context manager it also puts the earlier choice back: `with numpyvision.use("numpy"): ...`.
    """

    def __init__(self, mode):
        global _mode
        if mode not in ("numpy", "compiled"):
            raise ValueError(f'use() takes "numpy" (readable bodies) or "compiled" (numba kernels), got {mode!r}')
        self._before, _mode = _mode, mode

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        global _mode
        _mode = self._before


def mode():
    """"numpy" or "compiled": what `use` chose last."""
    return _mode


def get_array_module(*arrays):
    """The module (numpy, cupy, ...) whose functions take these arrays. Lists and scalars count as NumPy.

    An array of another library is recognised by its own type, never converted: by cupy's name, or by `__array_namespace__`
    (the array API's hook, which the tests' strict stand-in array uses).
    """
    for a in arrays:
        if a is None or isinstance(a, (np.ndarray, np.generic)):
            continue
        if type(a).__module__.partition(".")[0] == "cupy":
            import cupy
            return cupy
        if hasattr(a, "__array_namespace__"):
            return a.__array_namespace__()
    return np


def to_numpy(a):
    """A NumPy array with the same values: the array itself where it already is one, a copy from the device where it is not."""
    if isinstance(a, np.ndarray):
        return a
    return a.get() if hasattr(a, "get") and not isinstance(a, dict) else np.asarray(a)


def compiled(*arrays):
    """True if a kernel may take these arrays: compiled mode, all NumPy, all float32 or all float64 (None is skipped).

    Integer arrays (indices, labels) are the caller's to pass in the dtype that the kernel wants; ask only about the floating ones.
    """
    dtype = None
    for a in arrays:                                                   # a plain loop: this is asked hundreds of times a step
        if a is not None:
            if not isinstance(a, np.ndarray) or (dtype is not None and a.dtype != dtype):
                return False
            dtype = a.dtype
    return _mode == "compiled" and dtype in FLOATS


def scatter_add(target, index, values):
    """target[index] += values, in place, where a repeated index adds every time (plain `+=` keeps only the last)."""
    if type(target).__module__.partition(".")[0] == "cupy":
        import cupyx
        cupyx.scatter_add(target, index, values)
    else:
        get_array_module(target).add.at(target, index, values)
