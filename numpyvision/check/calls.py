"""Calling somebody's forward and backward so that no call can disturb the next, and no exception of theirs gets out.

Whatever goes wrong in there becomes `Stopped(code, message)`: the code is one of DIAGNOSES, the message says where in their file.
"""
import copy
import inspect
import linecache
import traceback

import numpy as np

from numpyvision.cache import leaves

HERE = __file__


class Stopped(Exception):
    """A call that did not end as it should: `code` and `message` for the report."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def guarded(who, function, *args, **kwargs):
    """function(*args, **kwargs), whose exceptions become Stopped. Only an interrupt passes."""
    try:
        return function(*args, **kwargs)
    except (Stopped, KeyboardInterrupt):
        raise
    except NotImplementedError as error:
        text = f": {error}" if str(error) else ""
        raise Stopped("not-implemented", f"{who} is still to be written: it raises NotImplementedError{text}.") from error
    except BaseException as error:                                   # SystemExit too: a stray exit() must not end the checker
        raise Stopped("raises", f"{who} stops with {type(error).__name__}: {_short(error)}{_where(error)}.") from error


def _short(error):
    text = str(error).strip().split("\n")[0].rstrip(".")
    return text if len(text) <= 300 else text[:297] + "..."


def _where(error):
    """", in line 12 of conv.py: `dx = dout @ w`": the innermost line that is neither NumPy's nor this file's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != HERE and "site-packages" not in f.filename]
    if not frames:
        return ""
    last = frames[-1]
    text = (last.line or linecache.getline(last.filename, last.lineno)).strip()
    code = f": `{text}`" if text else ""
    return f", in line {last.lineno} of {last.filename.rsplit('/', 1)[-1]} ({last.name}){code}"


class Pair:
    """A student's forward and backward with their arguments: every call gets fresh copies, and a generator in its first state."""

    def __init__(self, forward, backward, args, kwargs):
        self.forward, self.backward, self.args, self.kwargs = forward, backward, args, kwargs
        self.names = argument_names(forward, len(args))

    def settings(self):
        """All static arguments, those that were left at their defaults too."""
        try:
            parameters = list(inspect.signature(self.forward).parameters.values())[len(self.args):]
        except (TypeError, ValueError):
            parameters = []
        return {**{p.name: p.default for p in parameters if p.default is not p.empty}, **self.kwargs}

    def run(self, changed=None, kwargs=None):
        """out, cache of forward, with the arrays {position: array} replaced."""
        values = [(changed or {}).get(i, a) for i, a in enumerate(self.args)]
        return self.run_on([copy.deepcopy(a) for a in values], kwargs)

    def run_on(self, values, kwargs=None):
        """out, cache of forward on these very values."""
        result = guarded("forward", self.forward, *values, **copy.deepcopy(self.kwargs if kwargs is None else kwargs))
        if result is None:
            raise Stopped("not-implemented", "forward returns None: it must return (out, cache).")
        if not (isinstance(result, tuple) and len(result) == 2):
            raise Stopped("wrong-shape", f"forward must return two things, `return out, cache`; got {_kind(result)}.")
        return result

    def claim(self, dout, cache):
        """The gradients by position, of backward(dout, cache), which must be as many as there are inputs or (in the end None) fewer."""
        grads = guarded("backward", self.backward, dout, cache)
        if grads is None:
            raise Stopped("not-implemented", "backward returns None: it must return one gradient for each array input.")
        grads = list(grads) if isinstance(grads, (tuple, list)) else [grads]
        extra = [g for g in grads[len(self.args):] if g is not None]
        if extra:
            raise Stopped("wrong-shape", f"backward returns {len(grads)} gradients for {len(self.args)} array inputs "
                          f"({', '.join(self.names)}); it owes one for each, in this order.")
        return grads[:len(self.args)] + [None] * (len(self.args) - len(grads))


def arrays_of(tree):
    """[(name, array)] of everything in a cache that is an array, whatever the cache is made of."""
    if isinstance(tree, np.ndarray):
        return [("array", tree)]
    try:
        return [(n, a) for n, a in leaves(tree) if isinstance(a, np.ndarray)]
    except (TypeError, AttributeError):                              # an object of the student's own: not looked into
        return []


def copies(named):
    """The same list with copies."""
    return [(n, a.copy()) for n, a in named]


def equal(a, b):
    """Same shape and bits, NaN equal to NaN."""
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def argument_names(forward, count):
    """Names of forward's first `count` parameters; positions where they cannot be read."""
    try:
        names = [p.name for p in inspect.signature(forward).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        names = []
    return (names + [f"argument {i}" for i in range(len(names), count)])[:count]


def operation_name(forward):
    """`conv2d` for conv2d_forward."""
    return getattr(forward, "__name__", type(forward).__name__).removesuffix("_forward")


def pure_call(forward, args, kwargs):
    """call({position: array}) -> forward's result with those arguments replaced; fresh copies each time."""
    def call(changed):
        values = [changed.get(i, a) for i, a in enumerate(args)]
        return forward(*(a.copy() if isinstance(a, np.ndarray) else a for a in values), **copy.deepcopy(kwargs))
    return call


def is_floating(a):
    """A floating array."""
    return hasattr(a, "dtype") and a.dtype.kind == "f"


def as_dtype(a, dtype):
    """Floating arrays as copies of this dtype, everything else unchanged."""
    return np.array(a, dtype=dtype) if is_floating(a) else a


def _kind(result):
    return f"{len(result)} things" if isinstance(result, (tuple, list)) else f"{type(result).__name__}"
