"""Rules that try something else: is the claimed gradient the right one of moved numbers, of changed inputs, of other settings?

If backward's numbers are exactly what a backward would give for a kernel that is turned, or for stride 1, this names the mistake.
"""
import itertools

import numpy as np

from numpyvision.check import difference, patterns

PROBES = 24            # elements that are measured to compare with a changed function: all must agree
COORDINATES = {4: (0, 1, 2, 3), 5: (1, 2, 3, 4)}       # where x1, y1, x2, y2 stand in a row of so many numbers


def columns_exchanged(e):
    """A box's coordinates in the wrong order: x for y, or the near side for the far one."""
    if len(e.shape) != 2 or e.shape[1] not in COORDINATES:
        return None
    x1, y1, x2, y2 = COORDINATES[e.shape[1]]
    for code, pairs, what in (("transposed-axes", ((x1, y1), (x2, y2)), "x and y"),
                              ("wrong-routing", ((x1, x2), (y1, y2)), "the near side (x1, y1) and the far side (x2, y2)")):
        for some in (pairs, pairs[:1], pairs[1:]):
            order = list(range(e.shape[1]))
            for i, j in some:
                order[i], order[j] = j, i
            if patterns.close(e.g, e.n[:, order]):
                return code, f"Its columns are right in another order: {what} are exchanged (columns {some[0][0]} and {some[0][1]})."
    return None


def moved(e):
    """The gradient, or dout before it was used, is flipped, transposed or shifted."""
    axes = patterns.axis_names(e.g.ndim)
    found = patterns.rearranged(e.g, e.n, axes) if e.g.size > 1 else None
    if found and not (found[0] == "batch-leak" and not _is_batch(e)):
        return _only_kernels_turn(e, found[0], found[1].replace("They are", "Backward gives"))
    if len(e.out_shape) < 2:
        return None
    d = np.asarray(difference.as_vector(e.problem.dout)).reshape(e.out_shape)
    claimed = e.g.ravel()[e.columns]
    for code, text, changed in patterns.rearrangements(d, patterns.axis_names(d.ndim)):
        if changed.shape == d.shape and np.isfinite(changed).all() and patterns.close(claimed, e.everything.T @ changed.ravel()):
            return _only_kernels_turn(e, code, text.replace("They are the right numbers", "It is right for a dout whose numbers stand"))
    return _shifted_rows(e, d.shape)


def _shifted_rows(e, shape):
    """Row m of B is row m - s of A: dout is read some steps away. Rows whose partner lies outside are left out."""
    if not e.all_rows or len(shape) < 3:
        return None
    numbers = np.arange(int(np.prod(shape)), dtype=float).reshape(shape)
    for text, source in patterns.shifts(numbers, patterns.axis_names(len(shape))):
        source = source.ravel()
        known = np.isfinite(source)
        if known.sum() < 0.4 * len(source):
            continue
        mine, theirs = e.B[known], e.A[source[known].astype(int)]
        if patterns.close(mine, theirs) and (abs(theirs) > e.tolerance).sum() > 2 and not patterns.close(e.A[known], theirs):
            return "shifted", text.replace("They are the right numbers, moved", "It is right for a dout that is moved")
    return None


def _only_kernels_turn(e, code, text):
    """Where forward only routes numbers (all its slopes are 0 or 1), no kernel is there to be turned: the indices are."""
    routes = (abs(e.A * (1 - e.A)) < 1e-6).all()
    if code == "flipped-kernel" and e.problem.arrays.keys() == {e.name} and routes:
        code = "wrong-routing"
    return code, text


def _is_batch(e):
    return e.name == next(iter(e.problem.arrays)) and len(e.out_shape) > 0 and e.shape[:1] == e.out_shape[:1]


# ---- the right gradient of something else

def other_inputs(e):
    """It is the right gradient for another input that is turned or transposed: a kernel, mostly."""
    for other, array in {**e.problem.arrays, **e.problem.others}.items():
        if array.dtype.kind == "f":
            for code, text, changed in (*(_replaced(array) if other != e.name else ()), *_changes(array)):
                if changed.shape == array.shape and not np.allclose(changed, array) and _agrees(e, {other: changed}):
                    return code, f"It is exactly the right gradient for {other} {text}."
    return None


def _replaced(array):
    """An input that was left out of a product or a sum, or has the wrong sign."""
    yield "constant-factor", "= 1, so it is forgotten as a factor", np.ones_like(array)
    yield "missing-path", "= 0, so it is forgotten in a sum", np.zeros_like(array)
    yield "sign", "of the opposite sign", -array


def _changes(array):
    """(code, what was done, array): flips of the two last axes, exchanges of two equal axes, other reading orders."""
    long = [i for i in range(max(array.ndim - 2, 1), array.ndim) if array.shape[i] > 1]
    for count in range(len(long), 0, -1):
        for turned in itertools.combinations(long, count):
            yield "flipped-kernel", f"turned back to front along its axes {turned}", np.flip(array, turned)
    for i, j in itertools.combinations(range(array.ndim), 2):
        if array.shape[i] == array.shape[j] > 1:
            yield "transposed-axes", f"with its axes {i} and {j} exchanged", array.swapaxes(i, j)
        elif min(array.shape[i], array.shape[j]) > 1:
            shape = list(array.shape)
            shape[i], shape[j] = shape[j], shape[i]
            yield ("transposed-axes", f"read in another order, its axes {i} and {j} exchanged without moving the numbers",
                   array.reshape(shape).swapaxes(i, j))


def other_settings(e):
    """It is the right gradient under another setting: True for False, a pair the other way round, 0 or 1 for a number."""
    for key, value in e.problem.kwargs.items():
        for changed, code in _alternatives(key, value):
            if _agrees(e, {}, {**e.problem.kwargs, key: changed}):
                return code, f"It is exactly the right gradient for {key}={changed!r} where forward had {key}={value!r}."
    return None


def _alternatives(key, value):
    if isinstance(value, bool):
        yield not value, "shifted"
    elif isinstance(value, (tuple, list)) and len(value) == 2 and value[0] != value[1]:
        yield type(value)(reversed(value)), "transposed-axes"
        yield type(value)((value[0], value[0])), "transposed-axes"
        yield type(value)((value[1], value[1])), "transposed-axes"
    elif isinstance(value, (int, float)):
        yield from ((v, "constant-factor" if isinstance(value, float) else "wrong-routing") for v in (0, 1, -value) if v != value)


def _agrees(e, changed, kwargs=None):
    """Whether a changed function has the claimed gradient at a few elements, the largest of the claimed among them."""
    p = e.problem
    probes = e.columns[np.linspace(0, len(e.columns) - 1, min(PROBES, len(e.columns))).astype(int)]
    probes = np.append(e.columns[int(np.argmax(abs(e.g.ravel()[e.columns])))], probes)                # the largest first: it tells most
    arrays = {**p.arrays, **changed}

    def evaluate(moved):
        both = {**changed, **moved}
        return p.evaluate(both, kwargs) if kwargs is not None else p.evaluate(both)
    size, other, noise = abs(e.g).max(), difference.Problem(evaluate, arrays, p.grads, p.dout), max(s.noise for _, s in e.smooth)
    if e.looked.late():
        return False
    try:
        for flat in probes:
            index = tuple(int(i) for i in np.unravel_index(flat, e.shape))
            ahead, behind = (difference.inner(a, p.dout) for a in difference.both_sides(
                other, {e.name: difference.one_hot(e.shape, index)}, p.eps))
            if not abs((ahead - behind) / (2 * p.eps) - e.g[index]) <= 1e-5 * size + 10 * noise:
                return False
    except Exception:                                                # a setting that forward refuses, or that changes out's shape
        return False
    return len(probes) > 1 and size > 0


def depends_on_other_images(e):
    """Moving another image changes what backward claims for this one, though not what is true: statistics over the batch."""
    if not e.shape or e.shape[0] < 2 or e.name != next(iter(e.problem.arrays)):
        return None
    p, array = e.problem, e.problem.arrays[e.name].copy()
    array[-1] = array[-1] + np.random.default_rng(3).standard_normal(array[-1].shape)
    claimed = np.asarray(p.claim(p.dout, {e.name: array})[e.name])
    change = abs(claimed[0] - e.g[0])
    if not change.max(initial=0.0) > 1e-6 * abs(e.g).max(initial=0.0):
        return None
    index = (0, *(int(i) for i in np.unravel_index(int(np.argmax(change)), change.shape)))
    evaluate = (lambda moved: p.evaluate({e.name: array, **moved}))
    other = difference.Problem(evaluate, {**p.arrays, e.name: array}, p.grads, p.dout, eps=p.eps, rtol=p.rtol)
    found, before = (difference.slope(q, {e.name: difference.one_hot(e.shape, index)}) for q in (other, p))
    if abs(found.numeric - before.numeric) > 1e-6 * abs(e.g).max() + 10 * found.noise:
        return None
    return "batch-leak", (f"Moving row {e.shape[0] - 1} of {e.name} changes the claimed gradient at {list(index)} "
                          f"from {e.g[index]:.6g} to {claimed[index]:.6g}, while the true one stays at {before.numeric:.6g}.")
