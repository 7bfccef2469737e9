"""Which boxes should say "object"? Anchors and proposals are positive, negative or neutral by their IoU with the truth (L16-S02, R04).

Shapes here: G ground-truth boxes of an image, A anchors or proposals. labels: 1 positive, 0 negative, -1 neutral (no loss at all).
"""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.boxes import iou as overlap
from numpyvision.check import arguments


def match_boxes(iou, fg_threshold, bg_threshold, allow_low_quality=False):
    """Give every box its ground truth, and a label.

    iou (G, A): rows are ground truth, columns anchors or proposals: box_iou(gt_boxes, anchors)
    -> matched_idx (A,) int64, the truth that each overlaps most (ties: the first), whatever its label;
       labels (A,) int64: 1 where that IoU >= fg_threshold, 0 where it is < bg_threshold, -1 between.
    allow_low_quality: the best boxes of every truth, ties included, become positive too if they overlap it at all, so that no
    truth goes without (the RPN needs it). Such a box keeps matched_idx, which may name another truth that it overlaps even more.
    G = 0: everything is negative, and matched_idx is 0 without there being a truth 0: ask `len(gt_boxes)` before indexing with it.
    """
    arguments.array("iou", iou, 2, "(G, A) = box_iou(gt_boxes, anchors)")
    arguments.require(fg_threshold >= bg_threshold,
                      f"fg_threshold must be >= bg_threshold, got {fg_threshold} < {bg_threshold}; are they swapped?")
    if backend.compiled(iou):
        thresholds = iou.dtype.type(fg_threshold), iou.dtype.type(bg_threshold)
        return kernels.boxes.match(np.ascontiguousarray(iou), *thresholds, bool(allow_low_quality))
    xp = backend.get_array_module(iou)
    G, A = iou.shape
    if G == 0 or A == 0:
        return xp.zeros((A,), dtype=np.int64), xp.zeros((A,), dtype=np.int64)
    matched_idx = iou.argmax(axis=0).astype(np.int64)                      # (A,)
    best = iou.max(axis=0)                                                 # (A,)
    labels = xp.where(best >= fg_threshold, 1, xp.where(best < bg_threshold, 0, -1)).astype(np.int64)
    if allow_low_quality:
        best_of_truth = iou.max(axis=1)[:, None]                           # (G, 1)
        is_best = ((iou == best_of_truth) & (best_of_truth > 0)).any(axis=0)
        labels = xp.where(is_best, 1, labels)
    return matched_idx, labels


def ignore_inside(labels, boxes, regions, threshold=0.5):
    """Make neutral the negatives that lie mostly inside a crowd region: who knows, they may well be on an object.

    labels (A,), boxes (A, 4), regions (M, 4) -> new labels (A,): 0 becomes -1 where box_ioa(boxes, regions) >= threshold for some region.
    """
    xp = backend.get_array_module(labels, boxes, regions)
    if len(regions) == 0 or len(boxes) == 0:
        return labels.copy()
    inside = (overlap.box_ioa(boxes, regions) >= threshold).any(axis=1)    # (A,)
    return xp.where(inside & (labels == 0), -1, labels)
