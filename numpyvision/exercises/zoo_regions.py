"""Random shapes for the correct operations, continued from zoo_shapes.py: RoIs and boxes, losses, layers."""
import numpy as np

from numpyvision.check.layer import shaken
from numpyvision.exercises.zoo_trials import MARGIN, Trial, apart, between, image, until
from numpyvision.layers import blocks, conv, fpn, linear, norm
from numpyvision.ops import roi
from numpyvision.ops.norm import group_norm_forward

# ---- regions and boxes

def some_rois(rng, N, H, W, scale):
    """(R, 5): inside, across the border, outside, thin; in pixels."""
    R = between(rng, 0, 4)
    x1, y1 = rng.uniform(-2, W, R), rng.uniform(-2, H, R)
    size = rng.uniform(0.3, 1.2 * max(H, W), (2, R))
    return np.stack([rng.integers(0, N, R), x1 / scale, y1 / scale, (x1 + size[0]) / scale, (y1 + size[1]) / scale], axis=1)


def off_corners(rois, H, W, settings):
    """No sample of any RoI near a cell's centre, and no size near a whole number of samples."""
    names = ("output_size", "spatial_scale", "sampling_ratio", "aligned")
    _, *axes = roi.sample_points(rois, *(settings[k] for k in names))
    near = [np.abs(p.v - np.round(p.v))[p.v > -1.9] for p in axes]
    if settings["sampling_ratio"] <= 0 or not settings["aligned"]:
        for bins, a, b in ((settings["output_size"][0], 2, 4), (settings["output_size"][1], 1, 3)):
            n = (rois[:, b] - rois[:, a]) * settings["spatial_scale"] / bins
            near += [np.abs(n - np.round(n)), np.abs(n * bins - 1)]
    return all(np.all(d > MARGIN / 4) for d in near)


def draw_roi_align(rng):
    N, C, H, W = image(rng, 8, empty=False)
    settings = dict(output_size=(between(rng, 1, 3), between(rng, 1, 3)), spatial_scale=float(rng.choice([0.25, 0.5, 1.0])),
                    sampling_ratio=between(rng, -1, 3), aligned=bool(rng.random() < 0.6))
    rois = until(lambda: some_rois(rng, N, H, W, settings["spatial_scale"]), lambda r: off_corners(r, H, W, settings), 5000)
    x, kink = rng.standard_normal((N, C, H, W)), False
    if rng.random() < 0.3 and settings["sampling_ratio"] > 0:
        x, settings["reduce"] = 10 * x, "max"
        kink = close_race(x, rois, settings)
    elif rng.random() < 0.1 and len(rois):
        rois[0, 1:] = np.round(rois[0, 1:]) + [0, 0, 2, 2]                    # some samples may fall onto cells' centres
        kink = True
    return Trial("roi_align", [x, rois], settings, fixed={"rois": [0]}, kink=kink)


def close_race(x, rois, settings):
    """Whether in any bin the two largest samples are nearly equal (some are: samples beyond the map are all 0)."""
    one = {k: v for k, v in settings.items() if k != "reduce"}
    S, (P, Q) = settings["sampling_ratio"], settings["output_size"]
    fine, _ = roi.roi_align_forward(x, rois, **{**one, "output_size": (P * S, Q * S), "sampling_ratio": 1})
    bins = np.sort(fine.reshape(*fine.shape[:2], P, S, Q, S).swapaxes(3, 4).reshape(*fine.shape[:2], P, Q, S * S), axis=-1)
    return bool(S > 1 and fine.size and (bins[..., -1] - bins[..., -2]).min() < 0.05)


def draw_roi_pool(rng):
    N, C, H, W = image(rng, 8, empty=False)
    scale = float(rng.choice([0.25, 0.5, 1.0]))

    def good(rois):
        cells = np.abs(rois[:, 1:] * scale) + 0.5
        return np.all(np.abs(cells - np.round(cells)) > MARGIN)
    rois = until(lambda: some_rois(rng, N, H, W, scale), good, 5000)
    settings = dict(output_size=(between(rng, 1, 3), between(rng, 1, 3)), spatial_scale=scale, mode=("caffe", "slide")[between(rng, 0, 1)])
    return Trial("roi_pool", [apart(rng, N, C, H, W), rois], settings, fixed={"rois": [0]})


def some_boxes(rng, count, size=20.0):
    """(count, 4) with width and height."""
    corner, extent = rng.uniform(-5, size, (count, 2)), rng.uniform(0.5, size, (count, 2))
    return np.concatenate([corner, corner + extent], axis=1)


def draw_encode_boxes(rng):
    n = between(rng, 0, 5)
    weights = (1, 1, 1, 1) if rng.random() < 0.5 else (10, 10, 5, 5)
    return Trial("encode_boxes", [some_boxes(rng, n), some_boxes(rng, n)], dict(weights=weights))


def draw_decode_boxes(rng):
    n = between(rng, 0, 5)
    deltas = rng.standard_normal((n, 4)) * rng.choice([1.0, 0.1])
    deltas[::2, 2] += rng.choice([0.0, 6.0])                                   # some are clipped
    return Trial("decode_boxes", [deltas, some_boxes(rng, n)])


def draw_clip_boxes(rng):
    boxes = until(lambda: some_boxes(rng, between(rng, 0, 6)), lambda b: np.all(np.abs(b[..., None] - [0, 13.0, 17.0]) > MARGIN))
    kink = bool(len(boxes) and rng.random() < 0.1)
    if kink:
        boxes[0, 2] = 17.0
    return Trial("clip_boxes", [boxes], dict(image_size=(13, 17)), kink=kink)


# ---- losses

def draw_softmax_cross_entropy(rng):
    N, K, maps = between(rng, 0, 5), between(rng, 1, 5), rng.random() < 0.5
    shape = (N, K, between(rng, 1, 3), between(rng, 1, 3)) if maps else (N, K)
    labels = rng.integers(0, K, (shape[0], *shape[2:]))
    labels[rng.random(labels.shape) < rng.choice([0.0, 0.3, 1.0], p=[0.5, 0.4, 0.1])] = 255
    return Trial("softmax_cross_entropy", [rng.standard_normal(shape) * rng.choice([0.1, 1.0, 5.0]), labels])


def loss_inputs(rng):
    """A shape and weights for it, or None."""
    shape = tuple(rng.integers(1, 5, between(rng, 1, 3)))
    if rng.random() < 0.5:
        return shape, None
    return shape, rng.uniform(0, 2, shape) * (rng.random(shape) < 0.7)


def draw_sigmoid_bce(rng):
    shape, weights = loss_inputs(rng)
    logits = rng.standard_normal(shape) * rng.choice([1.0, 5.0])
    return Trial("sigmoid_bce", [logits, rng.random(shape), weights], constants=("targets", "weights"))


def draw_sigmoid_focal_loss(rng):
    shape, weights = loss_inputs(rng)
    settings = dict(alpha=float(rng.choice([0.25, 0.0, 1.0])), gamma=float(rng.choice([0.0, 0.5, 2.0])))
    targets = (rng.random(shape) < 0.4) * 1.0
    return Trial("sigmoid_focal_loss", [rng.standard_normal(shape) * 2, targets, weights], settings, constants=("targets", "weights"))


def draw_rpn_losses(rng):
    N, T = between(rng, 1, 3), between(rng, 1, 6)
    chosen = rng.permutation(N * T)[:between(rng, 0, N * T)]
    labels = rng.integers(0, 2, len(chosen))
    image, anchor, P = chosen // T, chosen % T, int(labels.sum())
    deltas = rng.standard_normal((N, T, 4))
    gap = until(lambda: rng.standard_normal((P, 4)), lambda d: np.all(np.abs(np.abs(d) - 1 / 9) > MARGIN))
    gt_deltas = deltas[image, anchor][labels == 1] + gap
    return Trial("rpn_losses", [rng.standard_normal((N, T)), deltas, image, anchor, labels, gt_deltas], constants=("gt_deltas",))


def draw_smooth_l1(rng):
    (shape, weights), beta = loss_inputs(rng), float(rng.choice([0.0, 1 / 9, 1.0]))
    target = rng.standard_normal(shape)
    distance = until(lambda: rng.standard_normal(shape), lambda d: np.all(np.abs(np.abs(d) - beta) > MARGIN) and np.all(np.abs(d) > MARGIN))
    return Trial("smooth_l1", [target + distance, target, weights], dict(beta=beta), ("target", "weights"))


# ---- layers

def float64(layer, rng):
    """Off its first values."""
    return shaken(layer.astype(np.float64), rng)


def draw_simple_layer(rng):
    C, F = 2 * between(rng, 1, 2), 2 * between(rng, 1, 2)
    made = [conv.Conv2d(C, F, 3, between(rng, 1, 2), 1, rng=rng), blocks.ConvNorm(C, 8, 3, between(rng, 1, 2), rng=rng),
            norm.GroupNorm(C, C // 2), norm.BatchNorm2d(C), norm.FrozenBatchNorm2d(C), linear.Linear(C * 6, F, rng=rng)][between(rng, 0, 5)]
    return Trial(type(made).__name__, [rng.standard_normal((between(rng, 1, 3), C, 2, 3))], layer=float64(made, rng))


def draw_block(rng):
    def make():
        block = float64(blocks.BasicBlock(8, (8, 16)[between(rng, 0, 1)], between(rng, 1, 2), rng=rng), rng)
        return block, rng.standard_normal((between(rng, 1, 2), 8, between(rng, 2, 3), between(rng, 2, 3)))

    def off(made):
        block, x = made
        conv1, affine = block.conv1, block.conv1.norm.params
        h, _ = group_norm_forward(conv1.conv.forward(x)[0], affine["gamma"], affine["beta"], conv1.norm.num_groups)      # before its ReLU
        s = block.conv2.forward(np.maximum(h, 0))[0] + block.shortcut.forward(x)[0]
        return min(np.abs(h).min(), np.abs(s).min()) > MARGIN
    block, x = until(make, off)
    return Trial("BasicBlock", [x], layer=block)


def draw_fpn(rng):
    levels = between(rng, 1, 3)
    channels = [between(rng, 1, 3) for _ in range(levels)]
    N, H, W = between(rng, 1, 2), between(rng, 1, 2), between(rng, 1, 2)
    C = tuple(rng.standard_normal((N, c, H * 2 ** (levels - 1 - l), W * 2 ** (levels - 1 - l))) for l, c in enumerate(channels))
    return Trial("FPN", [C], layer=float64(fpn.FPN(channels, 3, rng=rng), rng))


DRAWERS = [make for name, make in list(globals().items()) if name.startswith("draw_")] + 2 * [draw_simple_layer]
