"""Masks seen through a box: cut out and brought to M x M for training, pasted back into the image after prediction (L16-M02, M04).

    crop_masks    image -> box    what share of each of the M x M cells of the box does the object cover?
    paste_masks   box -> image    the M x M probabilities, interpolated at the centres of the pixels

Shapes here: R boxes xyxy, masks (R, H, W) bool, M cells along a side of a box, D detections.
"""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.boxes import convert


def crop_masks(masks, boxes, size):
    """How much of each cell of a box its mask covers, exactly: (R, M, M) float64 in [0, 1].

    masks (R, H, W) bool, boxes (R, 4), one a mask; size M. What lies outside the image is not covered, and a box of no area gives 0.
    >= 0.5 of it is the training target of Mask R-CNN. A cell covers of a pixel the length that they share down the box times the length
    that they share across it: with a table of these lengths for each axis, all cells are two matrix products.
    """
    masks, boxes = np.asarray(masks), np.asarray(boxes, np.float64)
    convert.require_boxes("boxes", boxes)
    if masks.ndim != 3 or len(masks) != len(boxes):
        raise ValueError(f"masks must be (R, H, W), one for each of the {len(boxes)} boxes, got {masks.shape}")
    H, W = masks.shape[1:]
    if backend.compiled(boxes) and masks.dtype == bool:
        covered = kernels.mask_crops.crop(np.ascontiguousarray(masks), np.ascontiguousarray(boxes), size)
    else:
        share = np.arange(size + 1) / size
        ys = boxes[:, 1, None] + share * (boxes[:, 3] - boxes[:, 1])[:, None]              # (R, M+1) corners of the cells
        xs = boxes[:, 0, None] + share * (boxes[:, 2] - boxes[:, 0])[:, None]
        covered = _shared(ys, H) @ masks @ _shared(xs, W).swapaxes(1, 2)                   # (R, M, M) pixels of area
    cell = convert.box_area(boxes)[:, None, None] / size ** 2
    return np.clip(np.divide(covered, cell, out=np.zeros_like(covered), where=cell > 0), 0, 1)


def _shared(edges, length):
    """How long cell m, from edges[:, m] to edges[:, m + 1], and pixel i, from i to i + 1, share: (R, M+1) -> (R, M, length)."""
    i = np.arange(length)
    return np.maximum(np.minimum(edges[:, 1:, None], i + 1) - np.maximum(edges[:, :-1, None], i), 0)


def paste_masks(probs, boxes, size, threshold=0.5):
    """Bring M x M mask probabilities back to where their boxes are: (D, M, M), (D, 4), (H, W) -> (D, H, W) bool.

    A pixel is set if its centre lies in the box and the probability there, interpolated bilinearly between the centres of the cells
    (beyond the outermost centres, theirs), is >= threshold.
    """
    probs, boxes = np.asarray(probs), np.asarray(boxes, np.float64)
    convert.require_boxes("boxes", boxes)
    if probs.ndim != 3 or len(probs) != len(boxes):
        raise ValueError(f"probs must be (D, M, M), one mask for each of the {len(boxes)} boxes, got {probs.shape}")
    out = np.zeros((len(boxes), *size), bool)
    if backend.compiled(boxes) and probs.size:
        kernels.mask_crops.paste(np.ascontiguousarray(probs, np.float64), np.ascontiguousarray(boxes), float(threshold), out)
        return out
    for mask, grid, (x1, y1, x2, y2) in zip(out, probs, boxes, strict=True):
        rows, wy = _pixels(y1, y2, size[0], len(grid))
        columns, wx = _pixels(x1, x2, size[1], grid.shape[1])
        mask[rows, columns] = wy @ grid @ wx.T >= threshold
    return out


def _pixels(near, far, length, M):
    """The pixels of an axis whose centres lie in [near, far), as a slice, and how much each of the M cells counts there, (pixels, M)."""
    first, last = (int(np.clip(np.ceil(edge - 0.5), 0, length)) for edge in (near, far))
    last = max(first, last)
    centre = np.arange(first, last) + 0.5
    v = np.clip((centre - near) / max(far - near, 1e-12) * M - 0.5, 0, M - 1)              # in cells, cell 0 centred at 0
    return slice(first, last), np.maximum(1 - abs(v[:, None] - np.arange(M)), 0)
