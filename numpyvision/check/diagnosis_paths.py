"""The vaguer rules: boxes seen as centre and size, losses, and gradients that lack one of several paths. A and B: diagnosis.py."""
import itertools

import numpy as np

from numpyvision.check import patterns
from numpyvision.check.diagnosis_entries import ratio_of_entries, uses
from numpyvision.check.diagnosis_moves import COORDINATES


def of_a_box(e):
    """The same as one_ratio, of centre and size instead of the corners: x1 = x - w / 2, x2 = x + w / 2."""
    if len(e.shape) != 2 or e.shape[1] not in COORDINATES:
        return None
    x1, y1, x2, y2 = COORDINATES[e.shape[1]]
    row, column = e.column_index
    at = {(int(r), int(c)): i for i, (r, c) in enumerate(zip(row, column, strict=True))}
    boxes = [r for r in range(e.shape[0]) if all((r, c) in at for c in (x1, y1, x2, y2))]
    if not boxes:
        return None
    exchanged = _exchanged_centres(e, [[at[r, c] for r in boxes] for c in (x1, y1, x2, y2)])
    if exchanged:
        return exchanged
    near, far = ([at[r, c] for r in boxes for c in pair] for pair in ((x1, y1), (x2, y2)))
    for what, combine in (("centre and size", lambda M: np.hstack([M[:, near] + M[:, far], (M[:, far] - M[:, near]) / 2])),
                          ("size and centre", lambda M: np.hstack([M[:, near], M[:, near] + M[:, far]]))):
        found = ratio_of_entries(combine(e.A), combine(e.B), e.tolerance)
        if found:
            return found[0], f"Seen as {what} of the boxes instead of corners, {found[1]}."
    return None


def _exchanged_centres(e, corners):
    """x and y are exchanged in the centre alone, or in the size alone."""
    def seen(M):
        x1, y1, x2, y2 = (M[:, c] for c in corners)
        return [x1 + x2, y1 + y2, (x2 - x1) / 2, (y2 - y1) / 2]
    (ax, ay, aw, ah), claimed = seen(e.A), seen(e.B)
    for what, right in (("centre", (ay, ax, aw, ah)), ("size", (ax, ay, ah, aw)), ("centre and size", (ay, ax, ah, aw))):
        if all((abs(a - b) <= 4 * e.tolerance).all() for a, b in zip(right, claimed, strict=True)):
            return "transposed-axes", f"Seen as centre and size of the boxes instead of corners, x and y of the {what} are exchanged."
    return None


def another_column_added(e):
    """What is too much in one column is the whole slope of another column of the same row: a share that was not taken off."""
    if len(e.shape) != 2 or e.shape[1] > 8 or len(e.A) < 2:
        return None
    row, column = e.column_index
    for c, d in itertools.permutations(range(e.shape[1]), 2):
        pairs = [(i, j) for i in np.flatnonzero((column == c) & e.wrong) for j in np.flatnonzero((column == d) & (row == row[i]))]
        if pairs and all((abs(e.R[:, i] + e.A[:, j]) <= 10 * e.tolerance).all() for i, j in pairs):
            return "double-counted", f"Column {c} of {e.name} holds its own gradient and, once more, that of column {d}."
    return None


def of_a_loss(e):
    """One output: what is missing is a multiple of another input, or the same number at some elements."""
    if len(e.A) != 1:
        return None
    missing = np.where(np.isfinite(e.n), e.n - e.g, np.nan)
    for name, array in e.problem.others.items():
        if array.shape == e.shape and array.dtype.kind in "fib" and patterns.factor(missing, array.astype(float)):
            return "missing-path", f"What is missing is {name} times one number at every element."
    values = missing.ravel()[e.columns][e.wrong]
    if len(values) > 1 and np.ptp(values) <= 1e-5 * abs(values).max():
        return "missing-path", f"The same {values[0]:.6g} is missing at {len(values)} of {len(e.columns)} elements; the others are right."
    return None


def slope_of_a_loss(e):
    """One output, and every number has the right sign: a loss is a sum of elements, whose own slope has a factor too few or too many."""
    if len(e.A) != 1:
        return None
    with np.errstate(all="ignore"):
        ratios = (e.g / e.n).ravel()[e.columns][e.wrong]
    if len(ratios) > 5 and (ratios > 0).all():
        return "constant-factor", (f"Each of its numbers has the right sign, and is {ratios.min():.3g} to {ratios.max():.3g} times what it "
                                   "should be: a factor of the local slope is missing, or one is too many.")
    return None


def one_path(e):
    """A = P + Q, and B = b P + Q: the part P, of low rank, is lost (b = 0), of wrong sign (-1), doubled (2).

    For such a B, R = A - B = c P with c = 1 - b, and R A+ R = c R, A+ being A's pseudo-inverse: no part need be known beforehand.
    Elementwise terms would hide it; so of an input of the output's shape only rows and columns of different elements are taken.
    """
    A, R = e.A, e.R
    if e.shape == e.out_shape:
        order = np.random.default_rng(5).permutation(int(np.prod(e.shape)))
        half = order[:len(order) // 2]
        rows, columns = np.isin(e.rows, half), ~np.isin(e.columns, half)
        A, R = A[rows][:, columns], R[rows][:, columns]
    if min(A.shape) < 2 or abs(R).max(initial=0.0) <= 10 * e.tolerance or A.size > 400_000:
        return None
    inverse, rank = np.linalg.pinv(A, rcond=1e-7), int(np.linalg.matrix_rank(R, tol=1e-6 * np.linalg.norm(R)))
    c = float(np.trace(inverse @ R)) / max(rank, 1)
    if abs(c) < 1e-3 or np.linalg.norm(R @ inverse @ R - c * R) > 1e-3 * abs(c) * np.linalg.norm(R) or rank >= min(A.shape):
        return None
    return _by_multiple(1 - c, f"One part of the true slopes, of rank {rank}, is {{}} in the claimed ones, and all other parts are right.")


def _by_multiple(b, text):
    if abs(b) < 1e-2:
        return "missing-path", text.format("missing")
    if abs(b + 1) < 1e-2:
        return "sign", text.format("of the wrong sign")
    if abs(b - 2) < 1e-2:
        return "double-counted", text.format("counted twice")
    return "constant-factor", text.format(f"{patterns.number(b)} times as large")


def nearest(e):
    """No exact pattern. What is missing may look like a part of the truth (a lost path), what is too much like one counted twice."""
    if not e.complete and len(e.columns) < 30:                         # too little was seen to guess
        return None
    used, lost, spurious = uses(e)
    wrong = abs(e.R) > e.tolerance
    if not spurious.any() and lost.sum() > 0.6 * wrong.sum() and (used & ~wrong).any():
        return "missing-path", f"{int(lost.sum())} of {int(used.sum())} single slopes are missing, and most of the others are right."
    size = float((e.R * e.R).sum())
    along = float((e.R * e.A).sum()) / size if size else 0.0
    if 0.65 < along < 1.5:
        share = np.linalg.norm(e.B) / np.linalg.norm(e.A)
        return "missing-path", (f"What is missing is a part of the true slopes (what is there has {share:.2g} of their size), "
                                "so one way from it to the output is most likely left out.")
    if -1.5 < along < -0.65:
        return "double-counted", "What is too much is a part of the true slopes: one way to the output is most likely counted twice."
    return None
