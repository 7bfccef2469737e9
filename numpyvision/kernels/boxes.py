"""Overlap, suppression and matching of boxes, and boxes as deltas, as plain loops.

What comes out of most of these loops is a decision (IoU > threshold, the larger of two), so they are compiled without fast-math:
every bit equals NumPy's. Boxes are turned into columns first, so that the inner loops run over contiguous memory.
Deltas are computed box by box, on flat arrays: LLVM then knows that sides lie 4 apart, and does 16 boxes at a time.
"""
import numpy as np

from numpyvision.kernels.elementwise import exp_negative
from numpyvision.kernels.jit import jit, jit_exact

LANES = 64               # of `largest`: four vectors of 16 floats


@jit_exact
def columns(boxes):
    """boxes (N, 4) -> x1, y1, x2, y2 and area, (N,) each; a reversed box has area 0."""
    x1, y1, x2, y2 = boxes[:, 0].copy(), boxes[:, 1].copy(), boxes[:, 2].copy(), boxes[:, 3].copy()
    area, zero = np.empty_like(x1), boxes.dtype.type(0)
    for i in range(len(boxes)):
        area[i] = max(x2[i] - x1[i], zero) * max(y2[i] - y1[i], zero)
    return x1, y1, x2, y2, area


@jit_exact
def clip(boxes, width, height):
    """boxes (N, 4), cut to an image. NaN is neither below nor above, so it stays NaN."""
    out, zero = np.empty_like(boxes), boxes.dtype.type(0)
    for i in range(len(boxes)):
        for k in range(4):
            side, limit = boxes[i, k], height if k % 2 else width
            side = zero if side < zero else side
            out[i, k] = limit if side > limit else side
    return out


@jit_exact
def clip_backward(dout, boxes, width, height):
    """dout where the side was inside the image, its border included, else 0; all flat. NaN is not inside."""
    dboxes, zero = np.empty_like(dout), dout.dtype.type(0)
    for n in range(dout.size // 4):
        for k in range(4):
            i = 4 * n + k
            side = boxes[i]
            dboxes[i] = dout[i] if side >= zero and side <= (height if k % 2 else width) else zero
    return dboxes


@jit_exact
def ratios(boxes, references):
    """Width over width and height over height, (2 N,), and how many boxes or references have none. NumPy takes the logarithms."""
    out, empty = np.empty(boxes.size // 2, boxes.dtype), 0
    for n in range(boxes.size // 4):
        for k in range(2):                                                 # along x, then along y
            i = 4 * n + k
            side, reference_side = boxes[i + 2] - boxes[i], references[i + 2] - references[i]
            empty += not (side > 0 and reference_side > 0)
            out[2 * n + k] = side / reference_side
    return out, empty


@jit_exact
def encode(boxes, references, weights, growth):
    """Deltas from the references to the boxes, all (4 N,); growth (2 N,) are the logarithms of the ratios."""
    out, half = np.empty_like(boxes), boxes.dtype.type(0.5)
    for n in range(boxes.size // 4):
        for k in range(2):
            i = 4 * n + k
            way = (boxes[i] + boxes[i + 2]) * half - (references[i] + references[i + 2]) * half
            out[i] = way / (references[i + 2] - references[i]) * weights[k]
            out[i + 2] = growth[2 * n + k] * weights[k + 2]
    return out


@jit
def encode_backward(dout, boxes, references, weights):
    """dboxes and dreferences: see ops.box_transform.encode_boxes_backward."""
    dboxes, dreferences, half = np.empty_like(boxes), np.empty_like(boxes), boxes.dtype.type(0.5)
    for n in range(boxes.size // 4):
        for k in range(2):
            i = 4 * n + k
            side, reference_side = boxes[i + 2] - boxes[i], references[i + 2] - references[i]
            way = (boxes[i] + boxes[i + 2]) * half - (references[i] + references[i + 2]) * half
            dcentre, dsize = dout[i] * weights[k] / reference_side, dout[i + 2] * weights[k + 2]
            grow, shrink = dsize / side, -(dcentre * way + dsize) / reference_side
            dboxes[i], dboxes[i + 2] = dcentre * half - grow, dcentre * half + grow
            dreferences[i], dreferences[i + 2] = -dcentre * half - shrink, -dcentre * half + shrink
    return dboxes, dreferences


@jit_exact
def growths(deltas, weights, most):
    """The last two deltas without their weights, (2 N,), and at most `most`. NaN stays NaN. NumPy takes the exponential."""
    out = np.empty(deltas.size // 2, deltas.dtype)
    for n in range(deltas.size // 4):
        for k in range(2):
            growth = deltas[4 * n + k + 2] / weights[k + 2]
            out[2 * n + k] = most if growth > most else growth
    return out


@jit_exact
def decode(deltas, references, weights, growth):
    """The boxes that deltas lead to from the references, all (4 N,); growth (2 N,) is what their widths and heights are multiplied by."""
    out, half = np.empty_like(deltas), deltas.dtype.type(0.5)
    for n in range(deltas.size // 4):
        for k in range(2):
            i = 4 * n + k
            side = references[i + 2] - references[i]
            centre = (references[i] + references[i + 2]) * half + side * (deltas[i] / weights[k])
            reach = side * growth[2 * n + k] * half
            out[i], out[i + 2] = centre - reach, centre + reach
    return out


@jit
def decode_backward(dout, deltas, references, weights, most):
    """ddeltas and dreferences: see ops.box_transform.decode_boxes_backward."""
    ddeltas, dreferences = np.empty_like(deltas), np.empty_like(deltas)
    half, zero = deltas.dtype.type(0.5), deltas.dtype.type(0)
    for n in range(deltas.size // 4):
        for k in range(2):
            i = 4 * n + k
            side = references[i + 2] - references[i]
            way, growth = deltas[i] / weights[k], deltas[i + 2] / weights[k + 2]
            factor = exp_negative(most if growth > most else growth)
            dcentre, dsize = dout[i] + dout[i + 2], (dout[i + 2] - dout[i]) * half
            ddeltas[i] = dcentre * side / weights[k]
            ddeltas[i + 2] = dsize * side * factor / weights[k + 2] if growth < most else zero
            spread = dcentre * way + dsize * factor                        # to the reference's side
            dreferences[i], dreferences[i + 2] = dcentre * half - spread, dcentre * half + spread
    return ddeltas, dreferences


@jit_exact
def pair_iou(u1, v1, u2, v2, a, x1, y1, x2, y2, b, zero, tiny):
    """IoU of box (u1, v1, u2, v2) of area a with box (x1, y1, x2, y2) of area b, all scalars; no branch, so that loops vectorise."""
    inter = max(min(u2, x2) - max(u1, x1), zero) * max(min(v2, y2) - max(v1, y1), zero)
    return inter / max(a + b - inter, tiny)                                # an empty union gives 0 / tiny = 0


@jit_exact
def box_iou(boxes1, boxes2):
    """boxes1 (N, 4), boxes2 (M, 4) -> (N, M)."""
    out = np.empty((len(boxes1), len(boxes2)), boxes1.dtype)
    zero, tiny = boxes1.dtype.type(0), np.finfo(boxes1.dtype).tiny
    u1, v1, u2, v2, area1 = columns(boxes1)
    x1, y1, x2, y2, area2 = columns(boxes2)
    for i in range(len(boxes1)):
        for j in range(len(boxes2)):
            out[i, j] = pair_iou(u1[i], v1[i], u2[i], v2[i], area1[i], x1[j], y1[j], x2[j], y2[j], area2[j], zero, tiny)
    return out


@jit_exact
def nms(boxes, starts, threshold):
    """boxes (N, 4) group by group, best first within each; group g is rows starts[g]:starts[g + 1] -> kept (N,) bool."""
    dropped = np.zeros(len(boxes), np.uint8)
    zero, tiny = boxes.dtype.type(0), np.finfo(boxes.dtype).tiny
    u1, v1, u2, v2, area = columns(boxes)
    for g in range(len(starts) - 1):
        for i in range(starts[g], starts[g + 1]):
            if not dropped[i]:
                rest = slice(i + 1, starts[g + 1])                         # the rows that box i may still drop
                x1, y1, x2, y2, b, d = u1[rest], v1[rest], u2[rest], v2[rest], area[rest], dropped[rest]
                for j in range(len(d)):
                    iou = pair_iou(u1[i], v1[i], u2[i], v2[i], area[i], x1[j], y1[j], x2[j], y2[j], b[j], zero, tiny)
                    d[j] |= np.uint8(iou > threshold)
    return dropped == 0


@jit_exact
def match(iou, fg_threshold, bg_threshold, allow_low_quality):
    """iou (G, A) -> matched_idx (A,), labels (A,): see boxes.matching.match_boxes."""
    G, A = iou.shape
    matched_idx, labels = np.zeros(A, np.int64), np.zeros(A, np.int64)
    if G == 0:
        return matched_idx, labels
    best = iou[0].copy()
    for g in range(1, G):
        row = iou[g]
        for a in range(A):                                                 # choices instead of branches, so that it vectorises
            better = row[a] > best[a]
            best[a] = row[a] if better else best[a]
            matched_idx[a] = g if better else matched_idx[a]
    for a in range(A):
        labels[a] = 1 if best[a] >= fg_threshold else (0 if best[a] < bg_threshold else -1)
    if allow_low_quality and A > 0:
        for g in range(G):
            row = iou[g]
            top = largest(row)
            if top > 0:
                for a in range(A):
                    labels[a] = 1 if row[a] == top else labels[a]
    return matched_idx, labels


@jit_exact
def largest(row):
    """The largest of a row, in LANES races side by side: a single one would wait for each comparison before the next."""
    lanes = np.full(LANES, row[0], row.dtype)
    for start in range(0, row.size - LANES + 1, LANES):
        for j in range(LANES):
            value = row[start + j]
            lanes[j] = value if value > lanes[j] else lanes[j]
    top = lanes[0]
    for value in lanes:
        top = value if value > top else top
    for i in range(row.size - row.size % LANES, row.size):
        top = row[i] if row[i] > top else top
    return top
