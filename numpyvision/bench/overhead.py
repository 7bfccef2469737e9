"""What a call costs when there is almost nothing to compute: microseconds of Python, checks, caches and thread starts.

A small model on a small image runs a few hundred of them a step, so ten microseconds each are a few milliseconds.
"""
import numpy as np

from numpyvision.bench import operations
from numpyvision.bench.operations import case, integers, randn, rois, uniform
from numpyvision.layers import blocks, conv

C = 8
TINY = [
    case("conv 3x3", "1x8x4x4", "conv2d", x=randn(1, C, 4, 4), w=randn(C, C, 3, 3), stride=1, padding=1),
    case("conv 1x1", "1x8x4x4", "conv2d", x=randn(1, C, 4, 4), w=randn(C, C, 1, 1), stride=1, padding=0),
    case("transposed conv 2x2", "1x8x4x4", "conv_transpose2d", x=randn(1, C, 4, 4), w=randn(C, C, 2, 2), stride=2, padding=0),
    case("linear", "4x8", "linear", x=randn(4, C), w=randn(C, C), b=randn(C)),
    case("max pool 2x2", "1x8x4x4", "max_pool2d", x=randn(1, C, 4, 4), kernel_size=2),
    case("batch norm", "1x8x4x4", "batch_norm", constants=("running_mean", "running_var"), x=randn(1, C, 4, 4), gamma=randn(C),
         beta=randn(C), running_mean=randn(C), running_var=uniform(C)),
    case("group norm", "1x8x4x4", "group_norm", x=randn(1, C, 4, 4), gamma=randn(C), beta=randn(C), num_groups=4),
    case("relu", "1x8x4x4", "relu", x=randn(1, C, 4, 4)),
    case("nearest x2", "1x8x4x4", "upsample_nearest", x=randn(1, C, 4, 4), scale_factor=2),
    case("bilinear x2", "1x8x4x4", "upsample_bilinear", x=randn(1, C, 4, 4), scale_factor=2),
    case("row cross-entropy", "8x4", "softmax_cross_entropy", logits=randn(8, 4), labels=integers(4, 8)),
    case("sigmoid BCE", "8", "sigmoid_bce", constants=("targets",), logits=randn(8), targets=uniform(8)),
    case("smooth L1", "8x4", "smooth_l1", constants=("target",), pred=randn(8, 4), target=randn(8, 4)),
    case("RoI Align 2x2", "2 of 1x8x4x4", "roi_align", x=randn(1, C, 4, 4), rois=rois(2, 1, 16), output_size=2, spatial_scale=0.25),
]


def tasks(names=(), others=None):
    """Tasks of next to no arithmetic; and two layers, which add names and caches to their operations."""
    known = operations.contract.operations()
    for line in TINY:
        if operations.wanted(names, line.group, line.op):
            yield from operations.pair(line, *known[line.op], others or {})
    rng, x = np.random.default_rng(0), np.ones((1, C, 4, 4), np.float32)
    for name, layer in (("Conv2d layer", conv.Conv2d(C, C, 3, padding=1, rng=rng)), ("BasicBlock layer", blocks.BasicBlock(C, C, rng=rng))):
        if operations.wanted(names, name):
            _, cache = layer.forward(x)
            for direction, function in (("forward", lambda f=layer: f.forward(x)), ("backward", lambda f=layer, c=cache: f.backward(x, c))):
                yield operations.Task(name, "1x8x4x4", direction, operations.ours(function))
