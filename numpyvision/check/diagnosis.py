"""Why is a gradient wrong? Rules look at what was measured, in the order of their certainty; the first that explains all of it names it.

The evidence is the whole matrix of slopes, twice. Shapes here: M output numbers, S elements of one input.
    A (M, S)   measured: what output m gains when element s grows
    B (M, S)   claimed: backward is linear in dout, so a dout that is 1 at output m and 0 elsewhere reads row m of its matrix
A gradient is right if B = A; where and how B differs is what a mistake looks like. Big inputs are sampled: some columns, some rows.
"""
import time
from functools import cached_property

import numpy as np

from numpyvision.check import difference
from numpyvision.check.report import KINK, OK, UNKNOWN

# how many columns (2 forwards each) and rows (1 backward each) are looked at, by the seconds that one call takes
COLUMNS = ((1e-3, 1000), (6e-3, 200), (3e-2, 40), (np.inf, 12))
ROWS = ((1e-3, 1000), (6e-3, 200), (3e-2, 40), (np.inf, 12))
NUMBERS = 4_000_000    # of A at most
PATIENCE = 5           # seconds after which the dearest rules are left out
STRONG = 1e-5          # of A's largest entry: two entries that differ by less are equal


class Evidences:
    """The evidence on each failing input of one problem, gathered when asked for."""

    def __init__(self, problem, rng):
        self.problem, self.rng, self.found, self.read = problem, rng, {}, {}
        self.start = time.process_time()

    def of(self, name):
        """The Evidence on this input."""
        if name not in self.found:
            self.found[name] = Evidence(name, self)
        return self.found[name]

    @cached_property
    def most_rows(self):
        """How many rows of B may be read."""
        return allowed(ROWS, lambda: self.problem.claim(self.problem.dout))

    def row(self, m):
        """Row m of B: {name: gradient} for a dout that is 1 at output number m."""
        if m not in self.read:
            size = len(difference.as_vector(self.problem.here))
            dout = difference.from_vector(difference.one_hot((size,), m), self.problem.here)
            self.read[m] = {n: np.asarray(g).ravel() for n, g in self.problem.claim(dout).items() if g is not None}
        return self.read[m]

    def late(self):
        """Whether so much time is gone that what is dear should be left out."""
        return time.process_time() - self.start > PATIENCE


class Evidence:
    """What is known about one input. A, B (M', S); g (all elements) the claimed gradient, n the measured one, NaN where not measured."""

    def __init__(self, name, looked):
        self.name, self.looked, self.problem = name, looked, looked.problem
        self.shape = self.problem.arrays[name].shape
        movable = difference.movable(self.problem, name)
        size = len(difference.as_vector(self.problem.here))
        limit = min(allowed(COLUMNS, lambda: self.problem.evaluate({})), max(NUMBERS // max(size, 1), 8))
        chosen = sample(len(movable), limit, looked.rng)
        self.complete = len(chosen) == len(movable)
        self.slopes = difference.elements(self.problem, name, [movable[i] for i in chosen])

    def numeric_array(self):
        """The measured gradient, NaN where it was not measured."""
        n = np.full(self.shape, np.nan)
        for index, found in self.slopes:
            n[index] = found.numeric
        return n

    @cached_property
    def smooth(self):
        """The slopes that are not at a corner of the function: a corner says nothing about a bug."""
        calm = [item for item in self.slopes if not item[1].has_corner(self.problem.rtol)]
        return calm if any(not s.error <= self.problem.rtol for _, s in calm) else self.slopes

    @cached_property
    def columns(self):
        """(S,) flat indices of the elements."""
        return np.array([np.ravel_multi_index(i, self.shape) if i else 0 for i, _ in self.smooth])

    @cached_property
    def everything(self):
        """All rows of A, (M, S)."""
        return np.stack([s.column for _, s in self.smooth], axis=1)

    @cached_property
    def rows(self):
        """(M',) the output numbers whose rows are read: all, or those that depend most on the elements that were measured."""
        size, limit = len(self.everything), self.looked.most_rows
        if size <= limit:
            return np.arange(size)
        strongest = np.argsort(-abs(self.everything), axis=0, kind="stable")[:max(limit // len(self.columns), 1)]
        return np.unique(np.append(strongest.ravel()[:limit], sample(size, max(limit // 4, 1), self.looked.rng)))

    @cached_property
    def A(self):
        return self.everything[self.rows]

    @cached_property
    def claims(self):
        """(M', all elements) the same rows of B, unsampled."""
        return np.stack([self.looked.row(m)[self.name] for m in self.rows])

    @cached_property
    def B(self):
        return self.claims[:, self.columns]

    def along(self, direction):
        """A @ direction, (M',), over all elements of the input, measured with two forwards."""
        return difference.slope_at(self.problem, {self.name: direction}, self.problem.eps).column[self.rows]

    @cached_property
    def scale(self):
        """What counts as large in A and B."""
        return max(abs(self.A).max(initial=0.0), 1e-300)

    @property
    def tolerance(self):
        """Two entries that differ by less are equal. Differences of tiny slopes of a large function are noise."""
        return STRONG * self.scale + max(s.noise for _, s in self.smooth)

    @cached_property
    def R(self):
        """What is missing: A - B."""
        return self.A - self.B

    @cached_property
    def wrong(self):
        """(S,) the columns that differ anywhere."""
        return (abs(self.R) > self.tolerance).any(axis=0)

    @cached_property
    def n(self):
        """The measured gradient at the smooth elements, NaN elsewhere; same shape as the input."""
        n = np.full(self.shape, np.nan)
        n.ravel()[self.columns] = [s.numeric for _, s in self.smooth]
        return n

    @property
    def g(self):
        """The claimed gradient."""
        return np.asarray(self.problem.grads[self.name])

    @cached_property
    def out_shape(self):
        """The output's shape; (M,) if it is a structure of several."""
        found = difference.leaves(self.problem.here)
        return np.shape(found[0][1]) if len(found) == 1 else (len(difference.as_vector(self.problem.here)),)

    @cached_property
    def several_outputs(self):
        """Whether the output is a structure: its rows have no axes then."""
        return len(difference.leaves(self.problem.here)) > 1

    @cached_property
    def all_rows(self):
        """Whether no output was left out."""
        return len(self.rows) == len(self.everything)

    @cached_property
    def row_index(self):
        """One array of indices an output axis, for the rows of A."""
        return np.unravel_index(self.rows, self.out_shape) if self.out_shape else ()

    @cached_property
    def column_index(self):
        """One array of indices an input axis, for the columns of A."""
        return np.unravel_index(self.columns, self.shape) if self.shape else ()


def allowed(table, call):
    """How many calls are affordable, by the time of one."""
    times = []
    for _ in range(3):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    seconds = min(times)                                             # the first may build something
    return next(count for limit, count in table if seconds < limit)


def sample(size, count, rng):
    """All of 0..size-1, or `count` of them, sorted."""
    return np.arange(size) if size <= count else np.sort(rng.choice(size, count, replace=False))


def conclude(report, problem, looked):
    """Give each failing row its diagnosis, and the report that of the row whose reason is the surest."""
    from numpyvision.check import diagnosis_rules  # the rules need Evidence
    best = None
    for row in report.rows:
        if row.diagnosis != UNKNOWN:
            continue
        rank, code, sentence = len(diagnosis_rules.RULES), UNKNOWN, ""
        if row.name in looked.found:
            rank, code, sentence = diagnosis_rules.explain(looked.of(row.name))
        row.diagnosis = code
        if best is None or rank < best[0]:
            best = rank, code, row, sentence
    if best is not None:
        report.fail(best[1], tell(best[2], best[1], best[3]))
        return
    kinks = [r for r in report.rows if r.diagnosis == KINK]
    if kinks:
        report.fail(KINK, tell_kink(kinks[0]))
    report.rows = [r for r in report.rows if r.diagnosis is not None]
    if all(r.diagnosis == OK for r in report.rows):
        report.error = max((r.error for r in report.rows if r.error is not None), default=report.error)


def tell(row, code, sentence):
    """At most three sentences: the numbers, the evidence, where to look."""
    place = f"{row.name}{list(row.index)}" if row.index else row.name if row.index == () else f"{row.name} (along a random direction)"
    first = f"The gradient of {row.name} is wrong: at {place} backward gives {row.analytic:.6g}, a finite difference {row.numeric:.6g}."
    from numpyvision.check.hints import HINTS
    return " ".join(t for t in (first, sentence, HINTS.get(code, "")) if t)


def tell_kink(row):
    """A corner is the input's fault."""
    s = row.slope
    place = f"{row.name}{list(row.index)}" if row.index else row.name
    return (f"The input sits on a kink at {place}: the slope is {s.left:.6g} on one side and {s.right:.6g} on the other, and backward's "
            f"{s.analytic:.6g} lies between. This is the input's fault, not backward's: move it off the corner (no zeros into "
            "relu, no ties into max pooling, no sample points on pixel centres).")


def search_bank(report, problem, bank, pair):
    """A known mistake with these very gradients names the mistake better than any rule."""
    from numpyvision.check import calls
    cache = pair.run()[1]
    for code, text, backward in bank:
        try:
            grads = calls.Pair(pair.forward, backward, pair.args, pair.kwargs).claim(problem.dout, cache)
        except calls.Stopped:
            continue
        theirs = dict(zip(pair.names, grads, strict=True))
        if all(theirs.get(n) is not None and np.shape(theirs[n]) == g.shape and _equal(np.asarray(theirs[n]), g)
               for n, g in problem.grads.items()):
            failed = next((r for r in report.rows if r.diagnosis == report.diagnosis), report.rows[0])
            failed.diagnosis = report.diagnosis = code
            report.message = tell(failed, None, f"A known mistake gives exactly these gradients: {text.rstrip('.')}.")
            return


def _equal(a, b):
    return np.allclose(a, b, rtol=0, atol=1e-10 * max(float(abs(b).max(initial=0.0)), 1e-300))
