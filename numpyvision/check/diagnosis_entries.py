"""Rules that look at single slopes: which entries of B (claimed) are not those of A (measured), and what they are instead.

A and B are (M, S): row m is one output number, column s one element of the input. An entry of A that is not zero is a *use* of s by m;
an entry of B where A is zero is *spurious*; a use that is zero in B is *lost*.
"""
import numpy as np

from numpyvision.check import patterns

NOTHING = 1e-4         # of the tolerance: a slope below counts as zero; one between this and the tolerance decides nothing


def uses(e):
    """Masks (M, S): used, lost, spurious. An output that does not depend on an element does not change by a single bit: A is exactly 0."""
    return _uses(e.A, e.B, e.tolerance)


def _uses(A, B, tolerance):
    nothing = NOTHING * tolerance
    return abs(A) > nothing, (abs(A) > tolerance) & (abs(B) <= nothing), (abs(B) > tolerance) & (abs(A) <= nothing)


# ---- every claimed slope is right, or lost

def one_use_of_many(e):
    """Where several outputs use an element, only some of their contributions are there."""
    used, lost, spurious = uses(e)
    kept = used & ~lost
    if not lost.any() or spurious.any() or (abs(e.R)[kept] > e.tolerance).any() or len(e.A) < 2:
        return None
    shared = e.name != next(iter(e.problem.arrays))
    columns = np.flatnonzero(e.wrong)
    if shared and not e.several_outputs:
        for axis, place in enumerate(e.row_index):
            if all(len(set(place[kept[:, s]])) <= 1 < len(set(place[used[:, s]])) and kept[:, s].any() for s in columns):
                s, size = columns[0], e.out_shape[axis]
                at = int(place[kept[:, s]][0])
                return "missing-sum", (f"{name_of(e, s)} was used by outputs at all {size} places along axis {axis} of out "
                                       f"({patterns.axis_names(len(e.out_shape))[axis]}), and its gradient holds place {at} alone.")
            gone = set(place[lost.any(axis=1)])
            stay = set(place[kept[:, columns].any(axis=1)])
            if 0 < len(gone) <= 6 and stay and not gone & stay:
                return "missing-sum", (f"What comes from {patterns.axis_names(len(e.out_shape))[axis]} "
                                       f"{', '.join(map(str, sorted(int(i) for i in gone)))} of out is not in the sum.")
    for what, place in _places(e):
        left = [(len(set(place[used[:, s]])), len(set(place[kept[:, s]]))) for s in range(used.shape[1])]
        shown = next((s for s in columns if left[s][0] > 1 and left[s][1] == 1), None)
        if shown is not None and max(k for _, k in left) <= 1:
            return "missing-accumulation", (f"{name_of(e, shown)} was read at {left[shown][0]} {what}, and only one of them hands its "
                                            f"gradient back: so at {len(columns)} elements.")
    return None if shared else _one_row_at_a_time(e, used, lost, kept)


def _one_row_at_a_time(e, used, lost, kept):
    """All that some rows of out (RoIs) owe is lost, all that the others owe is there: they wrote into the same array."""
    if len(e.out_shape) < 2 or e.out_shape[0] == e.shape[0]:
        return None
    row = e.row_index[0]
    gone, stayed = set(row[lost.any(axis=1)]), set(row[kept.any(axis=1)])
    if gone and stayed and not gone & stayed:
        shown = ", ".join(str(int(r)) for r in sorted(gone)[:6])
        return "missing-accumulation", (f"What row {shown} of out owes to {e.name} is lost altogether, while that of the {len(stayed)} "
                                        "other rows is right: they were written over each other.")
    return None


def _places(e):
    """[(what, label of each row)]: outputs by their window (all axes but the channels), and by their first axis."""
    shape, index = e.out_shape, e.row_index
    if len(shape) < 2:
        return []
    axes = [i for i in range(len(shape)) if i != 1] if len(shape) > 2 else [0]
    window = np.ravel_multi_index([index[i] for i in axes], [shape[i] for i in axes])
    return [("windows", window), ("places of the first axis of out", index[0])]


def one_ratio(e):
    """All uses are claimed at their right size or at one same wrong multiple of it, and nothing is spurious."""
    if len(e.A) < 2 and not (abs(e.R) <= e.tolerance).any():
        return None
    found = ratio_of_entries(e.A, e.B, e.tolerance)
    if found is None:
        return None
    code, text, c, wrong = found
    m, s = (int(i) for i in np.argwhere(wrong)[0])
    return code, f"{text}, such as that of {name_of(e, s)} on out{index_of(e.row_index, m)}: {e.B[m, s]:.6g}, and not {e.A[m, s]:.6g}."


def ratio_of_entries(A, B, tolerance):
    """(code, text, ratio, mask of the wrong entries) or None."""
    used, _, spurious = _uses(A, B, tolerance)
    wrong = abs(A - B) > tolerance
    if spurious.any() or not wrong.any():
        return None
    large = wrong & (abs(A) > 100 * tolerance)
    if not large.any():
        return None
    ratios = B[large] / A[large]
    c = float(np.median(ratios))
    if abs(ratios - c).max() > 1e-3 * max(abs(c), 1) or (abs(B - c * A)[wrong] > 10 * tolerance).any():
        return None
    share = f"{int(wrong.sum())} of {int(used.sum())} single slopes are"
    if abs(c) < 1e-3:
        return "missing-path", f"{share} missing while all others are right", 0, wrong
    if abs(c + 1) < 1e-3:
        return "sign", f"{share} of the wrong sign while all others are right", c, wrong
    if c > 1.5 and abs(c - round(c)) < 1e-3 and (used & ~wrong)[:, wrong.any(axis=0)].any():
        return "double-counted", f"{share} counted {round(c)} times while all others are right", c, wrong
    return "constant-factor", f"{share} {patterns.number(c)} times what they should be, and all others right", c, wrong


def fewer_contributions(e):
    """All wrong elements are read at several windows and get less than they should; all that are read once are right."""
    used, _, spurious = uses(e)
    places = _places(e)[:1]
    if spurious.any() or not places or len(e.shape) < 3 or e.name != next(iter(e.problem.arrays)):
        return None
    what, place = places[0]
    reads = np.array([len(set(place[used[:, s]])) for s in range(used.shape[1])])
    large = abs(e.A) > 100 * e.tolerance
    share = e.B[large] / e.A[large]
    if (reads[e.wrong] < 2).any() or (reads[~e.wrong] == 1).sum() < 3 or share.min() < -1e-3 or share.max() > 1 + 1e-3:
        return None
    return "missing-accumulation", (f"All {int(e.wrong.sum())} wrong elements are read at several {what} and get less than they should; "
                                    f"the {int((reads == 1).sum())} that are read once are right.")


# ---- where the wrong elements are

def border(e):
    """Only elements on the outermost lines are wrong."""
    if len(e.shape) < 3 or e.name in ("w", "weight", "weights"):
        return None
    wrong = np.zeros(e.shape, bool)
    wrong.ravel()[e.columns] = e.wrong
    text = patterns.border(wrong, patterns.axis_names(len(e.shape)))
    inside = e.wrong.size - e.wrong.sum()
    return ("border", text) if text and inside > 0 and e.wrong.sum() > 1 else None


# ---- a factor a column or a row

def factor_each(e):
    """B is A with each column, or each row, times a number of its own: a scale or a local slope was forgotten."""
    used, _, spurious = uses(e)
    if spurious.any() or len(e.A) < 2:
        return factor_is_an_input(e)
    for axis, what in ((0, "element"), (1, "output")):
        A, B = (e.A, e.B) if axis == 0 else (e.A.T, e.B.T)
        count, other = ((abs(A) > e.tolerance).sum(axis=i) for i in (0, 1))
        if np.median(count) < 2 and (axis == 1 or np.median(other) > 1):                 # with one slope each there is always a factor
            continue
        size = (A * A).sum(axis=0)
        c = (A * B).sum(axis=0) / np.maximum(size, 1e-300)
        if (abs(B - c * A) > 10 * e.tolerance).any():
            continue
        c = c[size > e.tolerance ** 2]
        if abs(c).max(initial=0.0) > 0 and len(c) > 1:
            return factor_is_an_input(e) or ("constant-factor", f"Each {what}'s slopes are right but for one factor, from {c.min():.4g} "
                                              f"to {c.max():.4g}, whatever dout is.")
    return None


def factor_is_an_input(e):
    """The true gradient is the claimed one times another input (forgotten), or the claimed is the true one times it (once too often)."""
    for name, array in {**e.problem.arrays, **e.problem.others}.items():
        if array.dtype.kind != "f" or array.size < 2 or np.ptp(array) == 0 or name == e.name:
            continue
        for wide in _broadcasts(array, e.shape):
            with np.errstate(all="ignore"):
                for a, b, text in ((e.n, e.g * wide, "is forgotten"), (e.g, e.n * wide, "is multiplied by once too often"),
                                   (e.n, e.g / wide, "should divide it")):
                    if _proportional(a, b):
                        return "constant-factor", f"{name} {text}: then every element is right, up to one number for all."
    return None


def _proportional(a, b):
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    size = float((b * b).sum())
    return len(a) > 2 and size > 0 and bool((abs(a - (a * b).sum() / size * b) <= 1e-5 * abs(a).max()).all())


def _broadcasts(array, shape):
    """The array as it may stand beside a gradient of this shape: the same shape, or one number a channel."""
    if array.shape == shape:
        yield array
    elif array.ndim == 1 and len(shape) > 1:
        for axis in range(len(shape)):
            if shape[axis] == len(array):
                yield np.broadcast_to(array.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


def name_of(e, s):
    """x[0, 1], the element of column s."""
    return f"{e.name}{[int(i[s]) for i in e.column_index]}"


def index_of(index, m):
    """[0, 1], the output of row m."""
    return str([int(i[m]) for i in index]) if len(index) else ""
