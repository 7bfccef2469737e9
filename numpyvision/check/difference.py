"""Finite differences: the slope that a function really has, beside the slope that somebody's backward claims.

A function with many outputs becomes a scalar by a fixed random upstream gradient: L(inputs) = <outputs, dout>. Its derivative along a
direction v is measured with two more forwards, (L(x + eps v) - L(x - eps v)) / (2 eps), and claimed by backward as <grad, v>.
One random v over *all* inputs tests the whole gradient at once: a wrong entry anywhere moves <grad, v>.
"""
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

UNIT = np.finfo(np.float64).eps


@dataclass
class Problem:
    """A function of named float64 arrays, the gradient claimed for it, and the upstream gradient that makes it a scalar.

    evaluate({name: array}) -> outputs: an array, a scalar, or a tuple, list or dict of them. It must not write into the arrays.
    """

    evaluate: Callable
    arrays: dict[str, np.ndarray]
    grads: dict[str, np.ndarray]
    dout: Any
    fixed: dict[str, np.ndarray] = field(default_factory=dict)   # True where an element must not move: an index in a floating array
    eps: float = 1e-5                # x + eps v: error eps**2 from the third derivative, 1e-16 / eps from rounding; both near 1e-10
    rtol: float = 1e-6

    @cached_property
    def here(self):
        """The outputs at the point itself."""
        return self.evaluate({})


@dataclass
class Slope:
    """The derivative along one direction, measured and claimed. `left` and `right` are the one-sided slopes: they differ at a kink."""

    numeric: float
    analytic: float
    left: float
    right: float
    error: float                     # |numeric - analytic| / scale

    def is_kink(self, rtol):
        """The one-sided slopes disagree and the claimed one lies between them: x sits on a corner, and backward is not to blame."""
        low, high = sorted((self.left, self.right))
        margin = 1e-3 * max(abs(low), abs(high))
        return high - low > max(margin, 10 * rtol * abs(self.numeric)) and low - margin <= self.analytic <= high + margin


def slope(problem, direction, scale=0.0):
    """Slope of the problem along {name: v}; names that are absent do not move.

    The error is relative to the largest of both slopes, `scale`, and the size that a random sum of these gradients has, so that terms which
    happen to cancel do not look like an error. Below what rounding alone can cause (`noise`) nothing counts.
    """
    p = problem
    ahead = p.evaluate({name: p.arrays[name] + p.eps * v for name, v in direction.items()})
    behind = p.evaluate({name: p.arrays[name] - p.eps * v for name, v in direction.items()})
    right, left = inner(ahead, p.dout, minus=p.here) / p.eps, inner(p.here, p.dout, minus=behind) / p.eps
    numeric = inner(ahead, p.dout, minus=behind) / (2 * p.eps)
    terms = [p.grads[name] * v for name, v in direction.items()]
    analytic = float(sum(t.sum() for t in terms))
    noise = 4 * UNIT * norm(p.here, p.dout) / p.eps
    scale = max(abs(numeric), abs(analytic), scale, float(np.sqrt(sum((t * t).sum() for t in terms))), noise / p.rtol, 1e-300)
    return Slope(numeric, analytic, left, right, abs(numeric - analytic) / scale)


def along_random(problem, names, rng):
    """(slope, direction) along one standard normal direction over these arrays together."""
    direction = {name: np.where(problem.fixed.get(name, False), 0.0, rng.standard_normal(problem.arrays[name].shape)) for name in names}
    return slope(problem, direction), direction


def every_element(problem, name):
    """[(index, slope)] for each element of one array, in order: 2 forwards an element, so only for small ones."""
    scale = _rms(problem.grads[name])                                # an element of slope 0 is compared with its neighbours' size
    return [(index, slope(problem, {name: _one_hot(problem.arrays[name].shape, index)}, scale))
            for index in np.ndindex(problem.arrays[name].shape) if name not in problem.fixed or not problem.fixed[name][index]]


def worst_element(problem, name, direction):
    """(index, slope) of a wrong element of a big array: halve the failing direction, keep the half further off, until one is left."""
    shape = problem.arrays[name].shape
    flat, keep = direction.ravel(), np.flatnonzero(direction)
    while len(keep) > 1:
        halves = np.array_split(keep, 2)
        slopes = [slope(problem, {name: _only(flat, half).reshape(shape)}) for half in halves]
        keep = halves[int(np.argmax([abs(s.numeric - s.analytic) for s in slopes]))]
    index = tuple(int(i) for i in np.unravel_index(keep[0], shape))
    return index, slope(problem, {name: _one_hot(shape, index)}, _rms(problem.grads[name]))


def _only(flat, index):
    kept = np.zeros_like(flat)
    kept[index] = flat[index]
    return kept


def _one_hot(shape, index):
    v = np.zeros(shape)
    v[index] = 1.0
    return v


def _rms(a):
    return float(np.sqrt(np.mean(a * a))) if a.size else 0.0


# ---- outputs: an array, a scalar, or a tuple, list or dict of them

def leaves(out):
    """[(dotted name, array or scalar)] of an output; None and integer leaves (indices) are skipped: they have no gradient."""
    if isinstance(out, dict):
        items = out.items()
    elif isinstance(out, (tuple, list)):
        items = enumerate(out)
    else:
        return [("", out)] if _is_floating(out) else []
    return [(f"{key}.{name}" if name else str(key), leaf) for key, value in items for name, leaf in leaves(value)]


def random_like(out, rng):
    """A random upstream gradient: the same structure, shapes and dtypes, standard normal; None where there can be no gradient."""
    if isinstance(out, dict):
        return {key: random_like(value, rng) for key, value in out.items()}
    if isinstance(out, (tuple, list)):
        return type(out)(random_like(value, rng) for value in out)
    if not _is_floating(out):
        return None
    if np.ndim(out) == 0:
        return float(rng.standard_normal())
    return rng.standard_normal(out.shape).astype(out.dtype)


def inner(out, dout, minus=None):
    """<out - minus, dout> over all leaves, a float. The difference is taken first: it is small, and the products would drown it."""
    before = leaves(minus) if minus is not None else [("", 0.0)] * len(leaves(out))
    return float(sum(np.sum((a - b) * d) for (_, a), (_, b), (_, d) in zip(leaves(out), before, leaves(dout), strict=True)))


def norm(out, dout):
    """Size of the terms of <out, dout>, in the 2-norm: what rounding errors are proportional to."""
    return float(np.sqrt(sum(np.sum((a * d) ** 2) for (_, a), (_, d) in zip(leaves(out), leaves(dout), strict=True))))


def _is_floating(leaf):
    return isinstance(leaf, float) or (hasattr(leaf, "dtype") and leaf.dtype.kind == "f")
