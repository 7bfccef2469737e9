"""Keypoints of people: the cell that a joint falls into, the mirror, and how similar two poses are.

Shapes here: J = 17 joints in COCO's order, keypoints (·, J, 3) = (x, y, v) in pixels, v 0 not labelled, 1 hidden, 2 visible;
R boxes xyxy, S cells along a side of a box, D detections, G ground truths. Lecture L16-K01, K02.
"""
import numpy as np

from numpyvision.boxes import convert

NAMES = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
         "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")
# a mirror turns a left hand into a right one: every left/right pair changes places (L16-K01)
FLIP = tuple(NAMES.index(name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")) for name in NAMES)
# how far apart two people's marks of the same joint usually are, relative to the person's size: eyes .025, hips .107 (COCO)
SIGMAS = np.array([.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07, .87, .87, .89, .89]) / 10


def flip_keypoints(keypoints, width):
    """The joints as a mirror shows them in an image `width` wide: (·, J, 3) -> (·, J, 3), always a fresh array.

    x becomes width - x where the joint is labelled (v > 0), and a left joint becomes the right one of its pair: row j of the result is
    row FLIP[j] of the input. An unlabelled joint changes its row, but keeps its x.
    """
    flipped = np.asarray(keypoints)[:, FLIP].copy()
    flipped[..., 0] = np.where(flipped[..., 2] > 0, width - flipped[..., 0], flipped[..., 0])
    return flipped


def keypoint_cells(keypoints, boxes, size):
    """The one cell of the S x S map of a box that is "on" for a joint, as y * S + x; -1 where there is nothing to learn (L16-K02).

    keypoints (R, J, 3), boxes (R, 4), one a person; size S -> (R, J) int64. The cell is floor((x - x1) * S / (x2 - x1)), likewise y; a
    joint on the far edge belongs to the last cell. -1: not labelled, or outside the box. A hidden joint that is labelled is learned.
    """
    keypoints, boxes = np.asarray(keypoints, np.float64), np.asarray(boxes, np.float64)
    convert.require_boxes("boxes", boxes)
    if keypoints.ndim != 3 or keypoints.shape[2] != 3 or len(keypoints) != len(boxes):
        raise ValueError(f"keypoints must be (R, J, 3) = (x, y, v), one person for each of the {len(boxes)} boxes, got {keypoints.shape}")
    near, extent = boxes[:, None, :2], np.maximum(boxes[:, None, 2:] - boxes[:, None, :2], 1e-12)        # (R, 1, 2)
    cell = np.floor((keypoints[..., :2] - near) * size / extent)
    cell = np.where(keypoints[..., :2] == boxes[:, None, 2:], size - 1, cell)
    valid = (keypoints[..., 2] > 0) & (cell >= 0).all(-1) & (cell < size).all(-1)
    return np.where(valid, cell[..., 1] * size + cell[..., 0], -1).astype(np.int64)


def oks(keypoints, gt_keypoints, gt_areas, gt_boxes, sigmas=SIGMAS):
    """Object keypoint similarity of every pair, COCO's IoU for poses: (D, J, 3), (G, J, 3) -> (D, G) in [0, 1].

    The mean over the truth's labelled joints (v > 0) of exp(-d^2 / (2 s^2 (2 sigma)^2)): d the distance of the two marks in pixels,
    s^2 = gt_areas (G,) (plus np.spacing(1)), sigma (J,) how precisely people mark that joint. At J's nose, 5 px of error at area 1e4
    give 0.63. The detection's own v does not matter.
    A person without a labelled joint: the mean over all joints, d the distance of each to its box, gt_boxes (G, 4), made three times as
    wide and high about its centre; 0 inside.
    """
    keypoints, gt_keypoints = np.asarray(keypoints, np.float64), np.asarray(gt_keypoints, np.float64)
    gt_boxes = np.asarray(gt_boxes, np.float64)
    xy, gt_xy, labelled = keypoints[:, None, :, :2], gt_keypoints[None, :, :, :2], gt_keypoints[:, :, 2] > 0      # labelled (G, J)
    extent = gt_boxes[:, 2:] - gt_boxes[:, :2]
    low, high = (b[None, :, None] for b in (gt_boxes[:, :2] - extent, gt_boxes[:, :2] + 2 * extent))              # (1, G, 1, 2)
    some = labelled.any(axis=1)                                                                                  # (G,)
    outside = np.maximum(low - xy, 0) + np.maximum(xy - high, 0)
    distance = np.where(some[None, :, None, None], xy - gt_xy, outside)                                          # (D, G, J, 2)
    variance = (2 * np.asarray(sigmas, np.float64)) ** 2
    scale = 2 * variance * (np.asarray(gt_areas, np.float64)[:, None] + np.spacing(1))                           # (G, J)
    counted = labelled | ~some[:, None]
    return (np.exp(-(distance ** 2).sum(-1) / scale) * counted).sum(-1) / counted.sum(-1)
