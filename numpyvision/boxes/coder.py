"""The box transform: what a detector regresses is not a box but the way from a reference box (anchor, proposal) to it.

    encode:  t_x = (b_x - p_x) / p_w,  t_w = log(b_w / p_w)        decode:  b_x = p_x + p_w t_x,  b_w = p_w exp(t_w)

with (p_x, p_y) the reference's centre (R-CNN; L16-S05). The same numbers mean the same relative move for a small and a large box.
deltas are (dx, dy, dw, dh).

Shapes here: ... is any leading shape, usually (N,) boxes, or (N, K) for one box a class.
"""
import numpy as np

from numpyvision import backend
from numpyvision.boxes import convert

DELTA_CLIP = float(np.log(1000 / 16))    # a 16 px anchor may grow to 1000 px; beyond that exp() explodes early in training


def encode_boxes(boxes, references, weights=(1, 1, 1, 1)):
    """Deltas that lead from the references to the boxes: the regression target.

    boxes (..., 4), references (..., 4) xyxy, leading shapes that broadcast -> deltas (..., 4).
    weights multiply the deltas: (10, 10, 5, 5) is the usual normalisation by their spread (0.1, 0.1, 0.2, 0.2) in Fast R-CNN.
    A box or reference without width or height has no logarithm: ValueError (call remove_small first).
    """
    xp = backend.get_array_module(boxes, references)
    b, p = convert.box_convert(boxes, "xyxy", "cxcywh"), convert.box_convert(references, "xyxy", "cxcywh")
    for name, box in (("boxes", b), ("references", p)):
        if not bool((box[..., 2:] > 0).all()):
            raise ValueError(f"{name} must have positive width and height, but some have none (or NaN); drop them with remove_small first")
    dx = (b[..., 0] - p[..., 0]) / p[..., 2] * weights[0]
    dy = (b[..., 1] - p[..., 1]) / p[..., 3] * weights[1]
    dw = xp.log(b[..., 2] / p[..., 2]) * weights[2]
    dh = xp.log(b[..., 3] / p[..., 3]) * weights[3]
    return xp.stack([dx, dy, dw, dh], axis=-1)


def decode_boxes(deltas, references, weights=(1, 1, 1, 1)):
    """Boxes that the deltas lead to: the inverse of encode_boxes, with the same weights.

    deltas (..., 4), references (..., 4) xyxy, leading shapes that broadcast -> boxes (..., 4) xyxy, not clipped to an image.
    For one box a class, deltas (N, K, 4) go with references[:, None]. dw and dh are clipped at DELTA_CLIP from above.
    """
    xp = backend.get_array_module(deltas, references)
    if deltas.shape[-1:] != (4,):
        raise ValueError(f"deltas must end in an axis of 4 = (dx, dy, dw, dh), got {deltas.shape}; reshape (N, K*4) to (N, K, 4)")
    p = convert.box_convert(references, "xyxy", "cxcywh")
    x = p[..., 0] + p[..., 2] * (deltas[..., 0] / weights[0])
    y = p[..., 1] + p[..., 3] * (deltas[..., 1] / weights[1])
    w = p[..., 2] * xp.exp(xp.minimum(deltas[..., 2] / weights[2], DELTA_CLIP))
    h = p[..., 3] * xp.exp(xp.minimum(deltas[..., 3] / weights[3], DELTA_CLIP))
    return xp.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=-1)
