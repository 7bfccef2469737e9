"""How much do two boxes overlap? Intersection over union, and over the first box's own area.

The lecture's scale for IoU: 0.5 is decent, 0.7 pretty good, 0.9 almost perfect.

Shapes here: N and M boxes, xyxy.
"""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.boxes import convert


def box_intersection(boxes1, boxes2):
    """Area that each pair of boxes shares: boxes1 (N, 4), boxes2 (M, 4) xyxy -> (N, M); 0 for boxes that only touch."""
    xp = backend.get_array_module(boxes1, boxes2)
    top_left = xp.maximum(boxes1[:, None, :2], boxes2[None, :, :2])                    # (N, M, 2)
    bottom_right = xp.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])                # (N, M, 2)
    side = xp.maximum(bottom_right - top_left, 0)                                      # apart along an axis: negative, so 0
    return side[..., 0] * side[..., 1]


def box_iou(boxes1, boxes2):
    """IoU of every pair of boxes.

    boxes1 (N, 4), boxes2 (M, 4) xyxy -> (N, M) in [0, 1], in their common dtype (integers become float64).
    Two empty boxes have IoU 0, not nan; a reversed box holds no point, so its IoU is 0 with everything. NaN: ValueError.
    """
    boxes1, boxes2 = _same_kind(boxes1, boxes2)
    if backend.compiled(boxes1, boxes2):
        return kernels.boxes.box_iou(*(np.require(a, requirements="CW") for a in (boxes1, boxes2)))    # read-only: compiled once more
    xp = backend.get_array_module(boxes1, boxes2)
    inter = box_intersection(boxes1, boxes2)                                           # (N, M)
    union = convert.box_area(boxes1)[:, None] + convert.box_area(boxes2)[None, :] - inter
    return inter / xp.maximum(union, np.finfo(boxes1.dtype).tiny)                      # an empty union gives 0 / tiny = 0


def box_ioa(boxes, regions):
    """Intersection over the area of the first box: how much of each box lies inside each region.

    boxes (N, 4), regions (M, 4) xyxy -> (N, M) in [0, 1]; 0 for an empty box. This is COCO's overlap with a crowd region:
    a detection of one person in a crowd covers little of the crowd (IoU small), but lies wholly inside it (IoA 1).
    """
    boxes, regions = _same_kind(boxes, regions)
    xp = backend.get_array_module(boxes, regions)
    area = convert.box_area(boxes)[:, None]                                            # (N, 1)
    return box_intersection(boxes, regions) / xp.maximum(area, np.finfo(boxes.dtype).tiny)


def _same_kind(boxes1, boxes2):
    """Both checked, and in their common floating dtype."""
    convert.require_boxes("boxes1", boxes1)
    convert.require_boxes("boxes2", boxes2)
    dtype = np.result_type(boxes1.dtype, boxes2.dtype)
    dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
    return boxes1.astype(dtype, copy=False), boxes2.astype(dtype, copy=False)
