"""The first tensor that differs: is it one, and how to say where it is in words of the problem (RoI, bin, channel) and not of arrays."""
import functools
import inspect

import numpy as np

from numpyvision import check
from numpyvision.exercises import contract_lines

SAME = 1e-8                # float64: two derivations of one formula agree to about 1e-13 of the largest value. float32 inside: 1e-7
FLOAT32 = 1e-5             # up to here it may be somebody's float32
SIDES, DELTAS = ("x1", "y1", "x2", "y2"), ("dx", "dy", "dw", "dh")
ROI = ("batch_index", *SIDES)

# What the numbers of a result are called, where it is not one array, and what its axes count.
RESULTS = {"match_boxes": ("matched_idx", "labels")}
AXES = {("roi_align", "out"): ("RoI", "channel", "bin row", "bin column"), ("roi_pool", "out"): ("RoI", "channel", "bin row", "bin column"),
        ("conv2d", "dw"): ("filter", "channel", "kernel row", "kernel column"), ("conv2d", "db"): ("filter",),
        ("conv_transpose2d", "dw"): ("channel", "filter", "kernel row", "kernel column"), ("conv_transpose2d", "db"): ("filter",),
        ("linear", "dw"): ("input", "output"), ("linear", "db"): ("output",),
        ("box_iou", "result"): ("box of boxes1", "box of boxes2"), ("box_ioa", "result"): ("box", "region"),
        ("match_boxes", "matched_idx"): ("box",), ("match_boxes", "labels"): ("box",), ("ignore_inside", "result"): ("box",),
        ("softmax_cross_entropy", "dlogits"): ("row", "class"), ("crop_masks", "result"): ("RoI", "cell row", "cell column"),
        ("paste_masks", "result"): ("box", "y", "x"), ("assign_levels", "result"): ("box",), ("remove_small", "result"): ("place",),
        ("nms", "result"): ("place",), ("batched_nms", "result"): ("place",), ("sample_labels", "result"): ("place",)}
COLUMNS = {"drois": ("RoI", ROI), "dpred": ("box", DELTAS), "ddeltas": ("box", DELTAS), "dboxes": ("box", SIDES),
           "dreferences": ("box", SIDES)}
BOXES = {"encode_boxes": DELTAS, "decode_boxes": SIDES, "clip_boxes": SIDES, "cell_anchors": SIDES, "grid_anchors": SIDES,
         "boxes_to_rois": ROI}
REGIONS = ("box", "heads", "mask", "keypoint")       # layers whose maps are of one RoI each, not of one image


class Divergence(Exception):
    """The first call that went otherwise than the library's: `call`, a code of check.DIAGNOSES, and what to say about it.

    Where two numbers differ: `name` of the array, `index`, `got`, `expected`.
    """

    def __init__(self, call, code, message, name="", index=(), got=None, expected=None):
        super().__init__(f"{call}: {message}")
        self.call, self.code, self.message = call, code, message
        self.name, self.index, self.got, self.expected = name, index, got, expected
        self.before = 0                              # how many calls agreed before

    @property
    def op(self):
        """The function whose call it was."""
        return self.call.op


def compare(call, want, hint):
    """Raise Divergence if call.result is not want.result, to rounding. hint(call) -> what else there is to say."""
    for name, got, expected in pairs(call, want):
        problem = differs(name, got, expected, axes(call, name, np.shape(expected)))
        if problem:
            code, text, index = problem
            values = (got[index], expected[index]) if index is not None else (None, None)
            raise Divergence(call, code, f"{text} {hint(call)}".strip(), name, index or (), *values)


def pairs(call, want):
    """[(name, got, expected)] of everything in two results, which may differ in form."""
    names = result_names(call.op, want.result)
    if isinstance(want.result, (tuple, list)):
        if not isinstance(call.result, (tuple, list)) or len(call.result) != len(want.result):
            raise Divergence(call, "wrong-shape", f"it must return {len(want.result)} things, {', '.join(names)}; got {kind(call.result)}")
        return [*zip(names, call.result, want.result, strict=True), *written(call, want)]
    return [(names[0], call.result, want.result), *written(call, want)]


def written(call, want):
    """What the function was allowed to write."""
    return [(f"{name} after the call", call.written[name], value) for name, value in want.written.items()]


def differs(name, got, expected, axes):
    """None, or (code, text, index or None)."""
    if expected is None or isinstance(expected, (str, bool, int)) or not hasattr(expected, "dtype"):
        if isinstance(expected, (tuple, list, dict)) or type(expected).__module__ != "builtins":
            return None if type(got) is type(expected) else ("wrong-shape", f"{name} must be {kind(expected)}, got {kind(got)}.", None)
        return None if got is expected or got == expected else ("unknown", f"{name} must be {expected!r}, got {got!r}.", None)
    if not hasattr(got, "dtype") and not (expected.ndim == 0 and isinstance(got, (int, float))):
        return "wrong-shape", f"{name} must be {kind(expected)}, got {kind(got)}.", None
    got = np.asarray(got)
    if got.shape != expected.shape:
        return "wrong-shape", f"{name} must be {kind(expected)}, got {kind(got)}.", None
    if got.dtype.kind != expected.dtype.kind and "f" in (got.dtype.kind, expected.dtype.kind):
        return "wrong-dtype", f"{name} must hold {expected.dtype}, got {got.dtype}.", None
    wrong = apart(got, expected)
    if not wrong.any():
        return None
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0.0) if expected.dtype.kind == "f" else 0.0
    place = f"at {place_of(index, axes)} " if index else ""
    text = f"{name} {place}is {number(got[index])}, the library's is {number(expected[index])}; {wrong.sum()} of {wrong.size} differ."
    if expected.dtype.kind == "f" and np.abs(got - expected).max() <= FLOAT32 * scale:
        text += " They are that near that it may be float32 somewhere inside: here everything is float64."
    code, evidence = check.compare(name, got, expected, [a if isinstance(a, str) else "column" for a in axes], SAME) or ("unknown", "")
    code = "unknown" if code == "wrong-forward" and name.startswith("d") else code
    return code, f"{text} {evidence.partition('values differ.')[2].strip()}".strip(), index


def apart(got, expected):
    """Which numbers differ beyond rounding: a bool array. NaN equals NaN."""
    if expected.dtype.kind != "f":
        return np.asarray(got != expected)
    finite = np.isfinite(expected)
    tolerance = SAME * np.abs(expected[finite]).max(initial=0.0) + 1e-13
    with np.errstate(invalid="ignore"):
        near = np.where(finite, np.abs(got - expected) <= tolerance, (got == expected) | (np.isnan(got) & np.isnan(expected)))
    return ~near


# ---- words

def place_of(index, axes):
    """(3, 0, 2, 1) -> "RoI 3, channel 0, bin row 2, bin column 1"; a column that has a name of its own is called by it."""
    said = []
    for i, axis in zip(index, axes, strict=True):
        said.append(axis[i] if isinstance(axis, tuple) else f"{axis} {i}")
    return ", ".join(said)


def axes(call, name, shape):
    """What each axis of this array counts: a name, or a tuple with a name for each of its columns."""
    stem, name, ndim = stem_of(call.op), name.removesuffix(" after the call"), len(shape)
    known = AXES.get((stem, name), ())
    if len(known) == ndim:
        return known
    if ndim == 2 and name in COLUMNS and shape[1] == len(COLUMNS[name][1]):
        return COLUMNS[name]
    if 2 <= ndim <= 3 and name in ("out", "result") and shape[-1] == len(BOXES.get(stem, ())):
        return (*("box", "class")[:ndim - 1], BOXES[stem])
    row = "RoI" if call.layer.split(".")[0] in REGIONS else "image"
    if name in ("out", "dx", "dlogits", "dout") and ndim in (2, 4):
        return (row, "channel", "y", "x") if ndim == 4 else (row, "feature")
    if ndim == 1:
        return ("channel",) if name.startswith(("dgamma", "dbeta", "running", "db")) else ("place",)
    if ndim == 3 and row == "RoI":
        return "RoI", "y", "x"
    return tuple(f"axis {i}" for i in range(ndim))


def result_names(op, result):
    """A name for each thing that this function returns."""
    count = len(result) if isinstance(result, (tuple, list)) else 1
    if op.endswith("_forward"):
        return ["out"] if count == 1 and not isinstance(result, (tuple, list)) else [f"out[{i}]" for i in range(count)]
    if op.endswith("_backward"):
        names = argument_names(function_of(f"{stem_of(op)}_forward"), count)
        return [f"d{name}" for name in names]
    if op in RESULTS and count == len(RESULTS[op]):
        return list(RESULTS[op])
    return ["result"] if not isinstance(result, (tuple, list)) else [f"result[{i}]" for i in range(count)]


def stem_of(op):
    return op.removesuffix("_forward").removesuffix("_backward")


@functools.cache
def function_of(op):
    """The library's function of this name; None if there are several."""
    from numpyvision import plug
    try:
        return plug.find(op)
    except ValueError:
        return None


def argument_names(function, count):
    """The names of the first `count` arguments; numbers for those behind `*args`."""
    names = [] if function is None else [p.name for p in inspect.signature(function).parameters.values() if p.kind != p.VAR_POSITIONAL]
    return (names + [str(i) for i in range(len(names), count)])[:count]


def may_write(op):
    """The arguments that an operation may write: batch norm's running statistics."""
    lines = contract_lines.lines_of(stem_of(op)) if op.endswith("_forward") else []
    return lines[0].mutates if lines else ()


def kind(value):
    """What a value is, in few words."""
    if hasattr(value, "dtype"):
        return f"an array {np.shape(value)} of {value.dtype}" if np.ndim(value) else f"a number of {value.dtype}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def number(value):
    return f"{value:.8g}" if np.asarray(value).dtype.kind == "f" else str(value)


# ---- inputs and caches

def arrays(name, value):
    """[(name, array)] of everything in an argument: arrays, lists of them, caches."""
    if isinstance(value, np.ndarray):
        return [(name, value)]
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in arrays(f"{name}.{key}", item)]
    if isinstance(value, (tuple, list)):
        return [pair for i, item in enumerate(value) for pair in arrays(f"{name}[{i}]", item)]
    return []


def changed(name, before, after):
    """The name of the first array in an argument that has other values than before; "" if none has."""
    for (label, old), (_, new) in zip(arrays(name, before), arrays(name, after), strict=False):
        if old.shape != new.shape or not np.array_equal(old, new, equal_nan=old.dtype.kind in "fc"):
            return label
    return ""


def wrong_dtype(got, want):
    """"float64", where the floating numbers of a result have another dtype than expected; "" if all is well, or not comparable."""
    got, want = (list(r) if isinstance(r, (tuple, list)) else [r] for r in (got, want))
    for a, b in zip(got, want, strict=False):
        if hasattr(a, "dtype") and hasattr(b, "dtype") and b.dtype.kind == "f" and a.dtype != b.dtype:
            return str(a.dtype)
    return ""


def explain_cache(name, mine, theirs):
    """What a cache of the student's forward `name` has otherwise than the library's: a sentence, "" if nothing."""
    where = f"{name} itself returned what it should, so look at its cache"
    if not isinstance(mine, dict):
        return f"{where}: it must be a Cache, and is {kind(mine)}."
    missing = [key for key in theirs if key not in mine]
    if missing:
        return f"{where}: it lacks {', '.join(missing)}."
    for key, value in theirs.items():
        if isinstance(value, dict):                                    # an operation made of two keeps both their caches
            problem = explain_cache(name, mine[key], value)
            if problem:
                return problem
        elif hasattr(value, "dtype"):
            problem = differs(key, mine[key], value, tuple(f"axis {i}" for i in range(np.ndim(value))))
            if problem:
                return f"{where}: {problem[1]}"
        elif mine[key] != value:
            return f"{where}: {key} should be {value!r}, and is {mine[key]!r}."
    return ""
