"""The rules of the diagnosis in their order, and those that look at a gradient as a whole. A rule: Evidence -> (code, sentence) or None.

The surest come first: what they say is exactly true of every number that was looked at. The last ones say what is most like it.
"""
import numpy as np

from numpyvision.check import diagnosis_entries as entries
from numpyvision.check import diagnosis_moves as moves
from numpyvision.check import diagnosis_paths as paths
from numpyvision.check import diagnosis_routes as routes
from numpyvision.check import difference, patterns
from numpyvision.check.report import UNKNOWN


def ignores_dout(e):
    """Backward is linear in dout. Does it scale, does it add up, does it depend on dout at all?"""
    p, name = e.problem, e.name
    d1 = difference.as_vector(p.dout)
    d2 = e.looked.rng.standard_normal(len(d1))
    g1, g2, both, double = (np.asarray(p.claim(difference.from_vector(d, p.here))[name]) for d in (d1, d2, d1 + d2, 2 * d1))
    size = max(abs(g1).max(initial=0.0), abs(g2).max(initial=0.0))
    if size == 0 or not np.isfinite(size):
        return None
    if abs(g1 - g2).max() <= 1e-9 * size:
        return "ignores-dout", "Two different dout give the same gradient."
    if abs(both - g1 - g2).max() <= 1e-7 * size and abs(double - 2 * g1).max() <= 1e-7 * size:
        return None
    if abs(double - 2 * g1).max() <= 1e-7 * size:
        return "wrong-routing", ("It scales with dout, and yet the gradients of two dout do not add up to that of their sum: "
                                 "a mask is made from dout instead of from forward's numbers.")
    i = np.unravel_index(int(np.argmax(abs(double - 2 * g1))), g1.shape)
    return "ignores-dout", (f"It is not proportional to dout: when dout doubles, the {g1[i]:.6g} at {name}{[int(k) for k in i]} "
                            f"becomes {double[i]:.6g}.")


def zero(e):
    """Nothing at all is returned."""
    if not e.g.any() and not e.B.any():
        return "zero-gradient", f"All {e.g.size} numbers of it are zero, and {int(e.wrong.sum())} of them should not be."
    return None


def one_factor(e):
    """B = c A with one number c."""
    if e.B.size and (found := patterns.factor(e.B, e.A, e_sizes(e))):
        code, sentence = found
        return code, sentence.replace("Each of them is", f"Each of its {e.g.size} numbers is").replace(
            "Each of them has", f"Each of its {e.g.size} numbers has")
    return None


def swapped(e):
    """It is right, of another input of the same shape."""
    for other, array in e.problem.arrays.items():
        if other != e.name and array.shape == e.shape and not np.array_equal(e.problem.grads[other], e.g):
            theirs = e.looked.of(other)
            if patterns.close(e.g, theirs.numeric_array()) and not patterns.close(e.problem.grads[other], theirs.numeric_array()):
                return "swapped-gradients", f"It is the right gradient of {other}: finite differences of {other} give these numbers."
    return None


def another_input(e):
    """It is right, of another input whose own gradient is right as well: one gradient is returned twice."""
    for other, array in e.problem.arrays.items():
        if other != e.name and array.shape == e.shape and patterns.close(e.g, e.looked.of(other).numeric_array()):
            return "swapped-gradients", f"It is the gradient of {other}, returned in the place of {e.name} as well."
    return None


def e_sizes(e):
    """{what: number} of everything that a factor may be made of: the sizes of the arrays, and the settings."""
    sizes = {}
    for key, value in e.problem.kwargs.items():
        for i, v in enumerate(value if isinstance(value, (tuple, list)) else (value,)):
            if isinstance(v, (int, float)) and not isinstance(v, bool):
                sizes[f"{key}[{i}]" if isinstance(value, (tuple, list)) else key] = v
    first = next(iter(e.problem.arrays))
    for name, shape in ((e.name, e.shape), (first, e.problem.arrays[first].shape), ("out", e.out_shape)):
        for i, n in enumerate(shape):
            if n not in sizes.values():
                sizes[f"{name}.shape[{i}]"] = n
    return sizes


# rank, from the surest to the vaguest
RULES = (
    ignores_dout, zero, one_factor, swapped,
    routes.gradient_to_other_images, moves.columns_exchanged, moves.moved, moves.other_inputs, moves.other_settings,
    entries.one_use_of_many, entries.border, entries.fewer_contributions, entries.one_ratio, entries.factor_each,
    paths.of_a_box, routes.redistributed, routes.sent_elsewhere, paths.another_column_added,
    paths.of_a_loss, moves.depends_on_other_images, paths.slope_of_a_loss, another_input,
    paths.one_path, paths.nearest,
)


def explain(e):
    """(rank, code, sentence) of the first rule that fits."""
    for rank, rule in enumerate(RULES):
        if rank == 1 and not (np.isfinite(e.B).all() and e.wrong.any()):       # each single slope is right, or cannot be read
            break
        found = rule(e)
        if found is not None:
            return rank, found[0], found[1]
    if not e.complete:
        return len(RULES), UNKNOWN, (f"Only {len(e.slopes)} of its {e.g.size} elements were looked at, because a call takes long: "
                                     "check a smaller input, where every one is.")
    return len(RULES), UNKNOWN, f"{int(e.wrong.sum())} of {len(e.columns)} elements that were looked at are wrong."
