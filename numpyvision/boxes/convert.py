"""What a box is, and the small moves every detector makes with it.

A box is (x1, y1, x2, y2) in pixels, half-open and continuous: pixel i covers [i, i + 1), so w = x2 - x1, without any "+ 1".
Nothing in this folder has a gradient; what comes out enters a loss as a constant.

Shapes here: N boxes of one image, R boxes (RoIs) over the whole batch. A size is (H, W).
"""
import numpy as np

from numpyvision import backend

FORMATS = ("xyxy", "xywh", "cxcywh")


def require_boxes(name, boxes):
    """Raise ValueError unless boxes is an (N, 4) array without NaN."""
    if getattr(boxes, "ndim", None) != 2 or boxes.shape[1] != 4:
        got = getattr(boxes, "shape", type(boxes).__name__)
        raise ValueError(f"{name} must be an (N, 4) array of (x1, y1, x2, y2), got {got}; one box is boxes[None], no box np.zeros((0, 4))")
    xp = backend.get_array_module(boxes)
    if boxes.dtype.kind == "f" and bool(xp.isnan(boxes).any()):
        raise ValueError(f"{name} contains NaN; the usual cause is a network that has diverged (lower the learning rate)")


def box_convert(boxes, in_fmt, out_fmt):
    """The same boxes written in another format.

    boxes (..., 4) -> (..., 4), always a fresh array. "xyxy" two corners, "xywh" corner and size (COCO), "cxcywh" centre and size.
    """
    for fmt in (in_fmt, out_fmt):
        if fmt not in FORMATS:
            raise ValueError(f"box format must be one of {FORMATS}, got {fmt!r}")
    if boxes.shape[-1:] != (4,):
        raise ValueError(f"boxes must end in an axis of 4, got shape {boxes.shape}")
    xp = backend.get_array_module(boxes)
    a, b, c, d = (boxes[..., k] for k in range(4))
    if in_fmt == "xywh":
        a, b, c, d = a, b, a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    if out_fmt == "xywh":                                          # from here a, b, c, d are x1, y1, x2, y2
        a, b, c, d = a, b, c - a, d - b
    elif out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return xp.stack([a, b, c, d], axis=-1)


def box_area(boxes):
    """Area of every box: boxes (..., 4) -> (...). A reversed box (x2 < x1 or y2 < y1) holds no point: area 0."""
    xp = backend.get_array_module(boxes)
    w, h = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return xp.maximum(w, 0) * xp.maximum(h, 0)


def clip_boxes(boxes, image_size):
    """Cut boxes to the image: boxes (..., 4), image_size (H, W) -> (..., 4). A box wholly outside becomes empty, on the border."""
    xp = backend.get_array_module(boxes)
    H, W = image_size
    x1, x2 = xp.clip(boxes[..., 0], 0, W), xp.clip(boxes[..., 2], 0, W)
    y1, y2 = xp.clip(boxes[..., 1], 0, H), xp.clip(boxes[..., 3], 0, H)
    return xp.stack([x1, y1, x2, y2], axis=-1)


def remove_small(boxes, min_size):
    """Indices of the boxes with both sides >= min_size: boxes (N, 4) -> (n,) int64, ascending."""
    require_boxes("boxes", boxes)
    xp = backend.get_array_module(boxes)
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return xp.flatnonzero((w >= min_size) & (h >= min_size))


def boxes_to_rois(boxes):
    """Boxes image by image -> RoIs of the batch, the form that RoI Align reads.

    boxes: list of (R_i, 4), one array an image, images without a box included -> (R, 5) = (batch_index, x1, y1, x2, y2),
    in the same order. The index shares the floating dtype of the coordinates: exact up to 2^24 images.
    """
    if not isinstance(boxes, (list, tuple)):
        raise ValueError(f"boxes must be a list with one (R_i, 4) array an image, got {type(boxes).__name__}; for one image: [boxes]")
    for n, b in enumerate(boxes):
        require_boxes(f"boxes[{n}]", b)
    if not boxes:
        return np.zeros((0, 5), dtype=np.float32)
    xp = backend.get_array_module(*boxes)
    rows = [xp.concatenate([xp.full((len(b), 1), n, dtype=b.dtype), b], axis=1) for n, b in enumerate(boxes)]
    return xp.concatenate(rows, axis=0)                            # (R, 5)
