"""The box transform with its gradient: what `boxes/coder.py` computes where boxes are constants, for where a loss moves the boxes.

    encode:  t_x = (b_x - p_x) / p_w,  t_w = log(b_w / p_w)        decode:  b_x = p_x + p_w t_x,  b_w = p_w exp(t_w)

and likewise y, h; (p_x, p_y) is the reference's centre (L16-S05). With it the second stage can teach the first where to put its
proposals, "non-approximate joint training" (Faster R-CNN 3.2; L16-R07).

Shapes here: boxes, references, deltas are all (N, 4); boxes xyxy, deltas (dx, dy, dw, dh). z = (x, y, w, h), centre and size.
"""
import math

import numpy as np

from numpyvision import backend, check, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache

NO_SIDE = "boxes and references must have positive width and height, some have none (or NaN); drop them with remove_small first"
DELTA_CLIP = math.log(1000 / 16)         # a 16 px anchor may grow to 1000 px; beyond that exp() explodes early in training


def encode_boxes_forward(boxes, references, weights=(1, 1, 1, 1)):
    """Deltas that lead from the references to the boxes, times the weights: boxes (N, 4), references (N, 4) -> (N, 4).

    A box or a reference without width or height has no logarithm: ValueError. Caches boxes, references and weights.
    """
    check_pair("boxes", boxes, references)
    cache = Cache(boxes=boxes, references=references, weights=tuple(weights))
    if backend.compiled(boxes, references):
        pair = flat(boxes, references)
        ratios, empty = kernels.boxes.ratios(*pair)
        check.require(empty == 0, NO_SIDE)
        return kernels.boxes.encode(*pair, factors(weights, boxes.dtype), np.log(ratios)).reshape(boxes.shape), cache
    (bx, by, bw, bh), (px, py, pw, ph) = centre_and_size(boxes), centre_and_size(references)
    xp = get_array_module(boxes, references)
    check.require(all(bool((side > 0).all()) for side in (bw, bh, pw, ph)), NO_SIDE)
    deltas = (bx - px) / pw, (by - py) / ph, xp.log(bw / pw), xp.log(bh / ph)
    return xp.stack([d * weight for d, weight in zip(deltas, weights, strict=True)], axis=-1), cache


def encode_boxes_backward(dout, cache):
    """dout (N, 4) -> dboxes (N, 4), dreferences (N, 4). A wider reference makes both the way and the growth look smaller."""
    if backend.compiled(dout, cache.boxes, cache.references):
        return unflat(dout, *kernels.boxes.encode_backward(*flat(dout, cache.boxes, cache.references), factors(cache.weights, dout.dtype)))
    (bx, by, bw, bh), (px, py, pw, ph) = centre_and_size(cache.boxes), centre_and_size(cache.references)
    dx, dy, dw, dh = (dout[..., k] * weight for k, weight in enumerate(cache.weights))
    dboxes = dx / pw, dy / ph, dw / bw, dh / bh
    dreferences = -dx / pw, -dy / ph, -(dx * (bx - px) / pw + dw) / pw, -(dy * (by - py) / ph + dh) / ph
    return to_corners_gradient(*dboxes), to_corners_gradient(*dreferences)


def decode_boxes_forward(deltas, references, weights=(1, 1, 1, 1)):
    """Boxes that the deltas lead to from the references, not clipped to an image: deltas (N, 4), references (N, 4) -> (N, 4).

    dw and dh are clipped at DELTA_CLIP from above. Caches deltas, references and weights.
    """
    check_pair("deltas", deltas, references)
    cache = Cache(deltas=deltas, references=references, weights=tuple(weights))
    if backend.compiled(deltas, references):
        (d, p), w = flat(deltas, references), factors(weights, deltas.dtype)
        growth = np.exp(kernels.boxes.growths(d, w, w.dtype.type(DELTA_CLIP)))
        return kernels.boxes.decode(d, p, w, growth).reshape(deltas.shape), cache
    xp = get_array_module(deltas, references)
    px, py, pw, ph = centre_and_size(references)
    x, y = px + pw * (deltas[..., 0] / weights[0]), py + ph * (deltas[..., 1] / weights[1])
    w = pw * xp.exp(xp.minimum(deltas[..., 2] / weights[2], DELTA_CLIP))
    h = ph * xp.exp(xp.minimum(deltas[..., 3] / weights[3], DELTA_CLIP))
    return xp.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=-1), cache


def decode_boxes_backward(dout, cache):
    """dout (N, 4), the gradient to the boxes' corners -> ddeltas (N, 4), and dreferences (N, 4) to the references' corners.

    No gradient to a dw or dh that was clipped, at DELTA_CLIP or beyond, after division by its weight. cache: deltas, references, weights.
    """
    if backend.compiled(dout, cache.deltas, cache.references):
        limits = factors(cache.weights, dout.dtype), dout.dtype.type(DELTA_CLIP)
        return unflat(dout, *kernels.boxes.decode_backward(*flat(dout, cache.deltas, cache.references), *limits))
    xp = get_array_module(dout)
    px, py, pw, ph = centre_and_size(cache.references)
    tx, ty, tw, th = (cache.deltas[..., k] / weight for k, weight in enumerate(cache.weights))
    grow_w, grow_h = xp.exp(xp.minimum(tw, DELTA_CLIP)), xp.exp(xp.minimum(th, DELTA_CLIP))
    dx, dy = dout[..., 0] + dout[..., 2], dout[..., 1] + dout[..., 3]                      # the centre moves both sides alike
    dw, dh = (dout[..., 2] - dout[..., 0]) / 2, (dout[..., 3] - dout[..., 1]) / 2          # the size moves them apart, half each
    dtw, dth = xp.where(tw < DELTA_CLIP, dw * pw * grow_w, 0), xp.where(th < DELTA_CLIP, dh * ph * grow_h, 0)
    ddeltas = [d / weight for d, weight in zip((dx * pw, dy * ph, dtw, dth), cache.weights, strict=True)]
    return xp.stack(ddeltas, axis=-1), to_corners_gradient(dx, dy, dx * tx + dw * grow_w, dy * ty + dh * grow_h)


def clip_boxes_forward(boxes, image_size):
    """Cut boxes to the image: boxes (N, 4), image_size (H, W) -> (N, 4). Caches boxes and image_size."""
    check.array("boxes", boxes, 2, "(N, 4) = (x1, y1, x2, y2)")
    xp, (H, W) = get_array_module(boxes), image_size
    if backend.compiled(boxes) and boxes.shape[1] == 4:
        out = kernels.boxes.clip(np.ascontiguousarray(boxes), boxes.dtype.type(W), boxes.dtype.type(H))
    else:
        out = xp.stack([xp.clip(boxes[:, k], 0, (W, H)[k % 2]) for k in range(4)], axis=-1)
    return out, Cache(boxes=boxes, image_size=(H, W))


def clip_boxes_backward(dout, cache):
    """dout (N, 4) -> dboxes (N, 4): a side that was cut stays on the border however the box moves, so it has no gradient."""
    xp, (H, W), boxes = get_array_module(dout), cache.image_size, cache.boxes
    if backend.compiled(dout, boxes) and dout.shape == boxes.shape and boxes.shape[1] == 4:
        return kernels.boxes.clip_backward(*flat(dout, boxes), boxes.dtype.type(W), boxes.dtype.type(H)).reshape(dout.shape)
    sides = (xp.where((boxes[:, k] >= 0) & (boxes[:, k] <= (W, H)[k % 2]), dout[:, k], 0) for k in range(4))
    return xp.stack(list(sides), axis=-1)


def centre_and_size(boxes):
    """(..., 4) xyxy -> x, y, w, h, each (...)."""
    x1, y1, x2, y2 = (boxes[..., k] for k in range(4))
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def to_corners_gradient(dx, dy, dw, dh):
    """The gradient to centre and size, seen from the corners: x = (x1 + x2) / 2, w = x2 - x1 -> (..., 4)."""
    return get_array_module(dx).stack([dx / 2 - dw, dy / 2 - dh, dx / 2 + dw, dy / 2 + dh], axis=-1)


def flat(*arrays):
    """What a kernel takes: every array on one axis."""
    return [np.ascontiguousarray(a).reshape(-1) for a in arrays]


def unflat(like, *arrays):
    """Back to the shape of `like`."""
    return tuple(a.reshape(like.shape) for a in arrays)


def factors(weights, dtype):
    """The four weights as a kernel takes them."""
    check.require(len(weights) == 4, f"weights must be four numbers, for dx, dy, dw and dh, got {weights!r}")
    return np.array(weights, dtype)


def check_pair(name, a, references):
    """ValueError unless both are (N, 4) of one dtype."""
    for label, boxes in ((name, a), ("references", references)):
        check.array(label, boxes, 2, "(N, 4)")
    check.require(a.shape == references.shape and a.shape[1] == 4,
                  f"{name} and references must both be (N, 4), one reference a box, got {tuple(a.shape)} and {tuple(references.shape)}")
    check.same_dtype({name: a, "references": references})
