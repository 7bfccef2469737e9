"""Is one result the same as another? Structure first, then the kind of numbers, then the values, with evidence about what differs."""
from dataclasses import dataclass

import numpy as np

from numpyvision import check
from numpyvision.check import patterns


@dataclass
class Fault:
    """The first thing that is wrong: its code, what to say about it, and the table of the check that found it."""

    code: str
    message: str
    table: str = ""


def differs(name, got, expected):
    """The first Fault of `got`: structure, kind of numbers, then values, by evidence."""
    pairs = leaves(name, got), leaves(name, expected)
    if len(pairs[0]) != len(pairs[1]) or [l for l, _ in pairs[0]] != [l for l, _ in pairs[1]]:
        return Fault("wrong-shape", f"{name} must be {kind_of(expected)}, got {kind_of(got)}")
    for (label, a), (_, b) in zip(*pairs, strict=True):
        fault = _leaf_differs(label, a, b)
        if fault is not None:
            return fault
    return None


def _leaf_differs(label, a, b):
    if b is None or a is None or isinstance(b, str):
        same = a is b or isinstance(a, str) and a == b
        return None if same else Fault("wrong-shape", f"{label} must be {kind_of(b)}, got {kind_of(a)}")
    if np.ndim(b) and not isinstance(a, np.ndarray):
        return Fault("wrong-shape", f"{label} must be {kind_of(b)}, got {kind_of(a)}")
    a, b = np.asarray(a), np.asarray(b)
    if a.shape == b.shape and {a.dtype.kind, b.dtype.kind} <= set("iu"):
        a = a.astype(b.dtype)
    if b.ndim and a.shape == b.shape and a.dtype != b.dtype:
        return Fault("wrong-dtype", f"{label} must hold {b.dtype}, got {a.dtype}")
    if a.shape == b.shape and _equal(a, b):
        return None
    if a.shape != b.shape:
        return Fault("wrong-shape", f"{label} must be {kind_of(b)}, got {kind_of(a)}")
    problem = check.compare(label, a, b)
    return Fault(*problem) if problem else None


def _equal(a, b):
    """To rounding where b is floating, else to the bit."""
    return not patterns.differing(a, b).any() if b.dtype.kind == "f" else np.array_equal(a, b)


def leaves(name, value):
    """[(label, value)] of nested tuples, lists and dicts. A sparse matrix counts as the dense one."""
    if isinstance(value, dict):
        return [leaf for key, v in value.items() for leaf in leaves(f"{name}.{key}", v)]
    if isinstance(value, (tuple, list)):
        return [leaf for i, v in enumerate(value) for leaf in leaves(f"{name}[{i}]", v)]
    return [(name, value.toarray() if hasattr(value, "toarray") else value)]


def identical(a, b):
    a, b = leaves("", a), leaves("", b)
    return len(a) == len(b) and all(
        np.array_equal(x, y, equal_nan=np.asarray(x).dtype.kind == "f") if isinstance(x, (np.ndarray, np.generic, float, int)) else True
        for (_, x), (_, y) in zip(a, b, strict=True))


def same_form(a, b):
    a, b = leaves("", a), leaves("", b)
    return len(a) == len(b) and all(np.shape(x) == np.shape(y) for (_, x), (_, y) in zip(a, b, strict=True))


def kind_of(value):
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"one {type(value).__name__}"
