"""A stand-in for CuPy on a machine without a GPU: an array that refuses every silent conversion to NumPy.

It works with its own operators, methods and module (`__array_namespace__`), and takes Python and NumPy scalars, as CuPy does. Mixing with
an np.ndarray raises TypeError, and so does handing it to a NumPy function. The explicit ways across are `xp.asarray(a)` and `a.get()`.
"""
import types

import numpy as np


class StrictArray:
    __array_ufunc__ = None                       # `numpy_thing + strict` comes to our reflected operator
    __hash__ = None

    def __init__(self, data):
        self._data = data

    def get(self):
        """The NumPy array inside: CuPy's name for the copy back to the host."""
        return self._data

    def __array_namespace__(self, api_version=None):
        return module

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a StrictArray to NumPy: an np. function got it, where xp. was meant")

    def __getitem__(self, index):
        return wrap(self._data[unwrap(index)])

    def __setitem__(self, index, value):
        self._data[unwrap(index)] = unwrap(value)

    def __iter__(self):
        return (wrap(item) for item in self._data)

    def __len__(self):
        return len(self._data)

    def __bool__(self):
        return bool(self._data)

    def __float__(self):
        return float(self._data)

    def __int__(self):
        return int(self._data)

    def __index__(self):
        return self._data.__index__()

    def __repr__(self):
        return f"StrictArray({self._data!r})"

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    nbytes = property(lambda self: self._data.nbytes)
    strides = property(lambda self: self._data.strides)
    flags = property(lambda self: self._data.flags)
    T = property(lambda self: wrap(self._data.T))


def _method(name):
    def method(self, *args, **kwargs):
        return wrap(getattr(self._data, name)(*unwrap(args), **unwrap(kwargs)))
    return method


def _in_place(name):
    def method(self, other):
        getattr(self._data, name)(unwrap(other))
        return self
    return method


_OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
for _name in ([f"__{o}__" for o in _OPERATORS] + [f"__r{o}__" for o in _OPERATORS] + "__eq__ __ne__ __lt__ __le__ __gt__ __ge__".split()
              + "__neg__ __pos__ __abs__ __invert__".split()
              + "all any argmax argmin argsort astype clip copy cumsum dot fill flatten item max mean min nonzero prod ravel repeat "
                "reshape round squeeze std sum swapaxes take tolist transpose var view".split()):
    setattr(StrictArray, _name, _method(_name))
for _name in (f"__i{o}__" for o in _OPERATORS):
    setattr(StrictArray, _name, _in_place(_name))


def wrap(value):
    """Arrays and NumPy scalars come out as StrictArrays (a sum is a 0-d array, as in CuPy); tuples and lists item by item."""
    if isinstance(value, (np.ndarray, np.generic)):
        return StrictArray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(wrap(v) for v in value)
    return value


def unwrap(value):
    """What NumPy is to compute with; an np.ndarray here is a silent mix of two libraries."""
    if isinstance(value, StrictArray):
        return value._data
    if isinstance(value, np.ndarray):
        raise TypeError(f"a NumPy array of shape {value.shape} mixed with StrictArrays; bring static tables across with xp.asarray")
    if isinstance(value, (tuple, list)):
        return type(value)(unwrap(v) for v in value)
    if isinstance(value, dict):
        return {key: unwrap(v) for key, v in value.items()}
    return value


class _Function:
    """One function of the module. `module.add.at(...)` and other attributes of ufuncs go the same way."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *args, **kwargs):
        return wrap(self._function(*unwrap(args), **unwrap(kwargs)))

    def __getattr__(self, name):
        return _Function(getattr(self._function, name))


class _Module:
    """numpy's functions for StrictArrays; scalar types and constants are numpy's own. What CuPy lacks is lacking here too."""

    absent_in_cupy = {"errstate", "nditer", "testing", "ma"}
    ndarray = StrictArray

    def __init__(self, numpy_module):
        self._module = numpy_module

    def __getattr__(self, name):
        if name in self.absent_in_cupy:
            raise AttributeError(f"cupy has no {name}")
        value = getattr(self._module, name)
        if isinstance(value, types.ModuleType):
            return _Module(value)
        return value if isinstance(value, type) or not callable(value) else _Function(value)

    def asarray(self, value, dtype=None):
        """The explicit way in: NumPy arrays, lists and scalars are welcome."""
        return StrictArray(np.array(value.get() if isinstance(value, StrictArray) else value, dtype=dtype))

    array = asarray


module = _Module(np)
