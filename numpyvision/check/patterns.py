"""How is one array wrong beside another? Sign, factor, flip, transposition, shift, border, one image, one channel.

The gradient's rules use these on (claimed, measured) gradients, measured being NaN where it was not; `compare` uses them on a
student's array and the right one: for a forward, for functions without a gradient, for the first tensor of a model that differs.
"""
import itertools
import math
from fractions import Fraction

import numpy as np

SAME = 1e-9            # of the largest value: two float64 derivations of one formula agree far better, a mistake does not


def compare(name, got, expected, axes=None, tolerance=SAME):
    """What is wrong with an array -> (code, message), or None if it equals `expected` to rounding.

    got, expected: arrays or scalars, of any dtype. axes: names of the axes for the message, ("image", "channel", "row", "column") for 4.
    The code is one of DIAGNOSES; "wrong-forward" where no pattern fits.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        hint = f" ({got.size} values where {expected.size} are due)" if got.size != expected.size else ", with the right number of values"
        return "wrong-shape", f"{name} must have shape {expected.shape}, got {got.shape}{hint}."
    if got.dtype.kind != expected.dtype.kind and not (got.dtype.kind in "iu" and expected.dtype.kind in "iu"):
        return "wrong-dtype", f"{name} must be {expected.dtype}, got {got.dtype}."
    if expected.dtype.kind not in "fiub":
        return None if np.array_equal(got, expected) else ("wrong-forward", f"{name} differs.")
    a, b = got.astype(np.float64), expected.astype(np.float64)
    narrow = np.float32 in (got.dtype, expected.dtype)
    wrong = differing(a, b, max(tolerance, 2e-5 if narrow else 0))
    if not wrong.any():
        return None
    axes = axes or axis_names(b.ndim)
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"{name}{list(first) if first else ''} is {_value(got[first])}, expected {_value(expected[first])}; " \
            f"{int(wrong.sum())} of {wrong.size} values differ."
    if not np.isfinite(a[wrong]).all() and np.isfinite(b[wrong]).all():
        return "not-finite", where
    code, text = evidence(a, b, wrong, axes, name)
    return code, f"{where} {text}".strip()


def evidence(a, b, wrong, axes, name):
    """(code, sentence) for a != b."""
    if not a.any():
        return "zero-gradient" if name.startswith("d") else "wrong-forward", "All of it is zero."
    if b.size == 1:
        return "wrong-forward", ""
    found = factor(a, b) or rearranged(a, b, axes) or images_exchanged(a, b, axes)
    if found:
        return found
    slices = wrong_slices(wrong, axes)
    some = np.where(wrong, 1.0, np.nan)
    part = factor(a * some, b * some) if wrong.sum() > 1 else None
    if part:
        return part[0], f"{part[1]} {slices[1]}".strip()
    offset = (a - b)[wrong]
    if wrong.sum() > 1 and np.ptp(offset) <= 1e-6 * abs(offset).max():
        return slices[0] or "wrong-forward", f"All of them are off by the same {offset[0]:+.6g}. {slices[1]}".strip()
    if not slices[0] and (each := _each_along_an_axis(a, b, axes)):
        return each
    return slices[0] or "wrong-forward", slices[1]


def _each_along_an_axis(a, b, axes):
    """An offset or a factor that is one number for each channel (image, column), such as a bias or a scale."""
    for axis in range(a.ndim):
        rest = tuple(i for i in range(a.ndim) if i != axis)
        if a.shape[axis] < 2 or a.size // a.shape[axis] < 2:
            continue
        offset = a - b
        if (np.ptp(offset, axis=rest) <= 1e-6 * abs(offset).max()).all():
            return "wrong-forward", f"They are off by one number for each {axes[axis]}: {_short(offset.mean(axis=rest))}."
        scale = (a * b).sum(axis=rest, keepdims=True) / np.maximum((b * b).sum(axis=rest, keepdims=True), 1e-300)
        if (abs(a - scale * b) <= 1e-6 * abs(a).max()).all():
            return "constant-factor", f"They are right but for one factor for each {axes[axis]}: {_short(scale.ravel())}."
    return None


def _short(values):
    return ", ".join(f"{v:.4g}" for v in values[:4]) + (", ..." if len(values) > 4 else "")


def differing(a, b, tolerance=SAME):
    """Mask of where a is not b, to `tolerance` times b's largest finite value."""
    finite = abs(b[np.isfinite(b)])
    scale = finite.max() if finite.size else 0.0
    with np.errstate(invalid="ignore"):
        near = abs(a - b) <= tolerance * scale
    return ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))


def close(a, b, tolerance=1e-5):
    """Whether a is b wherever both are known, at two elements or more, among them one that is not zero."""
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    scale = abs(b).max() if b.size > 1 else 0.0
    return scale > 0 and bool((abs(a - b) <= tolerance * scale).all())


# ---- one factor

def factor(a, b, shapes=None):
    """a = c b with one number c -> ("sign" or "constant-factor", sentence)."""
    known = np.isfinite(a) & np.isfinite(b)
    size = (b[known] ** 2).sum()
    if known.sum() < 1 or size == 0:
        return None
    c = float((a[known] * b[known]).sum() / size)
    if abs(c) < 1e-6 or abs(c - 1) < 1e-6 or (abs(a[known] - c * b[known]) > 1e-5 * abs(c) * abs(b[known]).max()).any():
        return None
    if abs(c + 1) < 1e-5:
        return "sign", "Each of them has the right size and the wrong sign."
    return "constant-factor", f"Each of them is {number(c)} times what it should be{factor_source(c, shapes or {})}."


def number(c):
    """A factor to be read: "1/9 (0.111111)" or "0.731"."""
    p = Fraction(c).limit_denominator(1000)
    if c and abs(float(p) - c) < 1e-6 * abs(c) and (p.numerator == 1 or p.denominator <= 12):
        return str(p) if p.denominator == 1 else f"{p} ({c:.4g})"
    return f"{c:.6g}"


def factor_source(c, shapes):
    """Which sizes or settings make this factor: shapes {"N": 2, ...} -> ", and 6 is H*W of x"."""
    value = c if abs(c) >= 1 else 1 / c
    named = {k: float(v) for k, v in shapes.items() if v and abs(v) != 1}
    for count in (1, 2, 3):
        for names in itertools.combinations(named, count):
            product = math.prod(named[n] for n in names)
            for p, shown in ((product, " * ".join(names)), (1 / product, f"1 / ({' * '.join(names)})")):
                if abs(p - value) < 1e-6 * abs(value):
                    return f"; {number(value)} is {shown}"
    return ""


# ---- the right numbers at the wrong places

def axis_names(ndim):
    """What an axis is usually called."""
    return {1: ("element",), 2: ("row", "column"), 3: ("image", "channel", "position"), 4: ("image", "channel", "row", "column")}.get(
        ndim, tuple(f"axis {i}" for i in range(ndim)))


def rearranged(a, b, axes):
    """a holds b's numbers elsewhere: (code, sentence), or None."""
    for code, text, moved in rearrangements(b, axes):
        if moved.shape == a.shape and close(a, moved) and not close(b, moved):
            return code, text
    return None


def rearrangements(b, axes):
    """Every (code, sentence, array) of a flip, a transposition, a forgotten transpose before a reshape, a shift of b."""
    long = [i for i in range(b.ndim) if b.shape[i] > 1]
    for count in range(1, len(long) + 1):
        for turned in itertools.combinations(long, count):
            names = " and ".join(axes[i] for i in turned)
            code = "batch-leak" if turned == (0,) and axes[0] == "image" else "flipped-kernel"
            yield code, f"They are the right numbers in reverse order along the {names} axis.", np.flip(b, turned)
    for order in itertools.permutations(range(b.ndim)) if b.ndim <= 5 else ():
        if order == tuple(range(b.ndim)):
            continue
        shown = f"{order}"
        if tuple(b.shape[i] for i in order) == b.shape:
            yield "transposed-axes", f"They are the right numbers with axes exchanged: the result of transpose{shown}.", b.transpose(order)
        else:
            yield ("transposed-axes", f"They are the right numbers in another order: transpose{shown}, then reshaped to {b.shape}.",
                   b.transpose(order).reshape(b.shape))
            shape = [b.shape[i] for i in order]
            yield ("transposed-axes", f"They are the right numbers read in another order: reshape{tuple(shape)} before a transpose.",
                   b.reshape(shape).transpose(np.argsort(order)))
    for text, moved in shifts(b, axes):
        yield "shifted", text, moved


def shifts(b, axes):
    """(sentence, b moved), NaN where nothing is known: by 1 or 2 along one axis, or by 1 or 2 along the two last, or in reading order."""
    first = 2 if b.ndim > 2 else 0                                   # images and channels have no order to be shifted in
    groups = [(i,) for i in range(first, b.ndim)] + ([(b.ndim - 2, b.ndim - 1)] if b.ndim > 3 else [])
    for group in groups:
        for steps in itertools.product((1, -1, 2, -2), repeat=len(group)):
            if any(abs(s) >= b.shape[i] for s, i in zip(steps, group, strict=True)):
                continue
            moved, known = np.roll(b, steps, group), np.ones(b.shape, bool)
            for s, i in zip(steps, group, strict=True):
                edge = [slice(None)] * b.ndim
                edge[i] = slice(0, s) if s > 0 else slice(s, None)
                known[tuple(edge)] = False
            way = " and ".join(f"{s:+d} along the {axes[i]} axis" for s, i in zip(steps, group, strict=True))
            yield f"They are the right numbers, moved by {way}.", np.where(known, moved, np.nan)
    if b.ndim >= 2:
        planes = b.reshape(*b.shape[:-2], -1)
        for s in (1, -1):
            if planes.shape[-1] > 2:
                moved = np.roll(planes, s, -1)
                moved[..., 0 if s > 0 else -1] = np.nan
                yield f"They are the right numbers, moved by {s:+d} in reading order of a plane.", moved.reshape(b.shape)


def images_exchanged(a, b, axes):
    """Every slice along the first axis of a is some other slice of b: one image's numbers stand in another's place."""
    if axes[0] not in ("image", "row") or len(b) < 2 or b.ndim < 2:
        return None
    source = [next((j for j in range(len(b)) if close(a[i], b[j])), None) for i in range(len(b))]
    if None in source or source == list(range(len(b))):
        return None
    i = next(i for i, j in enumerate(source) if i != j)
    return "batch-leak", f"What stands at {axes[0]} {i} belongs to {axes[0]} {source[i]}."


# ---- which elements

def wrong_slices(wrong, axes):
    """(code or None, sentence): the wrong elements lie on a border, in one image, in one channel, in some columns alone."""
    edges = border(wrong, axes)
    if edges:
        return "border", edges
    for axis in range(wrong.ndim):
        hit = np.flatnonzero(wrong.any(axis=tuple(i for i in range(wrong.ndim) if i != axis)))
        if 0 < len(hit) < wrong.shape[axis] and (len(hit) == 1 or wrong.shape[axis] <= 8):
            shown = ", ".join(map(str, hit))
            return None, f"Only {axes[axis]} {shown} of {wrong.shape[axis]} {'is' if len(hit) == 1 else 'are'} wrong."
    return None, ""


def border(wrong, axes):
    """A sentence if all wrong elements lie on the outermost lines of the spatial axes, and some elements lie inside; else ""."""
    spatial = [i for i in range(2 if wrong.ndim > 2 else 0, wrong.ndim) if wrong.shape[i] > 2]
    if not spatial or not wrong.any() or wrong.ndim < 3:
        return ""
    sides = []
    left = wrong.copy()
    for i in spatial:
        for end, at in (("first", 0), ("last", wrong.shape[i] - 1)):
            line = [slice(None)] * wrong.ndim
            line[i] = at
            if left[tuple(line)].any():
                sides.append(f"{end} {axes[i]}")
                left[tuple(line)] = False
    plane = wrong.any(axis=tuple(i for i in range(wrong.ndim) if i not in spatial))
    if left.any() or not 0 < len(sides) <= 4 or plane.sum() < 2:
        return ""
    return f"Only the border is wrong, the {', '.join(sides)}; inside all is right."


def _value(v):
    return f"{v:.9g}" if np.asarray(v).dtype.kind == "f" else str(v)
