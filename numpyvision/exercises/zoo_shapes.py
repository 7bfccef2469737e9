"""Random shapes for the correct operations: one pixel, no image, odd strides, many groups; a right gradient must be called right.

Sizes are small; nothing here is typical of a network, much is at the edge of what is allowed. Regions, losses and layers: zoo_regions.py.
"""
import numpy as np

from numpyvision.exercises.zoo_trials import Trial, apart, between, image, normal, until
from numpyvision.ops import conv as conv_ops
from numpyvision.ops import conv_transpose

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


DRAWERS = [make for name, make in list(globals().items()) if name.startswith("draw_")] + 2 * [draw_upsample]
