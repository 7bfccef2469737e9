"""Is a backward right, and if not, what is wrong with it? Finite differences decide; diagnosis.py looks for the reason.

    print(gradcheck(conv2d_forward, conv2d_backward, [x, w, b], {"padding": 1}, rng=np.random.default_rng(0)))

First one random direction an input, which costs two forwards each: that is all for a right backward. The elements of an input are looked at
one by one only where its direction disagrees. The upstream gradient is random: all ones cannot see a missing variance path in batch norm,
whose outputs sum to a constant. Everything is computed in float64, where a right gradient agrees to about 1e-9 and a wrong one does not.
"""
import numpy as np

from numpyvision.check import calls, diagnosis, difference, form
from numpyvision.check.calls import Pair, Stopped, as_dtype, is_floating
from numpyvision.check.report import KINK, OK, UNKNOWN, Report, Row


def gradcheck(forward, backward=None, args=(), kwargs=None, *, rng, reference=None, bank=(), eps=1e-5, rtol=1e-6, elementwise="auto",
              constants=(), fixed=None, mutates=(), keeps_dtype=True, title=None):
    """Check `grads = backward(dout, cache)` against differences of `out, cache = forward(*args, **kwargs)` -> Report.

    args are the array inputs in forward's order; the floating ones are differentiated, except those whose parameter name is in `constants`
    (targets, running statistics). Integers, booleans and None are constants anyway; `fixed` {name: columns} names the columns of a floating
    input that are indices in disguise and must not move ({"rois": [0]}). A Generator in kwargs is copied for each call, so that both sides
    of a difference draw the same samples. out is an array, a scalar, or a tuple, list or dict of them.
    forward may also be a layer or a model, with backward=None: args are then what its forward takes.
    reference: a right (forward, backward), which tells a wrong forward from a wrong backward. bank: (code, text, backward) of known
    mistakes; one whose wrong gradients equal these names it. mutates: inputs that forward may write; running statistics it always may.
    elementwise: "auto" looks at single elements where a random direction disagrees, True everywhere, False nowhere.
    keeps_dtype: whether float32 inputs must give float32 gradients. No exception of theirs gets out: it becomes the diagnosis.
    """
    if backward is None:
        from numpyvision.check import layer  # layer.py builds on this file
        return layer.gradcheck_layer(forward, args, kwargs, rng=rng, eps=eps, rtol=rtol, elementwise=elementwise, fixed=fixed, title=title)
    report = Report(title or calls.operation_name(forward))
    rng = np.random.default_rng(rng.integers(2**63))                 # not the caller's own stream: dout = x, of one seed, hides mistakes
    pair = Pair(forward, backward, [as_dtype(a, np.float64) for a in args], kwargs or {})
    report.notes += [f"{n} came as {a.dtype} and was checked in float64" for n, a in zip(pair.names, args, strict=True)
                     if is_floating(a) and a.dtype != np.float64]
    wanted = [n for n, a in zip(pair.names, pair.args, strict=True) if is_floating(a) and n not in constants]
    mutates = {*mutates, *(n for n in pair.names if n.startswith("running_"))}           # batch norm's are the law's one mutation
    try:
        _check(report, pair, wanted, rng, reference, bank, fixed, mutates, (eps, rtol, elementwise))
        if report.ok and keeps_dtype:
            form.check_float32(report, pair, wanted)
    except Stopped as stopped:
        report.fail(stopped.code, stopped.message)
    return report


def _check(report, pair, wanted, rng, reference, bank, fixed, mutates, settings):
    """Form, then forward beside the reference, then the gradients."""
    out, cache = form.run_once(pair, mutates)
    if reference is not None:
        form.compare_forward(report, pair, out, reference[0])
    form.check_output(report, out)
    dout = difference.random_like(out, rng)
    claimed = form.claim_once(pair, dout, cache)
    eps, rtol, elementwise = settings

    def evaluate(changed, kwargs=None):
        return pair.run({pair.names.index(n): a for n, a in changed.items()}, kwargs)[0]

    def claim(dout, changed=None):
        fresh = pair.run({pair.names.index(n): a for n, a in changed.items()})[1] if changed else cache
        return dict(zip(pair.names, pair.claim(dout, fresh), strict=True))
    arrays = {n: pair.args[pair.names.index(n)] for n in wanted}
    others = {n: a for n, a in zip(pair.names, pair.args, strict=True) if n not in wanted and isinstance(a, np.ndarray)}
    problem = difference.Problem(evaluate, arrays, {n: claimed[pair.names.index(n)] for n in wanted}, dout,
                                 fixed_elements(arrays, fixed), eps, rtol, claim, others, pair.settings())
    if report.ok and form.well_formed(report, problem, rng):
        examine(report, problem, rng, elementwise)
        if not report.ok and report.diagnosis != KINK:
            form.look_again(report, problem, dout)
            if report.diagnosis != "nondeterministic":
                diagnosis.search_bank(report, problem, bank, pair)
    elif report.diagnosis == "wrong-forward" and form.well_formed(Report(""), problem, rng):
        agrees = examine(Report(""), problem, rng, elementwise=False).ok
        report.message += " Your backward does match your forward." if agrees else " Mend forward first, then look at backward."


def examine(report, problem, rng, elementwise="auto", each=True):
    """Compare all gradients of a Problem and write what is found into the report: along a direction an input, elements where that fails.

    each=False moves all inputs together and looks at single ones only if the whole is wrong: for a network of many parameters.
    """
    if not each:
        whole, _ = difference.along_random(problem, problem.arrays, rng)
        report.error = whole.error
        if whole.error <= problem.rtol:
            return report
    for name in problem.arrays:
        report.rows.append(_along(problem, name, rng, elementwise))
    if each:
        report.error = max((r.error for r in report.rows if r.error is not None), default=0.0)
    failed = [r for r in report.rows if not (r.error is None or r.error <= problem.rtol)]
    looked = diagnosis.Evidences(problem, rng)
    if elementwise:
        for row in failed if each else sorted(failed, key=lambda r: int(np.prod(r.shape)))[:3]:
            _element_by_element(problem, row, looked)
    for row in failed:
        if row.diagnosis == OK and not row.error <= problem.rtol:
            row.diagnosis = UNKNOWN
    diagnosis.conclude(report, problem, looked)
    if report.ok and not each:
        both = f"backward gives {whole.analytic:.9g} and a finite difference {whole.numeric:.9g} (relative error {whole.error:.1e})"
        kink = whole.is_kink(problem.rtol) or any(r.diagnosis == KINK for r in report.rows)
        report.fail(KINK if kink else UNKNOWN, f"Each input alone agrees, but along a direction through all of them {both}.")
    return report


def _along(problem, name, rng, elementwise):
    """The row of one input, moved along one random direction."""
    row = Row(name, problem.arrays[name].shape, checked="one direction")
    if problem.arrays[name].size == 0:
        row.checked = "empty"
    elif name in problem.fixed and problem.fixed[name].all():
        row.checked = "fixed"
    elif elementwise is True:
        _fill(row, *max(difference.elements(problem, name, difference.movable(problem, name)), key=_badness), problem.rtol)
        row.checked = "every element"
    else:
        found, row.direction = difference.along_random(problem, [name], rng)
        _fill(row, None, found, problem.rtol)
    return row


def _element_by_element(problem, row, looked):
    """Find the worst element of a failing input, and whether it is wrong or only sits on a corner."""
    evidence = looked.of(row.name)
    row.checked = "every element" if evidence.complete else f"{len(evidence.slopes)} elements"
    wrong = [item for item in evidence.slopes if not item[1].error <= problem.rtol and not item[1].is_kink(problem.rtol)]
    kinks = [item for item in evidence.slopes if not item[1].error <= problem.rtol and item[1].is_kink(problem.rtol)]
    if not wrong and not kinks and not evidence.complete:
        item = difference.worst_element(problem, row.name, row.direction[row.name])
        (kinks if item[1].is_kink(problem.rtol) else wrong).append(item)
        row.checked = "halving"
    _fill(row, *max(wrong or kinks or evidence.slopes, key=_badness), problem.rtol)
    row.diagnosis = UNKNOWN if wrong else KINK if kinks else OK      # OK: the direction stepped over a corner nearby
    row.claimed, row.numeric_array = problem.grads[row.name], evidence.numeric_array()


def _fill(row, index, found, rtol):
    row.index, row.error, row.analytic, row.numeric, row.slope = index, found.error, found.analytic, found.numeric, found
    if not found.error <= rtol:                                      # `not <=`: a NaN fails too
        row.diagnosis = KINK if found.is_kink(rtol) else UNKNOWN


def _badness(item):
    return np.isnan(item[1].error), item[1].error


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
