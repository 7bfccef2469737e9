"""Random shapes for the correct operations: one pixel, no image, odd strides, many groups; a right gradient must be called right.

Values stay off corners by a margin (a finite difference across one is wrong about a right gradient), except where a trial is put on one on
purpose: `kink=True`. Sizes are small; nothing here is typical of a network, much is at the edge of what is allowed.
"""
from dataclasses import dataclass, field

import numpy as np

from numpyvision import check, contract
from numpyvision.layers import blocks, conv, fpn, linear, norm
from numpyvision.ops import conv as conv_ops
from numpyvision.ops import conv_transpose, roi
from numpyvision.ops.activation import relu_forward

MARGIN = 2e-3            # distance from a corner that counts as off it


@dataclass
class Trial:
    """One correct operation (or layer) with inputs."""

    name: str
    args: list
    kwargs: dict = field(default_factory=dict)
    constants: tuple = ()
    fixed: dict | None = None
    kink: bool = False
    layer: object = None

    def __str__(self):
        shown = [str([p.shape for p in a] if isinstance(a, tuple) else getattr(a, "shape", a)) for a in self.args]
        shown += [f"{k}={v}" for k, v in self.kwargs.items()]
        return f"{self.name}({', '.join(shown)}){' on a corner' if self.kink else ''}"

    def gradcheck(self, rng):
        """The Report."""
        if self.layer is not None:
            return check.gradcheck(self.layer, args=self.args, rng=rng, fixed=self.fixed)
        pair = contract.operations()[self.name]
        return check.gradcheck(*pair, self.args, self.kwargs, rng=rng, constants=self.constants, fixed=self.fixed)


def draw(rng):
    """A Trial: first one of the operations, then its shapes, then its numbers."""
    return DRAWERS[int(rng.integers(len(DRAWERS)))](rng)


def until(make, good, tries=200):
    """make() until good(it)."""
    for _ in range(tries):
        it = make()
        if good(it):
            return it
    raise RuntimeError("no inputs off the corners found")


def between(rng, low, high):
    """A whole number, both ends included."""
    return int(rng.integers(low, high + 1))


def normal(rng, *shape):
    """Normal numbers, sometimes very small or large ones."""
    return np.array(rng.standard_normal(shape) * rng.choice([1.0, 1.0, 1.0, 1e-2, 50.0]))


def apart(rng, *shape):
    """No two equal, none near zero: 0.1 apart."""
    count = int(np.prod(shape))
    return 0.1 * (rng.permutation(count) - count // 2 + 0.5).reshape(shape)


def image(rng, most=6, empty=True, C=None):
    """(N, C, H, W) of a small map; now and then no image, or one pixel."""
    N = between(rng, 0 if empty and rng.random() < 0.1 else 1, 3)
    H, W = (1, 1) if rng.random() < 0.1 else (between(rng, 1, most), between(rng, 1, most))
    return N, C or between(rng, 1, 4), H, W


# ---- convolutions

def draw_conv2d(rng):
    def make():
        groups = between(rng, 1, 3)
        N, _, H, W = image(rng)
        shapes = (N, groups * between(rng, 1, 2), H, W), (groups * between(rng, 1, 2), 0, between(rng, 1, 3), between(rng, 1, 3))
        pairs = [tuple(between(rng, low, 3 - (low == 0)) for _ in range(2)) for low in (1, 0, 1)]
        return *shapes, *pairs, groups
    x, w, stride, padding, dilation, groups = until(make, lambda m: min(conv_ops.out_size(m[0], m[1], m[2], m[3], m[4])) >= 1)
    w = (w[0], x[1] // groups, *w[2:])
    b = normal(rng, w[0]) if rng.random() < 0.7 else None
    return Trial("conv2d", [normal(rng, *x), normal(rng, *w), b], dict(stride=stride, padding=padding, dilation=dilation, groups=groups))


def draw_conv1d(rng):
    groups, k, padding, dilation = between(rng, 1, 2), between(rng, 1, 3), between(rng, 0, 2), between(rng, 1, 2)
    length = between(rng, max(dilation * (k - 1) + 1 - 2 * padding, 1), 9)
    C, F = groups * between(rng, 1, 2), groups * between(rng, 1, 2)
    settings = dict(stride=between(rng, 1, 3), padding=padding, dilation=dilation, groups=groups)
    return Trial("conv1d", [normal(rng, between(rng, 1, 3), C, length), normal(rng, F, C // groups, k), normal(rng, F)], settings)


def draw_conv_transpose2d(rng):
    def make():
        groups = between(rng, 1, 2)
        N, _, H, W = image(rng, 4)
        x, w = (N, groups * between(rng, 1, 2), H, W), (0, between(rng, 1, 2), between(rng, 1, 3), between(rng, 1, 3))
        stride, padding, dilation = ((between(rng, low, high), between(rng, low, high)) for low, high in ((1, 3), (0, 2), (1, 2)))
        extra = tuple(between(rng, 0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
        return x, w, dict(stride=stride, padding=padding, output_padding=extra, dilation=dilation, groups=groups)
    x, w, settings = until(make, lambda m: min(conv_transpose.out_size(m[0], m[1], **m[2])) >= 1)
    b = normal(rng, w[1] * settings["groups"]) if rng.random() < 0.7 else None
    return Trial("conv_transpose2d", [normal(rng, *x), normal(rng, x[1], *w[1:]), b], settings)


def draw_conv_transpose1d(rng):
    stride, k = between(rng, 1, 3), between(rng, 1, 4)
    x = normal(rng, between(rng, 1, 2), 2, between(rng, 2, 5))
    settings = dict(stride=stride, padding=between(rng, 0, 1 if k > 1 else 0), output_padding=between(rng, 0, stride - 1))
    return Trial("conv_transpose1d", [x, normal(rng, 2, between(rng, 1, 3), k)], settings)


# ---- dense, activations, norms

def draw_linear(rng):
    N, D, F = between(rng, 0, 4), between(rng, 1, 6), between(rng, 1, 5)
    return Trial("linear", [normal(rng, N, D), normal(rng, D, F), normal(rng, F) if rng.random() < 0.7 else None])


def draw_relu(rng):
    x, kink = apart(rng, *image(rng)), rng.random() < 0.15
    if kink and x.size:
        x.flat[0] = 0.0
    return Trial("relu", [x], kink=kink)


def draw_sigmoid(rng):
    return Trial("sigmoid", [normal(rng, *rng.integers(1, 5, between(rng, 0, 3)))])


def draw_batch_norm(rng):
    shape = until(lambda: image(rng, 4, empty=False), lambda s: s[0] * s[2] * s[3] > 2)
    x, C = rng.standard_normal(shape) * rng.choice([1.0, 1.0, 30.0]) + rng.choice([0.0, 3.0]), shape[1]
    train = bool(rng.random() < 0.7)
    args = [x, rng.standard_normal(C), rng.standard_normal(C), rng.standard_normal(C), rng.uniform(0.5, 2, C)]
    return Trial("batch_norm", args, dict(train=train), ("running_mean", "running_var"))


def draw_affine_norm(rng):
    shape = image(rng, 4)
    C = shape[1]
    args = [normal(rng, *shape), rng.standard_normal(C), rng.standard_normal(C), rng.standard_normal(C), rng.uniform(0.5, 2, C)]
    return Trial("affine_norm", args, constants=("mean", "var"))


def draw_group_norm(rng):
    groups = between(rng, 1, 3)
    shape = image(rng, 4, C=groups * between(rng, 1, 3))
    args = [rng.standard_normal(shape) * rng.choice([1.0, 1.0, 30.0]), rng.standard_normal(shape[1]), rng.standard_normal(shape[1])]
    return Trial("group_norm", args, dict(num_groups=groups))


# ---- pooling and resizing

def window(rng, shape):
    """kernel_size, stride, padding that fit."""
    k = between(rng, 1, 3)
    p = between(rng, max(0, -(-(k - min(shape[2:])) // 2)), max(k // 2, -(-(k - min(shape[2:])) // 2)))
    return dict(kernel_size=k, stride=between(rng, 1, 4) if rng.random() < 0.7 else None, padding=p)


def fits(window, shape):
    """Whether pooling takes it."""
    return window["padding"] <= window["kernel_size"] // 2 and min(shape[2:]) + 2 * window["padding"] >= window["kernel_size"]


def draw_max_pool2d(rng):
    shape = image(rng, 7)
    settings, x, kink = until(lambda: window(rng, shape), lambda w: fits(w, shape)), apart(rng, *shape), rng.random() < 0.1
    if kink:
        x = np.round(x)
    return Trial("max_pool2d", [x], settings, kink=kink)


def draw_avg_pool2d(rng):
    shape = image(rng, 7)
    return Trial("avg_pool2d", [normal(rng, *shape)], until(lambda: window(rng, shape), lambda w: fits(w, shape)))


def draw_global_avg_pool(rng):
    return Trial("global_avg_pool", [normal(rng, *image(rng))])


def draw_max_unpool2d(rng):
    N, C, h, w = image(rng, 3)
    indices = rng.integers(0, 4 * h * w, (N, C, h, w))
    return Trial("max_unpool2d", [normal(rng, N, C, h, w), indices])


def draw_bed_of_nails(rng):
    return Trial("bed_of_nails", [normal(rng, *image(rng, 4))], dict(scale_factor=(between(rng, 1, 3), between(rng, 1, 3))))


def draw_upsample(rng):
    kind, settings = ("nearest", "bilinear", "bicubic")[between(rng, 0, 2)], {}
    if rng.random() < 0.5:
        settings["size"] = between(rng, 1, 7), between(rng, 1, 7)
    else:
        settings["scale_factor"] = between(rng, 1, 3), between(rng, 1, 3)
    if kind != "nearest":
        settings["align_corners"] = bool(rng.random() < 0.5)
    return Trial(f"upsample_{kind}", [normal(rng, *image(rng, 5))], settings)


def draw_extract_patches(rng):
    N, C, H, W = image(rng, empty=False)
    P = between(rng, 0, 5)
    centres = np.stack([rng.integers(0, n, P) for n in (N, H, W)], axis=1)
    return Trial("extract_patches", [normal(rng, N, C, H, W), centres], dict(size=between(rng, 1, 5)))


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


def draw_smooth_l1(rng):
    (shape, weights), beta = loss_inputs(rng), float(rng.choice([0.0, 1 / 9, 1.0]))
    target = rng.standard_normal(shape)
    distance = until(lambda: rng.standard_normal(shape), lambda d: np.all(np.abs(np.abs(d) - beta) > MARGIN) and np.all(np.abs(d) > MARGIN))
    return Trial("smooth_l1", [target + distance, target, weights], dict(beta=beta), ("target", "weights"))


# ---- layers

def float64(layer, rng):
    """Off its first values."""
    from numpyvision.check.layer import shaken
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
        h = block.conv1.forward(x)[0]
        s = block.conv2.forward(relu_forward(h)[0])[0] + block.shortcut.forward(x)[0]
        return min(np.abs(h).min(), np.abs(s).min()) > MARGIN
    block, x = until(make, off)
    return Trial("BasicBlock", [x], layer=block)


def draw_fpn(rng):
    levels = between(rng, 1, 3)
    channels = [between(rng, 1, 3) for _ in range(levels)]
    N, H, W = between(rng, 1, 2), between(rng, 1, 2), between(rng, 1, 2)
    C = tuple(rng.standard_normal((N, c, H * 2 ** (levels - 1 - l), W * 2 ** (levels - 1 - l))) for l, c in enumerate(channels))
    return Trial("FPN", [C], layer=float64(fpn.FPN(channels, 3, rng=rng), rng))


DRAWERS = [make for name, make in list(globals().items()) if name.startswith("draw_")] + [draw_upsample, draw_simple_layer] * 2
