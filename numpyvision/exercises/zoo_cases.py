"""The inputs on which the zoo's bugs run: a name, an operation with its arrays, or a layer. Chosen so that what is wrong shows.

Square maps, where exchanged axes still fit; windows that overlap; places that are hit twice; boxes across the border; weights that differ.
"""
import inspect
from dataclasses import dataclass

import numpy as np

from numpyvision import contract
from numpyvision.check.layer import shaken
from numpyvision.contract import BOXES, REFERENCES, ROIS, RUNNING, SEMANTIC, case, distinct, fixed, integers, randn, uniform


@dataclass(frozen=True)
class LayerCase:
    """A layer's class by name, what it is built from, and the recipes of its inputs (a tuple of them for a pyramid)."""

    name: str
    options: tuple
    inputs: tuple
    keywords: dict
    fixed: dict | None = None

    def build(self, module):
        """The layer, made of this module's class, in float64 and off its first values: the same weights every time."""
        rng = contract.seeded(self.name)
        cls = getattr(module, self.name)
        takes_rng = "rng" in inspect.signature(cls).parameters
        made = cls(*self.options, **self.keywords, **({"rng": rng} if takes_rng else {}))
        return shaken(made.astype(np.float64), rng)

    def arrays(self):
        """The inputs, drawn anew."""
        rng = contract.seeded(self.name, 1)
        return [tuple(r.make(rng) for r in x) if isinstance(x, tuple) else x.make(rng) for x in self.inputs]


def layer(name, *options, x, fixed=None, **keywords):
    """A line of the table of layers; x is one recipe or, for several inputs, a list of them."""
    return LayerCase(name, options, tuple(x) if isinstance(x, list) else (x,), keywords, fixed)


def of(bug):
    """The inputs on which this bug shows."""
    return CASES[bug.case or bug.op]


MASK = [[1.0, 0.0, 1.5, 0.5], [0.0, 2.0, 1.0, 0.7], [1.2, 0.4, 0.0, 0.0]]
ACROSS = [[0, -1.73, -1.21, 6.37, 7.21], [1, 8.29, 9.83, 18.47, 17.11], [0, 3.17, 4.43, 11.57, 13.89]]
CROWDED = [[0, 1.13, 0.71, 9.37, 11.21], [0, 2.29, 1.83, 10.47, 9.61], [1, 3.17, 4.43, 11.57, 13.89], [1, -9.7, -8.3, -4.6, -4.4]]
PATCHES = [[0, 0, 0], [1, 4, 4], [1, 2, 3], [1, 2, 2], [0, 3, 1]]
SHARED = [[[[1, 2, 23], [13, 0, 9]], [[5, 5, 8], [20, 5, 8]]], [[[3, 4, 3], [9, 12, 22]], [[0, 1, 6], [6, 7, 23]]]]

CASES = {
    "linear": case("linear", x=randn(3, 5), w=randn(5, 4), b=randn(4)),
    "linear square": case("linear", x=randn(3, 4), w=randn(4, 4), b=randn(4)),
    "linear map": case("linear", x=randn(3, 2, 2, 2), w=randn(8, 4), b=randn(4)),
    "conv2d": case("conv2d", x=randn(2, 3, 6, 5), w=randn(4, 3, 3, 3), b=randn(4), padding=1),
    "conv2d strided": case("conv2d", x=randn(2, 3, 7, 8), w=randn(4, 3, 3, 3), b=randn(4), stride=2, padding=1),
    "conv2d dilated": case("conv2d", x=randn(2, 4, 7, 7), w=randn(6, 2, 3, 3), b=randn(6), padding=1, dilation=2, groups=2),
    "conv2d square": case("conv2d", x=randn(2, 3, 5, 5), w=randn(3, 3, 3, 3), b=randn(3), padding=1),
    "conv2d 1x1": case("conv2d", x=randn(2, 4, 4, 4), w=randn(4, 4, 1, 1), b=randn(4)),
    "conv1d": case("conv1d", x=randn(2, 4, 7), w=randn(6, 2, 3), b=randn(6), stride=2, padding=1, groups=2),
    "conv1d dense": case("conv1d", x=randn(2, 3, 6), w=randn(3, 3, 3), b=randn(3), padding=1),
    "conv_transpose2d": case("conv_transpose2d", x=randn(2, 3, 4, 5), w=randn(3, 2, 3, 3), b=randn(2), stride=2, padding=1,
                             output_padding=1),
    "conv_transpose2d square": case("conv_transpose2d", x=randn(2, 3, 4, 4), w=randn(3, 3, 3, 3), b=randn(3), stride=2, padding=1),
    "conv_transpose1d": case("conv_transpose1d", x=randn(2, 4, 5), w=randn(4, 2, 3), b=randn(4), stride=2, padding=1, output_padding=1,
                             groups=2),
    "relu": case("relu", x=distinct(2, 3, 4, 5)),
    "sigmoid": case("sigmoid", x=randn(4, 5)),
    "max_pool2d": case("max_pool2d", x=distinct(2, 3, 7, 6), kernel_size=3, stride=2, padding=1),
    "max_pool2d square": case("max_pool2d", x=distinct(2, 2, 6, 6), kernel_size=2),
    "max_pool2d dense": case("max_pool2d", x=distinct(2, 2, 5, 5), kernel_size=3, stride=1),
    "max_unpool2d": case("max_unpool2d", x=randn(2, 2, 2, 3), indices=fixed(SHARED, np.int64)),
    "avg_pool2d": case("avg_pool2d", x=randn(2, 3, 7, 6), kernel_size=3, stride=2, padding=1),
    "avg_pool2d square": case("avg_pool2d", x=randn(2, 2, 6, 6), kernel_size=2),
    "global_avg_pool": case("global_avg_pool", x=randn(2, 3, 4, 5)),
    "batch_norm": case("batch_norm", x=randn(3, 4, 3, 5), gamma=randn(4), beta=randn(4), running_mean=randn(4),
                       running_var=uniform(.5, 2, 4), **RUNNING),
    "affine_norm": case("affine_norm", x=randn(3, 4, 3, 5), gamma=randn(4), beta=randn(4), mean=randn(4), var=uniform(.5, 2, 4),
                        constants=("mean", "var")),
    "group_norm": case("group_norm", x=randn(2, 8, 3, 5), gamma=randn(8), beta=randn(8), num_groups=4),
    "bed_of_nails": case("bed_of_nails", x=randn(2, 3, 3, 4), scale_factor=(2, 3)),
    "bed_of_nails square": case("bed_of_nails", x=randn(2, 3, 4, 4), scale_factor=2),
    "upsample_nearest": case("upsample_nearest", x=randn(2, 3, 3, 4)),
    "upsample_nearest square": case("upsample_nearest", x=randn(2, 3, 4, 4)),
    "upsample_bilinear": case("upsample_bilinear", x=randn(2, 3, 3, 4)),
    "upsample_bilinear square": case("upsample_bilinear", x=randn(2, 3, 4, 4)),
    "upsample_bilinear corners": case("upsample_bilinear", x=randn(2, 3, 3, 4), scale_factor=(3, 2), align_corners=True),
    "upsample_bicubic": case("upsample_bicubic", x=randn(2, 3, 4, 5)),
    "upsample_bicubic square": case("upsample_bicubic", x=randn(2, 3, 4, 4)),
    "roi_align": case("roi_align", x=randn(2, 3, 8, 9), rois=fixed(ROIS), output_size=2, spatial_scale=.5, fixed={"rois": [0]}),
    "roi_align across": case("roi_align", x=randn(2, 3, 8, 9), rois=fixed(ACROSS), output_size=2, spatial_scale=.5, fixed={"rois": [0]}),
    "roi_align square": case("roi_align", x=randn(2, 3, 8, 8), rois=fixed(ROIS), output_size=(2, 2), spatial_scale=.5, fixed={"rois": [0]}),
    "roi_align max": case("roi_align", x=randn(2, 3, 8, 9), rois=fixed(ROIS), output_size=(3, 2), spatial_scale=.5, reduce="max",
                          fixed={"rois": [0]}),
    "roi_pool": case("roi_pool", x=distinct(2, 3, 8, 9), rois=fixed(CROWDED), output_size=(3, 2), spatial_scale=.5, fixed={"rois": [0]}),
    "roi_pool square": case("roi_pool", x=distinct(2, 3, 8, 8), rois=fixed(CROWDED), output_size=2, spatial_scale=.5, fixed={"rois": [0]}),
    "extract_patches": case("extract_patches", x=randn(2, 3, 5, 5), centres=fixed(PATCHES, np.int64), size=3),
    "encode_boxes": case("encode_boxes", boxes=fixed(BOXES), references=fixed(REFERENCES), weights=(10, 9, 5, 4)),
    "decode_boxes": case("decode_boxes", deltas=randn(3, 4), references=fixed(REFERENCES), weights=(2, 1, 3, 1)),
    "decode_boxes clipped": case("decode_boxes", deltas=fixed([[.3, -.2, 5, .1], [.1, .2, .3, 4.2], [-1, 0, -.5, 4.1]]),
                                 references=fixed(REFERENCES)),
    "clip_boxes": case("clip_boxes", boxes=fixed(BOXES), image_size=(20, 24)),
    "softmax_cross_entropy": case("softmax_cross_entropy", logits=randn(5, 4), labels=integers(4, 5)),
    "softmax_cross_entropy map": case("softmax_cross_entropy", logits=randn(2, 4, 2, 3), labels=fixed(SEMANTIC, np.int64)),
    "sigmoid_bce": case("sigmoid_bce", logits=randn(4, 6), targets=uniform(0, 1, 4, 6), weights=None, constants=("targets",)),
    "sigmoid_bce weighted": case("sigmoid_bce", logits=randn(3, 4), targets=uniform(0, 1, 3, 4), weights=fixed(MASK), normalizer=7,
                                 constants=("targets", "weights")),
    "smooth_l1": case("smooth_l1", pred=randn(6, 4), target=randn(6, 4), weights=None, beta=0.5, constants=("target",)),
    "smooth_l1 weighted": case("smooth_l1", pred=randn(3, 4), target=randn(3, 4), weights=fixed(MASK), beta=0.5,
                               constants=("target", "weights")),
    "BasicBlock": layer("BasicBlock", 8, 8, x=randn(2, 8, 3, 4)),
    "Bottleneck": layer("Bottleneck", 32, 32, x=randn(2, 32, 3, 2)),
    "ConvNorm": layer("ConvNorm", 8, 8, 3, x=randn(2, 8, 3, 4)),
    "FPN": layer("FPN", (4, 4, 4), 8, x=(randn(2, 4, 4, 8), randn(2, 4, 2, 4), randn(2, 4, 1, 2))),
    "BatchNorm2d": layer("BatchNorm2d", 4, x=randn(3, 4, 3, 5)),
    "GroupNorm": layer("GroupNorm", 8, 4, x=randn(2, 8, 3, 5)),
    "Conv2d": layer("Conv2d", 3, 3, 3, x=randn(2, 3, 5, 5), padding=1),
    "Linear": layer("Linear", 6, 4, x=randn(3, 6)),
    "PyramidRoIAlign": layer("PyramidRoIAlign", 2, (2, 4), 8, 2, x=[(randn(2, 2, 6, 8), randn(2, 2, 3, 4)), fixed(ROIS)],
                             fixed={"rois": [0]}),
}
