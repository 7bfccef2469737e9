"""What can be said of a forward and a backward before any slope is measured: do they run, keep shapes and dtypes, write nothing?"""
import itertools
import time

import numpy as np

from numpyvision.check import calls, difference, patterns
from numpyvision.check.calls import Stopped, as_dtype, is_floating
from numpyvision.check.report import Row

REPEATS = 6            # how often backward is called with one dout, to see whether it draws random numbers


def run_once(pair, mutates):
    """out, cache; Stopped if forward writes into an input or gives another output the second time."""
    given = [a.copy() if isinstance(a, np.ndarray) else a for a in pair.args]
    out, cache = pair.run_on(given)
    for name, before, after in zip(pair.names, pair.args, given, strict=True):
        if isinstance(before, np.ndarray) and name not in mutates and not calls.equal(before, after):
            index, old, new = _first_change(before, after)
            raise Stopped("mutates-input", f"forward writes into its input {name}: {name}{index} was {old:.6g} and is {new:.6g} now. "
                          f"Whoever called it still needs that array; compute a new one (x = x + 1, not x += 1).")
    again = pair.run()[0]
    if not np.array_equal(difference.as_vector(out), difference.as_vector(again), equal_nan=True):
        raise Stopped("nondeterministic", "forward gives two results for the same inputs. "
                      "Randomness must come from an argument rng, and nothing may be kept from the call before.")
    return out, cache


def claim_once(pair, dout, cache):
    """The gradients by position; Stopped if backward writes into what it was given, or gives other gradients the second time."""
    watched = [("dout" if n == "array" else f"dout.{n}", a) for n, a in calls.arrays_of(dout)]
    watched += [(f"cache.{n}", a) for n, a in calls.arrays_of(cache)]
    before = calls.copies(watched)
    claimed = [g if g is None else np.array(g) for g in pair.claim(dout, cache)]
    unwritten("backward", before, watched)
    for _ in repeated():
        for name, first, again in zip(pair.names, claimed, pair.claim(dout, cache), strict=True):
            if first is not None and not (np.shape(again) == first.shape and calls.equal(first, np.asarray(again))):
                raise Stopped("nondeterministic", f"backward gives two different gradients of {name} for the same dout and cache. "
                              "It must draw no random numbers, and keep nothing from the call before.")
    return claimed


def repeated():
    """REPEATS turns, fewer where they are slow."""
    start = time.process_time()
    for i in range(REPEATS):
        if i and time.process_time() - start > 0.3:
            return
        yield i


def unwritten(who, before, after):
    """Stopped if an array of the list [(name, array)] is not its copy any more."""
    for (name, old), (_, new) in zip(before, after, strict=True):
        if not calls.equal(old, new):
            index, was, now = _first_change(old, new)
            raise Stopped("mutates-input", f"{who} writes into {name}: {name}{index} was {was:.6g} and is {now:.6g} afterwards. "
                          "Other branches read the same array; compute a new one (dx = dx - m, not dx -= m).")


def check_output(report, out):
    """Outputs are finite and float64, as the inputs are."""
    for name, leaf in difference.leaves(out):
        label = f"the output {name}".strip()
        if not np.isfinite(leaf).all():
            bad = [int(i) for i in np.argwhere(~np.isfinite(np.asarray(leaf)))[0]]
            report.fail("not-finite", f"{label} is not finite at {bad}: {np.asarray(leaf)[tuple(bad)]}. "
                        "The usual causes are a division by zero, a logarithm of 0 and exp() of something large.")
        elif np.ndim(leaf) and leaf.dtype != np.float64:
            report.fail("wrong-dtype", f"{label} must keep the inputs' dtype float64, got {leaf.dtype}.")


def compare_forward(report, pair, out, forward):
    """The same inputs through the reference's forward: say where the outputs first differ."""
    expected = calls.Pair(forward, None, pair.args, pair.kwargs).run()[0]
    mine, right = difference.leaves(out), difference.leaves(expected)
    if [n for n, _ in mine] != [n for n, _ in right]:
        report.fail("wrong-shape", f"forward must give {len(right)} outputs {[n for n, _ in right]}, got {len(mine)}.")
        return
    for (name, got), (_, want) in zip(mine, right, strict=True):
        found = patterns.compare(f"out {name}".strip(), got, want)
        if found is not None:
            report.rows.append(Row(f"out {name}".strip(), np.shape(got), diagnosis="wrong-forward", checked="reference",
                                   claimed=np.asarray(got), numeric_array=np.asarray(want) if np.shape(want) == np.shape(got) else None))
            report.fail(found[0] if found[0] in ("wrong-shape", "wrong-dtype") else "wrong-forward", found[1])
            report.evidence = found[0]
            return


def well_formed(report, problem, rng):
    """Each claimed gradient is there, floating, finite and of its array's shape and dtype; else the report says what is wrong."""
    claimed, arrays = problem.grads, problem.arrays
    misshaped = [n for n, a in arrays.items() if claimed.get(n) is None or np.shape(claimed[n]) != a.shape]
    if misshaped and (_exchanged(report, problem, rng) or _unsummed(report, problem, misshaped[0], rng)):
        return False
    for name, a in arrays.items():
        g = claimed.get(name)
        code, text = _ill_formed(name, a, g)
        if code:
            report.rows.append(Row(name, a.shape, checked="form", diagnosis=code))
            report.fail(code, text)
    return report.ok


def _ill_formed(name, a, g):
    if g is None:
        return "wrong-shape", f"backward returns no gradient for {name}: it owes one for each floating input, in forward's order."
    g = np.asarray(g)
    if g.shape != a.shape:
        hint = " Its values are as many: reshape it." if g.size == a.size and g.T.shape != a.shape else (
            " Its transpose would fit." if g.T.shape == a.shape else "")
        return "wrong-shape", f"the gradient of {name} must have {name}'s shape {a.shape}, got {g.shape}.{hint}"
    if g.dtype != a.dtype:
        return "wrong-dtype", f"the gradient of {name} must keep {name}'s dtype {a.dtype}, got {g.dtype}. Look for an astype or a dtype=."
    if not np.isfinite(g).all():
        bad = [int(i) for i in np.argwhere(~np.isfinite(g))[0]]
        return "not-finite", (f"the gradient of {name} is not finite at {bad}: {g[tuple(bad)]}. "
                              "The usual causes are a division by zero, a logarithm of 0 and exp() of something large.")
    return None, ""


def _exchanged(report, problem, rng):
    """Gradients whose shapes fit, and whose values are right, in another order: said so instead of a wrong shape."""
    claimed = problem.grads
    names = [n for n, a in problem.arrays.items() if claimed.get(n) is None or np.shape(claimed[n]) != a.shape]
    if len(names) > 4 or any(claimed.get(n) is None for n in names):
        return False
    for order in itertools.permutations(names):
        trial = {n: claimed[other] for n, other in zip(names, order, strict=True)}
        if order != tuple(names) and _agrees(problem, trial, rng, names):
            moved = [f"{n} gets {other}'s" for n, other in zip(names, order, strict=True) if n != other]
            report.rows += [Row(n, problem.arrays[n].shape, checked="form", diagnosis="swapped-gradients")
                            for n, other in zip(names, order, strict=True) if n != other]
            report.fail("swapped-gradients", f"backward returns the right gradients in the wrong order: in the place of "
                        f"{names[0]}, whose shape is {problem.arrays[names[0]].shape}, stands one of shape {claimed[names[0]].shape}. "
                        f"They agree with finite differences as soon as {' and '.join(moved)}: look at the return line.")
            return True
    return False


def _unsummed(report, problem, name, rng):
    """A gradient that is right once some of its axes are summed: the sum over a broadcast was forgotten."""
    g, shape = problem.grads[name], problem.arrays[name].shape
    if g is None or np.ndim(g) <= len(shape):
        return False
    for axes in itertools.combinations(range(np.ndim(g)), np.ndim(g) - len(shape)):
        summed = np.asarray(g).sum(axis=axes)
        if summed.shape == shape and summed.size < np.size(g) and _agrees(problem, {**problem.grads, name: summed}, rng, [name]):
            report.rows.append(Row(name, shape, checked="form", diagnosis="missing-sum"))
            report.fail("missing-sum", f"the gradient of {name} has shape {np.shape(g)} where {shape} is due, and is right "
                        f"once summed over its axes {axes}. Every element of {name} was used {np.size(g) // summed.size} times in "
                        "forward, so its gradient is the sum over these uses.")
            return True
    return False


def _agrees(problem, trial, rng, names=None):
    """Whether these gradients have the right shapes and pass along a random direction."""
    names = [n for n in names or problem.arrays if problem.arrays[n].size]
    if any(trial[n] is None or np.shape(trial[n]) != problem.arrays[n].shape for n in names):
        return False
    other = difference.Problem(problem.evaluate, problem.arrays, trial, problem.dout, problem.fixed, problem.eps, problem.rtol)
    return difference.along_random(other, names, rng)[0].error <= problem.rtol


def look_again(report, problem, dout):
    """A gradient that is wrong may be wrong by chance: call the whole thing some times more before a pattern is believed."""
    for _ in repeated():
        for name, g in problem.claim(dout).items():
            if problem.grads.get(name) is not None and not calls.equal(np.asarray(problem.grads[name]), np.asarray(g)):
                report.rows, report.diagnosis = [r for r in report.rows if r.name != name], "nondeterministic"
                report.message = (f"the gradient of {name} is another one at every call with the same inputs and dout. "
                                  "Backward must draw no random numbers, and keep nothing from the call before.")
                return


def check_float32(report, pair, wanted):
    """float32 in, float32 out. What cannot run in float32 at all is noted, not failed: the check itself is in float64."""
    try:
        narrow = calls.Pair(pair.forward, pair.backward, [as_dtype(a, np.float32) for a in pair.args], pair.kwargs)
        out, cache = narrow.run()
        dout = difference.random_like(out, np.random.default_rng(0))
        dout = difference.like(dout, lambda d: float(d) if isinstance(d, float) else d)        # a plain number makes nothing wider
        grads = dict(zip(pair.names, narrow.claim(dout, cache), strict=True))
    except Stopped as stopped:
        report.notes.append(f"in float32: {stopped.message}")
        return
    made = [(f"the output {n}".strip(), a) for n, a in difference.leaves(out)] + [(f"the gradient of {n}", grads[n]) for n in wanted]
    for label, a in made:
        if is_floating(a) and np.ndim(a) and a.dtype != np.float32:
            report.fail("wrong-dtype", f"the values are right, but float32 inputs give {label} in {a.dtype}. "
                        "An array was made without a dtype: np.zeros(shape, dtype=x.dtype), np.zeros_like(x).")


def _first_change(before, after):
    if before.shape != after.shape:
        return "", float(before.size), float(after.size)
    same = (before == after) | ((before != before) & (after != after))
    index = tuple(int(i) for i in np.argwhere(~same)[0])
    return list(index) if index else "", float(before[index]), float(after[index])
