"""Finite differences: the slope that a function really has, beside the slope that somebody's backward claims.

A function with many outputs becomes a scalar by a fixed random upstream gradient: L(inputs) = <outputs, dout>. Its derivative along a
direction v is measured with two more forwards, (L(x + eps v) - L(x - eps v)) / (2 eps), and claimed by backward as <grad, v>.
One random v over *all* inputs tests the whole gradient at once: a wrong entry anywhere moves <grad, v>.

A corner of the function (a kink) within eps of x spoils such a difference. So a slope that disagrees is measured again with a shorter eps,
which steps over a corner that is merely near; what disagrees at every eps sits on the corner itself, or is wrong.
"""
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

UNIT = np.finfo(np.float64).eps
SHORTER = (1, 0.1, 0.01)             # the factors of eps that are tried, until one agrees
GROSS = 0.05                         # an error that no curvature explains: without a corner in sight a shorter eps would change nothing


@dataclass
class Problem:
    """A function of named float64 arrays, the gradient claimed for it, and the upstream gradient that makes it a scalar.

    evaluate({name: array}) -> outputs: an array, a scalar, or a tuple, list or dict of them. It must not write into the arrays.
    claim(dout, changed) -> {name: gradient}, the backward for another upstream gradient, at another point. others: the array inputs that
    have no gradient; kwargs: the settings, which evaluate takes as its second argument.
    """

    evaluate: Callable
    arrays: dict[str, np.ndarray]
    grads: dict[str, np.ndarray]
    dout: Any
    fixed: dict[str, np.ndarray] = field(default_factory=dict)   # True where an element must not move: an index in a floating array
    eps: float = 1e-5                # x + eps v: error eps**2 from the third derivative, 1e-16 / eps from rounding; both near 1e-10
    rtol: float = 1e-6
    claim: Callable | None = None
    others: dict[str, np.ndarray] = field(default_factory=dict)
    kwargs: dict = field(default_factory=dict)

    @cached_property
    def here(self):
        """The outputs at the point itself."""
        return self.evaluate({})


@dataclass
class Slope:
    """The derivative along one direction, measured and claimed.

    `left` and `right` are the one-sided slopes: they differ at a kink. `low` and `high`: what a backward may claim there that takes either
    side for each output by itself.
    """

    numeric: float
    analytic: float
    left: float
    right: float
    low: float
    high: float
    error: float                     # |numeric - analytic| / scale
    noise: float = 0.0               # what rounding alone can do to the numeric slope
    column: Any = field(default=None, repr=False)                # the slope of every single output, before dout makes one number of them

    def is_kink(self, rtol):
        """The one-sided slopes disagree and the claimed one lies between them: x sits on a corner, and backward is not to blame."""
        margin = 1e-3 * max(abs(self.low), abs(self.high))
        return self.has_corner(rtol) and self.low - margin <= self.analytic <= self.high + margin

    def has_corner(self, rtol):
        """The one-sided slopes of some output disagree by more than curvature and rounding explain."""
        margin = 1e-3 * max(abs(self.low), abs(self.high))
        return self.high - self.low > max(margin, 10 * rtol * abs(self.numeric), 100 * self.noise)


def slope(problem, direction, scale=0.0):
    """Slope of the problem along {name: v}; names that are absent do not move. Measured again with a shorter eps if it disagrees."""
    for factor in SHORTER:
        found = slope_at(problem, direction, factor * problem.eps, scale)
        if found.error <= problem.rtol or (found.error > GROSS and not found.has_corner(problem.rtol)):
            break
    return found


def slope_at(problem, direction, eps, scale=0.0):
    """Slope with this one eps.

    The error is relative to the largest of both slopes, `scale`, and the size that a random sum of these gradients has, so that terms which
    happen to cancel do not look like an error. Below what rounding alone can cause (`noise`) nothing counts.
    """
    p = problem
    ahead, behind = both_sides(p, direction, eps)
    terms = [p.grads[name] * v for name, v in direction.items()]
    rights, lefts = products(ahead, p.dout, p.here) / eps, products(p.here, p.dout, behind) / eps
    column = (as_vector(ahead) - as_vector(behind)) / (2 * eps)
    numeric = float(column @ as_vector(p.dout))
    analytic = float(sum(t.sum() for t in terms))
    noise = 4 * UNIT * norm(p.here, p.dout) / eps
    scale = max(abs(numeric), abs(analytic), scale, float(np.sqrt(sum((t * t).sum() for t in terms))), noise / p.rtol, 1e-300)
    return Slope(numeric, analytic, float(lefts.sum()), float(rights.sum()), float(np.minimum(lefts, rights).sum()),
                 float(np.maximum(lefts, rights).sum()), abs(numeric - analytic) / scale, noise, column)


def both_sides(p, direction, eps):
    """The outputs a step ahead and a step behind."""
    return (p.evaluate({name: p.arrays[name] + eps * v for name, v in direction.items()}),
            p.evaluate({name: p.arrays[name] - eps * v for name, v in direction.items()}))


def along_random(problem, names, rng):
    """(slope, direction) along one standard normal direction over these arrays together."""
    direction = {name: np.where(problem.fixed.get(name, False), 0.0, rng.standard_normal(problem.arrays[name].shape)) for name in names}
    return slope(problem, direction), direction


def elements(problem, name, indices):
    """[(index, slope)] for these elements of one array: two forwards each."""
    scale = rms(problem.grads[name])                                 # an element of slope 0 is compared with its neighbours' size
    return [(index, slope(problem, {name: one_hot(problem.arrays[name].shape, index)}, scale)) for index in indices]


def movable(problem, name):
    """The indices of one array's elements that may move, in order."""
    held = problem.fixed.get(name)
    return [index for index in np.ndindex(problem.arrays[name].shape) if held is None or not held[index]]


def worst_element(problem, name, direction):
    """(index, slope) of a wrong element of a big array: halve the failing direction, keep the half further off, until one is left."""
    shape = problem.arrays[name].shape
    flat, keep = direction.ravel(), np.flatnonzero(direction)
    while len(keep) > 1:
        halves = np.array_split(keep, 2)
        slopes = [slope_at(problem, {name: _only(flat, half).reshape(shape)}, problem.eps) for half in halves]
        keep = halves[int(np.argmax([abs(s.numeric - s.analytic) for s in slopes]))]
    index = tuple(int(i) for i in np.unravel_index(keep[0], shape))
    return index, slope(problem, {name: one_hot(shape, index)}, rms(problem.grads[name]))


def _only(flat, index):
    kept = np.zeros_like(flat)
    kept[index] = flat[index]
    return kept


def one_hot(shape, index):
    """All zeros but a 1 at index."""
    v = np.zeros(shape)
    v[index] = 1.0
    return v


def rms(a):
    """Root of the mean square, 0 of nothing."""
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


def like(out, make):
    """The structure of `out` with make(leaf) in place of each floating leaf, and None where there can be no gradient."""
    if isinstance(out, dict):
        return {key: like(value, make) for key, value in out.items()}
    if isinstance(out, (tuple, list)):
        return type(out)(*(like(v, make) for v in out)) if hasattr(out, "_fields") else type(out)(like(v, make) for v in out)
    return make(out) if _is_floating(out) else None


def random_like(out, rng):
    """A random upstream gradient: the same structure, shapes and dtypes, standard normal; None where there can be no gradient."""
    def draw(leaf):
        values = rng.standard_normal(np.shape(leaf))
        return values.astype(leaf.dtype) if np.ndim(leaf) else np.asarray(leaf).dtype.type(values)
    return like(out, draw)


def as_vector(out):
    """All floating leaves, one after the other, as one float64 vector."""
    flat = [np.asarray(leaf, dtype=np.float64).ravel() for _, leaf in leaves(out)]
    return np.concatenate(flat) if flat else np.zeros(0)


def from_vector(vector, out):
    """The inverse of as_vector: a structure like `out` with the numbers of the vector."""
    position = 0

    def take(leaf):
        nonlocal position
        part = vector[position:position + np.size(leaf)]
        position += np.size(leaf)
        return part[0] if np.ndim(leaf) == 0 else part.reshape(np.shape(leaf)).copy()
    return like(out, take)


def products(out, dout, minus):
    """(out - minus) * dout of every output number. The difference is taken first: it is small, and the products would drown it."""
    return (as_vector(out) - as_vector(minus)) * as_vector(dout)


def inner(out, dout):
    """<out, dout> over all leaves, a float."""
    return float(as_vector(out) @ as_vector(dout))


def norm(out, dout):
    """Size of the terms of <out, dout>, in the 2-norm: what rounding errors are proportional to."""
    return float(np.linalg.norm(as_vector(out) * as_vector(dout)))


def _is_floating(leaf):
    return isinstance(leaf, float) or (hasattr(leaf, "dtype") and leaf.dtype.kind == "f")
