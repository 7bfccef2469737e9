"""Is a backward right? Compare it with finite differences, first along one direction, then (if that fails) element by element.

    print(gradcheck(conv2d_forward, conv2d_backward, [x, w, b], {"padding": 1}, rng=np.random.default_rng(0)))

The upstream gradient is random: all ones cannot see a missing variance path in batch norm, whose outputs sum to a constant. Everything is
computed in float64, where a right gradient agrees to about 1e-9 and a wrong one does not.
"""
import copy
import inspect

import numpy as np

from numpyvision.check import difference
from numpyvision.check.report import DTYPE, KINK, MISSING, NOT_FINITE, OK, SHAPE, WRONG, Report, Row

SMALL = 128            # an array of at most this many elements is checked at each of them, a bigger one along random directions


def gradcheck(forward, backward, args, kwargs=None, *, rng, eps=1e-5, rtol=1e-6, elementwise="auto", constants=(), fixed=None, title=None):
    """Check `grads = backward(dout, cache)` against differences of `out, cache = forward(*args, **kwargs)` -> Report.

    args are the array inputs in forward's order; the floating ones are differentiated, except those whose parameter name is in `constants`
    (targets, running statistics). Integers, booleans and None are constants anyway; `fixed` {name: columns} names the columns of a floating
    input that are indices in disguise and must not move ({"rois": [0]}). A Generator in kwargs is copied for each call, so that both sides
    of a difference draw the same samples. out is an array, a scalar, or a tuple, list or dict of them.
    elementwise: "auto" looks at each element of inputs of at most 128 elements, and finds one wrong element of a bigger input by halving;
    True looks at each element of all inputs, False only along random directions.
    """
    names = argument_names(forward, len(args))
    promoted = [to_float64(a) for a in args]
    call = pure_call(forward, promoted, kwargs or {})
    out, cache = call({})
    dout = difference.random_like(out, rng)
    report = Report(title or operation_name(forward))
    report.notes += [f"{n} came as {a.dtype} and was checked in float64" for n, a in zip(names, args, strict=True) if _is_narrow(a)]

    wanted = {n: i for i, n in enumerate(names) if _is_floating(promoted[i]) and n not in constants}
    grads = backward(dout, cache)
    grads = grads if isinstance(grads, (tuple, list)) else (grads,)
    claimed = {n: grads[i] if i < len(grads) else None for n, i in wanted.items()}
    if not well_formed(report, claimed, {n: promoted[i] for n, i in wanted.items()}):
        return report

    def evaluate(changed):
        return call({names.index(n): a for n, a in changed.items()})[0]
    arrays = {n: promoted[i] for n, i in wanted.items()}
    problem = difference.Problem(evaluate, arrays, claimed, dout, fixed_elements(arrays, fixed), eps, rtol)
    return examine(report, problem, rng, elementwise)


def examine(report, problem, rng, elementwise="auto", each=True):
    """Compare all gradients of a Problem and write what is found into the report: the whole first, then input by input.

    each=False looks at single inputs only if the whole is wrong.
    """
    everything, _ = difference.along_random(problem, problem.arrays, rng)
    report.error = everything.error
    if each or not everything.error <= problem.rtol:
        report.rows += [_examine_one(report, problem, name, rng, elementwise) for name in problem.arrays]
    if report.ok and not everything.error <= problem.rtol:           # `not <=`: a NaN fails too
        kink = everything.is_kink(problem.rtol)
        report.fail(KINK if kink else WRONG, f"each input alone agrees, but along a direction through all of them backward gives "
                    f"{everything.analytic:.9g} and a finite difference {everything.numeric:.9g} (relative error {everything.error:.1e})")
    return report


def _examine_one(report, problem, name, rng, elementwise):
    array, row = problem.arrays[name], Row(name, problem.arrays[name].shape)
    if array.size == 0:
        row.checked = "empty"
        return row
    if elementwise is True or (elementwise == "auto" and array.size <= SMALL):
        index, found = max(difference.every_element(problem, name), key=lambda item: (np.isnan(item[1].error), item[1].error))
        row.checked = "every element"
    else:
        found, direction = difference.along_random(problem, [name], rng)
        index, row.checked = None, "one direction"
        if not found.error <= problem.rtol and elementwise == "auto":
            index, found = difference.worst_element(problem, name, direction[name])
            row.checked = "halving"
    row.index, row.error, row.analytic, row.numeric = index, found.error, found.analytic, found.numeric
    if not found.error <= problem.rtol:
        row.diagnosis = KINK if found.is_kink(problem.rtol) else WRONG
        report.fail(row.diagnosis, explain(name, index, found, row.diagnosis))
    return row


def explain(name, index, found, diagnosis):
    """One sentence for a slope that does not agree."""
    where = f"{name}[{', '.join(map(str, index))}]" if index else name if index == () else f"{name} (along a random direction)"
    if diagnosis == KINK:
        return (f"{where} sits on a kink: the slope is {found.left:.6g} on one side and {found.right:.6g} on the other, and backward's "
                f"{found.analytic:.6g} lies between. This is the input's fault, not backward's: move it off the corner (no zeros into "
                "relu, no ties into max pooling, no sample points on pixel centres)")
    return (f"the gradient of {name} is wrong: at {where} backward gives {found.analytic:.9g}, a finite difference gives "
            f"{found.numeric:.9g} (relative error {found.error:.1e})")


def well_formed(report, claimed, arrays):
    """Each claimed gradient is there, floating, finite and of its array's shape and dtype; else the report says what is wrong."""
    for name, a in arrays.items():
        g = claimed.get(name)
        row = Row(name, a.shape, checked="form")
        if g is None:
            row.diagnosis, text = MISSING, f"backward returns no gradient for {name}; it owes one for each floating input, in order"
        elif np.shape(g) != a.shape:
            row.diagnosis, text = SHAPE, f"the gradient of {name} must have {name}'s shape {a.shape}, got {np.shape(g)}"
        elif np.asarray(g).dtype != a.dtype:
            row.diagnosis, text = DTYPE, f"the gradient of {name} must keep {name}'s dtype {a.dtype}, got {np.asarray(g).dtype}"
        elif not np.isfinite(g).all():
            bad = np.argwhere(~np.isfinite(g))[0].tolist()
            row.diagnosis, text = NOT_FINITE, f"the gradient of {name} is not finite at {bad}: {np.asarray(g)[tuple(bad)]}"
        if row.diagnosis != OK:
            report.rows.append(row)
            report.fail(row.diagnosis, text)
    return report.ok


def fixed_elements(arrays, fixed):
    """{name: columns} -> {name: mask of the array's shape}, True in those columns of the last axis."""
    masks = {}
    for name, columns in (fixed or {}).items():
        masks[name] = np.zeros(arrays[name].shape, bool)
        masks[name][..., columns] = True
    return masks


def adjoint_check(forward, adjoint, x_shape, y_shape, *, rng):
    """Relative error of <A x, y> = <x, A' y> for a linear map A and what should be its adjoint: both take and return one array.

    The backward of a linear operation is its adjoint; so is a transposed convolution of a convolution.
    """
    x, y = rng.standard_normal(x_shape), rng.standard_normal(y_shape)
    ax, aty = forward(x), adjoint(y)
    if ax.shape != y.shape or aty.shape != x.shape:
        raise ValueError(f"A maps {x.shape} to {ax.shape} and its adjoint {y.shape} to {aty.shape}; they must be the other way round: "
                         f"{x.shape} to {y.shape} and {y.shape} to {x.shape}")
    left, right = float((ax * y).sum()), float((x * aty).sum())
    scale = max(abs(left), abs(right), float(np.sqrt(((ax * y) ** 2).sum())), 1e-300)
    return abs(left - right) / scale


# ---- calling somebody's forward so that one call cannot disturb the next

def pure_call(forward, args, kwargs):
    """call({position: array}) -> forward's result with those arguments replaced.

    Every call gets fresh copies (batch norm updates its running statistics in place) and a generator in its first state.
    """
    def call(changed):
        values = [changed.get(i, a) for i, a in enumerate(args)]
        return forward(*(a.copy() if isinstance(a, np.ndarray) else a for a in values), **copy.deepcopy(kwargs))
    return call


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


def to_float64(a):
    """Floating arrays as float64 copies, everything else unchanged."""
    return np.array(a, dtype=np.float64) if _is_floating(a) else a


def _is_floating(a):
    return hasattr(a, "dtype") and a.dtype.kind == "f"


def _is_narrow(a):
    return _is_floating(a) and a.dtype != np.float64
