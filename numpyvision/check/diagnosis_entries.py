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


# ---- images

def gradient_to_other_images(e):
    """An output of one image hands gradient to another, which it never read."""
    first = next(iter(e.problem.arrays)).split(".")[0]
    if e.name.split(".")[0] != first or len(e.shape) < 2 or e.shape[0] < 2 or len(e.A) < 2:
        return None
    used, lost, spurious = uses(e)
    image = e.column_index[0]
    reads = np.stack([used[:, image == n].any(axis=1) for n in range(e.shape[0])], axis=1)            # (M, N)
    gets = np.stack([spurious[:, image == n].any(axis=1) for n in range(e.shape[0])], axis=1)
    own = reads.sum(axis=1) == 1                                      # outputs that read exactly one image
    leaks = own[:, None] & gets & ~reads
    if not own.any() or (reads.sum(axis=1) > 1).any() or not leaks.any():
        return None
    if e.shape[0] != e.out_shape[0] and _rows_exchanged(e):
        return "wrong-routing", "Each output hands back the gradient that is due to another output: rows of dout are mixed up."
    if _crosses_channels(e, lost, spurious):
        return None
    m, n = (int(i) for i in np.argwhere(leaks)[0])
    word = "image" if len(e.shape) > 2 else "row"
    return "batch-leak", (f"Output {_index(e.row_index, m)} read {word} {int(np.argmax(reads[m]))} of {e.name} alone, "
                          f"and yet hands a gradient to {word} {n}.")


def _crosses_channels(e, lost, spurious):
    """Right slopes are lost, and wrong ones made in other channels of the right image too: the image is not what was mistaken."""
    if len(e.shape) < 3 or len(e.out_shape) != len(e.shape) or e.shape[:2] != e.out_shape[:2] or not lost.any():
        return False
    same_image = e.row_index[0][:, None] == e.column_index[0]
    other_channel = e.row_index[1][:, None] != e.column_index[1]
    return bool((spurious & same_image & other_channel).any())


def _rows_exchanged(e):
    """Every row of B that is not zero is a row of A, though another one."""
    rows = [m for m in range(len(e.B)) if (abs(e.B[m]) > e.tolerance).any()]
    return bool(rows) and all((abs(e.A - e.B[m]) <= e.tolerance).all(axis=1).any() for m in rows)


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
                return "missing-sum", (f"{_name(e, s)} was used by outputs at all {size} places along axis {axis} of out "
                                       f"({patterns.axis_names(len(e.out_shape))[axis]}), and its gradient holds place {at} alone.")
            gone = set(place[lost.any(axis=1)])
            if 0 < len(gone) <= 6 and not gone & set(place[kept[:, columns].any(axis=1)]):
                return "missing-sum", (f"What comes from {patterns.axis_names(len(e.out_shape))[axis]} "
                                       f"{', '.join(map(str, sorted(int(i) for i in gone)))} of out is not in the sum.")
    for what, place in _places(e):
        left = [(len(set(place[used[:, s]])), len(set(place[kept[:, s]]))) for s in range(used.shape[1])]
        shown = next((s for s in columns if left[s][0] > 1 and left[s][1] == 1), None)
        if shown is not None and max(k for _, k in left) <= 1:
            return "missing-accumulation", (f"{_name(e, shown)} was read at {left[shown][0]} {what}, and only one of them hands its "
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
    if c == 0:
        edges = border(e)
        if edges:
            return edges
        if e.name == next(iter(e.problem.arrays)) and (accumulated := _fewer_windows(e)):
            return accumulated
    m, s = (int(i) for i in np.argwhere(wrong)[0])
    return code, f"{text}, such as that of {_name(e, s)} on out{_index(e.row_index, m)}: {e.B[m, s]:.6g}, and not {e.A[m, s]:.6g}."


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
    if abs(ratios - c).max() > 1e-3 * max(abs(c), 1):
        return None
    share = f"{int(wrong.sum())} of {int(used.sum())} single slopes are"
    if abs(c) < 1e-3:
        return "missing-path", f"{share} missing while all others are right", 0, wrong
    if abs(c + 1) < 1e-3:
        return "sign", f"{share} of the wrong sign while all others are right", c, wrong
    if c > 1.5 and abs(c - round(c)) < 1e-3 and (used & ~wrong).any():
        return "double-counted", f"{share} counted {round(c)} times while all others are right", c, wrong
    return "constant-factor", f"{share} {patterns.number(c)} times what they should be, and all others right", c, wrong


def _fewer_windows(e):
    """Some windows' contributions are lost, at elements that several windows read."""
    used, lost, _ = uses(e)
    for what, place in _places(e)[:1]:
        for s in np.flatnonzero(e.wrong):
            if len(set(place[used[:, s]])) < 2 or not set(place[lost[:, s]]) - set(place[(used & ~lost)[:, s]]):
                return None
        alone = [s for s in range(used.shape[1]) if len(set(place[used[:, s]])) == 1]
        if alone and len(e.shape) > 2:
            return "missing-accumulation", (f"All {int(e.wrong.sum())} wrong elements are read at several {what}, and some of their "
                                            f"contributions are lost; the {len(alone)} that are read once are right.")
    return None


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


# ---- spurious entries

def sent_elsewhere(e):
    """Gradient arrives at elements that the output never read."""
    used, lost, spurious = uses(e)
    if not spurious.any():
        return None
    m, s = (int(i) for i in np.argwhere(spurious)[0])
    place = f"out{_index(e.row_index, m)} does not depend on {_name(e, s)}, and yet hands it {e.B[m, s]:.6g} times its dout"
    if not lost.any():
        if len(e.A) > 1 and _copies(e, used, spurious):
            return "double-counted", f"{place}: what {_name(e, s)} owes is counted more than once."
        return "wrong-routing", f"{place}, and {int(spurious.sum())} more such slopes are claimed where there are none."
    rows = np.flatnonzero((lost | spurious).any(axis=1))
    if not (used & ~lost)[rows].any() and not ((abs(e.B) > e.tolerance) & used).any():
        return "wrong-routing", f"{place}; it reaches exactly the elements that it should not, {int(spurious.sum())} of them."
    kept = (abs(e.B.sum(axis=1) - e.A.sum(axis=1)) <= 1e-3 * abs(e.A).sum(axis=1).max())
    same = kept | (abs(np.sort(e.B, axis=1) - np.sort(e.A, axis=1)) <= e.tolerance).all(axis=1)
    if same.mean() > 0.5 and e.complete:
        return "wrong-routing", f"{place}; the right amount of gradient leaves {int(same.sum())} of {len(same)} outputs for wrong elements."
    if _rows_exchanged(e):
        return "wrong-routing", f"{place}: it hands back what is due to another output."
    return "wrong-routing", f"{place}; {int(lost.sum())} right slopes are lost and {int(spurious.sum())} wrong ones made."


def _copies(e, used, spurious):
    """Most spurious rows repeat what another row rightly claims, or are right rows that reach further elements too."""
    right = ~spurious.any(axis=1) & used.any(axis=1)
    rows = np.flatnonzero(spurious.any(axis=1))
    again = [used[m].any() or (abs(e.A[right] - e.B[m]) <= e.tolerance).all(axis=1).any() for m in rows]
    return np.mean(again) > 0.5


def redistributed(e):
    """The right amount of gradient leaves every output, but it is shared out otherwise: to the nearest cell, half a pixel away."""
    if len(e.A) < 2 or len(e.shape) < 3 or not e.complete:
        return None
    sums, claimed = e.A.sum(axis=1), e.B.sum(axis=1)
    if not (abs(sums) > 1e-3 * e.scale).mean() > 0.5 or (abs(sums - claimed) > 1e-4 * abs(sums).max()).any():
        return None
    wrong = (abs(e.R) > e.tolerance).any(axis=1) & (abs(sums) > 1e-3 * e.scale)
    moved = []
    for axis in range(2, len(e.shape)):                                # how far the centre of mass of each wrong row is moved
        place = e.column_index[axis]
        way = (e.R[wrong] @ place) / sums[wrong]
        middle = float(np.median(way))
        moved.append(-middle if (abs(way - middle) <= 1e-3).mean() > 0.5 else np.nan)
    if np.isfinite(moved).all() and np.abs(moved).max(initial=0) > 1e-3:
        axes = patterns.axis_names(len(e.shape))[2:]
        steps = ", ".join(f"{m:+.3g} along the {name} axis" for name, m in zip(axes, moved, strict=True) if abs(m) > 1e-3)
        return "shifted", f"Every output hands back the right amount, but to elements that lie {steps} from those that it read."
    return "wrong-routing", "Every output hands back the right amount of gradient, but shares it out otherwise than it read the elements."


def _name(e, s):
    return f"{e.name}{[int(i[s]) for i in e.column_index]}"


def _index(index, m):
    return str([int(i[m]) for i in index]) if len(index) else ""
