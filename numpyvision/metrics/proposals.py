"""How good are proposals? The share of objects that at least one of the first n boxes covers (L16-S01)."""
import numpy as np

from numpyvision.boxes import iou
from numpyvision.check import arguments


def first_hits(proposals, gt_boxes, iou_threshold=0.5):
    """For each object the place of the first proposal with IoU >= iou_threshold, or -1: lists of (P_i, 4) and (G_i, 4) -> (sum G_i,)."""
    arguments.require(len(proposals) == len(gt_boxes),
                      f"one array of boxes an image: got {len(proposals)} of proposals, {len(gt_boxes)} of truth")
    places = [np.zeros(0, np.int64)]
    for boxes, truth in zip(proposals, gt_boxes, strict=True):
        hit = iou.box_iou(truth, boxes) >= iou_threshold                                           # (G, P)
        hit = np.concatenate([hit, np.ones((len(truth), 1), bool)], axis=1)                        # a last column that always hits
        first = hit.argmax(axis=1)
        places.append(np.where(first < len(boxes), first, -1))
    return np.concatenate(places)


def recall_at(proposals, gt_boxes, counts, iou_threshold=0.5):
    """Share of the objects that one of the first n proposals of their image covers, for each n of counts -> (len(counts),).

    nan where there is no object at all.
    """
    places = first_hits(proposals, gt_boxes, iou_threshold)
    found = (places >= 0) & (places < np.asarray(counts)[:, None])                                 # (len(counts), G)
    return found.mean(axis=1) if len(places) else np.full(len(found), np.nan)
