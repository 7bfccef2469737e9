"""Rules about gradient that arrives where it does not belong: in another image, at elements that no output read. A, B: diagnosis.py."""
import numpy as np

from numpyvision.check import patterns
from numpyvision.check.diagnosis_entries import index_of, name_of, uses


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
    if e.shape[0] != e.out_shape[0] and not _only_the_image_differs(e, leaks.any(axis=1)) and _rows_exchanged(e):
        return "wrong-routing", "Each output hands back the gradient that is due to another output: rows of dout are mixed up."
    if _crosses_channels(e, lost, spurious):
        return None
    m, n = (int(i) for i in np.argwhere(leaks)[0])
    word = "image" if len(e.shape) > 2 else "row"
    return "batch-leak", (f"Output {index_of(e.row_index, m)} read {word} {int(np.argmax(reads[m]))} of {e.name} alone, "
                          f"and yet hands a gradient to {word} {n}.")


def _only_the_image_differs(e, rows):
    """With all images laid over each other, these rows of B are those of A."""
    A, B = (np.zeros((int(rows.sum()), *e.shape)) for _ in range(2))
    A.reshape(len(A), -1)[:, e.columns], B.reshape(len(B), -1)[:, e.columns] = e.A[rows], e.B[rows]
    return bool((abs(A.sum(axis=1) - B.sum(axis=1)) <= e.tolerance).all())


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


def sent_elsewhere(e):
    """Gradient arrives at elements that the output never read."""
    used, lost, spurious = uses(e)
    if not spurious.any():
        return None
    m, s = (int(i) for i in np.argwhere(spurious)[0])
    place = f"out{index_of(e.row_index, m)} does not depend on {name_of(e, s)}, and yet hands it {e.B[m, s]:.6g} times its dout"
    if not lost.any():
        if len(e.A) > 1 and _copies(e, used, spurious):
            return "double-counted", f"{place}: what {name_of(e, s)} owes is counted more than once."
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
    """Most spurious rows repeat what another row rightly claims, or hand out a whole multiple of the right amount."""
    right = ~spurious.any(axis=1) & used.any(axis=1)
    rows = np.flatnonzero(spurious.any(axis=1))
    with np.errstate(all="ignore"):
        times = e.B[rows].sum(axis=1) / e.A[rows].sum(axis=1)
        multiple = (times > 1.5) & (abs(times - np.round(times)) < 1e-3)
    again = [twice or (abs(e.A[right] - e.B[m]) <= e.tolerance).all(axis=1).any() for m, twice in zip(rows, multiple, strict=True)]
    return np.mean(again) > 0.5


def redistributed(e):
    """The right amount of gradient leaves every output, but it is shared out otherwise: to the nearest cell, half a pixel away."""
    if len(e.A) < 2 or len(e.shape) < 3:
        return None
    sums, claimed = e.along(np.ones(e.shape)), e.claims.sum(axis=1)                                # of all elements, not of the S
    full = abs(sums) > 1e-3 * e.scale
    if not full.mean() > 0.5 or (abs(sums - claimed) > 1e-4 * abs(sums).max()).any():
        return None
    wrong, moved = (abs(e.R) > e.tolerance).any(axis=1) & full, []
    for axis in range(2, len(e.shape)):                                # how far the centre of mass of each wrong row is moved
        place = np.indices(e.shape)[axis].astype(float)
        way = (e.claims[wrong] @ place.ravel() - e.along(place)[wrong]) / sums[wrong]
        middle = float(np.median(way))
        moved.append(middle if (abs(way - middle) <= 1e-3).mean() > 0.5 else np.nan)
    if np.isfinite(moved).all() and np.abs(moved).max(initial=0) > 1e-3:
        axes = patterns.axis_names(len(e.shape))[2:]
        steps = ", ".join(f"{m:+.3g} along the {name} axis" for name, m in zip(axes, moved, strict=True) if abs(m) > 1e-3)
        return "shifted", f"Every output hands back the right amount, but to elements that lie {steps} from those that it read."
    return "wrong-routing", "Every output hands back the right amount of gradient, but shares it out otherwise than it read the elements."
