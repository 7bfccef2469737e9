"""A box that finds its object by gradient descent through RoI Align alone: no network, no regression target, only the crop (L16-A05).

The crop of the box should look like a template, the crop that the true box gives. The loss is the mean squared difference of the two
crops; `roi_align_backward` hands its gradient to the box's corners, and Adam moves them. On sharp pictures such a gradient sees no
further than an edge, so the picture is blurred first and sharpened in stages, as in Lucas and Kanade (1981).

Shapes here: image (C, H, W), boxes (x1, y1, x2, y2) in pixels, T steps, S side of the crop. The four numbers that are moved are a
detector's deltas t = (dx, dy, dw, dh) from the box at which a stage starts: centre = c0 + (dx w0, dy h0), size = (w0 e^dw, h0 e^dh).
"""
from typing import NamedTuple

import numpy as np

from numpyvision.boxes import convert, iou
from numpyvision.data import scenes
from numpyvision.ops import roi
from numpyvision.training.optim import Adam

# blur in widths of the object, highest step in deltas: a third of the object's size reaches the object from IoU 0.3, and the last
# stage is nearly sharp, because a blurred edge says little about where it is
STAGES = ((0.3, 0.08), (0.15, 0.05), (0.05, 0.03))


class Descent(NamedTuple):
    """What `descend` did."""

    boxes: np.ndarray        # (T + 1, 4), the start first
    losses: np.ndarray       # (T + 1,) the loss at each of them; it jumps where a stage begins, because the picture changes
    ious: np.ndarray         # (T + 1,) overlap with the true box, which the descent never sees


def descend(image, true_box, start, crop_size=14, steps=40, stages=STAGES):
    """Move `start` (4,) until its crop looks like that of true_box (4,) in image (C, H, W) -> Descent. steps: of each stage."""
    image, box = np.asarray(image, np.float64), np.asarray(start, np.float64)
    width = np.sqrt(convert.box_area(np.asarray(true_box, np.float64)))
    boxes, losses = [box], []
    for sigma, lr in stages:
        picture = blur(image, sigma * width)[None]                                     # (1, C, H, W)
        template, _ = crop(picture, true_box, crop_size)                               # (1, C, S, S)
        path, loss = descend_stage(picture, template, box, steps, lr)
        boxes += path[1:]; losses += loss[len(losses) > 0:]
        box = path[-1]
    boxes = np.array(boxes)
    return Descent(boxes, np.array(losses), iou.box_iou(boxes, np.asarray(true_box, np.float64)[None])[:, 0])


def descend_stage(picture, template, start, steps, lr):
    """One picture, one template: Adam on the deltas, its step falling to 0 in a straight line -> list of boxes, list of losses."""
    t, boxes, losses = np.zeros(4), [], []
    optimizer = Adam({"t": t}, lr, betas=(0.9, 0.99))
    for step in range(steps + 1):
        box = decode(t, start)
        loss, dbox = crop_loss(picture, template, box)
        boxes.append(box); losses.append(loss)
        if step < steps:
            optimizer.step({"t": decode_backward(dbox, t, start)}, lr * (1 - step / steps))
    return boxes, losses


def crop_loss(picture, template, box):
    """Mean squared difference of the box's crop and the template -> loss, its gradient to the box (4,): the whole demonstration."""
    out, cache = crop(picture, box, template.shape[2])
    difference = out - template
    _, drois = roi.roi_align_backward(2 * difference / difference.size, cache)
    return float((difference**2).mean()), drois[0, 1:]


def crop(picture, box, size):
    """RoI Align of one box (4,) in one picture (1, C, H, W) -> (1, C, size, size), cache."""
    return roi.roi_align_forward(picture, np.array([[0, *box]], picture.dtype), size, 1.0)


def decode(t, start):
    """The box (4,) at deltas t (4,) from box start (4,)."""
    (cx, cy, w, h), (dx, dy, dw, dh) = convert.box_convert(start, "xyxy", "cxcywh"), t
    return convert.box_convert(np.array([cx + w * dx, cy + h * dy, w * np.exp(dw), h * np.exp(dh)]), "cxcywh", "xyxy")


def decode_backward(dbox, t, start):
    """dbox (4,) -> dt (4,): moving the centre moves both sides alike, growing moves them apart by half."""
    _, _, w, h = convert.box_convert(start, "xyxy", "cxcywh")
    x1, y1, x2, y2 = dbox
    return np.array([(x1 + x2) * w, (y1 + y2) * h, (x2 - x1) / 2 * w * np.exp(t[2]), (y2 - y1) / 2 * h * np.exp(t[3])])


def blur(image, sigma):
    """Gaussian blur of every channel, the border repeated: (C, H, W) -> (C, H, W)."""
    from scipy.ndimage import gaussian_filter
    return gaussian_filter(image, (0, sigma, sigma), mode="nearest")


def start_box(true_box, overlap, rng):
    """A box (4,) of other size and place whose IoU with true_box is `overlap`: pushed in a random direction until it is."""
    cx, cy, w, h = convert.box_convert(np.asarray(true_box, np.float64), "xyxy", "cxcywh")
    angle, (wider, higher) = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.35, 0.35, 2))

    def pushed(distance):
        x, y = cx + distance * w * np.cos(angle), cy + distance * h * np.sin(angle)
        return convert.box_convert(np.array([x, y, w * wider, h * higher]), "cxcywh", "xyxy")
    near, far = 0.0, 3.0
    for _ in range(60):                                                                # IoU falls with the distance: bisect
        middle = (near + far) / 2
        larger = iou.box_iou(pushed(middle)[None], np.asarray(true_box, np.float64)[None])[0, 0] > overlap
        near, far = (middle, far) if larger else (near, middle)
    return pushed(near)


def descend_in_scene(index=2, overlap=0.3, seed=0):
    """The demonstration on the biggest thing of scene `index` -> Sample, true box (4,), Descent."""
    sample = scenes.Scenes(1, seed=0, start=index)[0]
    true_box = sample.boxes[sample.areas.argmax()].astype(np.float64)
    start = start_box(true_box, overlap, np.random.default_rng([seed, index]))
    return sample, true_box, descend(sample.image, true_box, start)
