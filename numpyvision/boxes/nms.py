"""Non-maximum suppression: a detector finds every object several times; keep the surest box of each heap.

Shapes here: N boxes of one image, n of them kept.
"""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.boxes import convert, iou
from numpyvision.check import arguments


def nms(boxes, scores, iou_threshold):
    """Greedy suppression: take the best box, drop all that overlap it by more than the threshold, repeat.

    boxes (N, 4) xyxy, scores (N,) -> kept indices (n,) int64, best score first, ties by index. A box is dropped at
    IoU > iou_threshold, not at equality. A reversed box overlaps nothing: it is kept and drops nobody. NaN scores: ValueError.
    """
    _check(boxes, scores, iou_threshold)
    if backend.compiled(boxes):
        order = np.argsort(-scores, kind="stable")                         # "stable": equal scores stay in order of index
        starts = np.array([0, len(order)], dtype=np.int64)
        return order[kernels.boxes.nms(boxes[order], starts, boxes.dtype.type(iou_threshold))]
    xp = backend.get_array_module(boxes, scores)
    kept, left = [], xp.argsort(-scores, kind="stable")
    while len(left):
        best, left = left[:1], left[1:]
        kept.append(best)
        left = left[iou.box_iou(boxes[best], boxes[left])[0] <= iou_threshold]
    return xp.concatenate(kept) if kept else left


def batched_nms(boxes, scores, idxs, iou_threshold):
    """nms within each group: boxes of different groups (classes, images, levels) never drop each other.

    boxes (N, 4), scores (N,), idxs (N,) integers -> kept indices (n,) int64 over all groups, best score first, ties by index.
    """
    _check(boxes, scores, iou_threshold)
    arguments.integer_array("idxs", idxs, 1, "(N,), one group number a box")
    arguments.require(len(idxs) == len(boxes), f"idxs must be ({len(boxes)},), one a box, got {idxs.shape}")
    xp = backend.get_array_module(boxes, scores, idxs)
    if backend.compiled(boxes):
        order = np.lexsort((-scores, idxs))                                # group by group, the best first; ties by index
        first = np.flatnonzero(np.diff(idxs[order])) + 1                   # where the next group begins
        starts = np.concatenate([[0], first, [len(order)]]).astype(np.int64)
        kept = order[kernels.boxes.nms(boxes[order], starts, boxes.dtype.type(iou_threshold))]
    else:
        groups = [xp.flatnonzero(idxs == group) for group in xp.unique(idxs)]
        kept = [rows[nms(boxes[rows], scores[rows], iou_threshold)] for rows in groups]
        kept = xp.concatenate(kept) if kept else xp.zeros((0,), dtype=np.int64)
    kept = xp.sort(kept)                                                   # by index, so that the stable sort settles ties so
    return kept[xp.argsort(-scores[kept], kind="stable")]


def suppressed_by(boxes, kept, iou_threshold, idxs=None):
    """Which kept box dropped each of the others: the first of the kept, best score first, that overlaps it by more than the threshold.

    boxes (N, 4), and kept (n,) as nms(boxes, scores, iou_threshold) gave it, or batched_nms with idxs -> (N,) int64, -1 for the kept.
    """
    by, dropped = np.full(len(boxes), -1, np.int64), np.setdiff1d(np.arange(len(boxes)), kept)
    if len(dropped):
        over = iou.box_iou(boxes[kept], boxes[dropped]) > boxes.dtype.type(iou_threshold)                # (n, N - n)
        if idxs is not None:
            over &= idxs[kept][:, None] == idxs[dropped]
        by[dropped] = kept[over.argmax(axis=0)]
    return by


def _check(boxes, scores, iou_threshold):
    convert.require_boxes("boxes", boxes)
    arguments.array("scores", scores, 1, "(N,)")
    arguments.require(len(scores) == len(boxes), f"scores must be ({len(boxes)},), one a box, got {scores.shape}")
    arguments.require(not bool(backend.get_array_module(scores).isnan(scores).any()),
                      "scores contain NaN, which no order can place; the usual cause is a network that has diverged")
    arguments.require(0 <= iou_threshold <= 1, f"iou_threshold must lie in [0, 1], got {iou_threshold}")
