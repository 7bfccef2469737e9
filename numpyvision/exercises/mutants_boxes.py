"""Mistakes that students make in the exercises about boxes, losses and metrics: each a few changed characters of the reference."""
from numpyvision.exercises.planted import Bug

IOU = "boxes/iou.py"

MISTAKES = {
    "box_iou": (
        Bug("box_iou", IOU, "box_area(boxes2)[None, :] - inter", "box_area(boxes2)[None, :]", "wrong-forward",
            "the union counts the shared part twice: it is area1 + area2 - intersection"),
        Bug("box_iou", IOU, "side = xp.maximum(bottom_right - top_left, 0)", "side = bottom_right - top_left", "wrong-forward",
            "boxes that lie apart have a negative side; two negative sides multiply to a positive area: clip each side at 0"),
        Bug("box_iou", IOU, "top_left = xp.maximum(", "top_left = xp.minimum(", "wrong-forward",
            "the intersection begins at the larger of the two x1 (and y1); the smaller one gives the box around both"),
        Bug("box_iou", IOU, "side = xp.maximum(bottom_right - top_left, 0)", "side = xp.maximum(bottom_right - top_left + 1, 0)",
            "wrong-forward", "the + 1 of integer pixel boxes: here a box is continuous, and its width is x2 - x1"),
    ),
}
