"""Inputs for the exercises about operations: {name: function(rng) -> [(args, kwargs), ...]}, the worked example first.

After it come the lines that contract.py has for the operation, with new numbers, the empty batch, and what else shows a known mistake.
"""
import numpy as np

from numpyvision.exercises import contract_lines
from numpyvision.ops import resize

NINE = np.arange(9.).reshape(1, 1, 3, 3)                                       # 0 1 2 / 3 4 5 / 6 7 8
FILTER = np.array([[[[1., 2], [0, -1]]]])
SLIDE = np.array([[[[1., 2], [3, 4]]]])                                        # the image of L16-U01 to U05, V03
POOLED = np.array([[[[1., 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]]])          # of L16-U07
PLACES = np.array([[[[5, 2], [12, 15]]]])                                      # where its maxima were
BETWEEN = np.array([[0, 0.5, 0.8, 1.5, 1.8]])                                  # one bin, whose sample lies at (0.5, 0.8): L16-A03
FLAT = np.array([[[[1., 1], [3, 3]]]])                                         # mean 2, variance 1
RUNNING = [np.zeros(1), np.ones(1)]


def after(op, args, kwargs=None, more=None, keep=None):
    """Cases: the worked example, the lines of `op` in contract.py whose settings `keep` likes, the empty batch, then more(rng)."""
    def cases(rng):
        yield [a.copy() if isinstance(a, np.ndarray) else a for a in args], kwargs or {}
        yield from contract_lines.cases_of([line for line in contract_lines.lines_of(op) if keep is None or keep(line.statics())], rng)
        yield from more(rng) if more else ()
    return cases


def relu_not_a_number(rng):
    yield [np.array([[np.nan, -1., 2., -np.inf, np.inf]])], {}


def images_under_three(rng):
    """Three images, so that a mean over the batch and a sum differ; a bias always."""
    yield [rng.standard_normal((3, 2, 4, 5)), rng.standard_normal((3, 2, 2, 3)), rng.standard_normal(3)], {"padding": 1}


def conv2d_with_bias(rng):
    yield [NINE, FILTER, np.zeros(1)], {}
    yield from images_under_three(rng)
    yield [rng.standard_normal((2, 4, 7, 8)), rng.standard_normal((6, 2, 3, 2)), rng.standard_normal(6)], {"stride": 2, "groups": 2}
    yield [np.zeros((0, 2, 4, 4)), rng.standard_normal((3, 2, 3, 3)), np.zeros(3)], {}


def window_settings(rng):
    """x_shape, kernel_size, and the settings of im2col, from plain to all at once."""
    yield (2, 3, 5, 6), (3, 2), {}
    yield (2, 2, 6, 5), (3, 3), {"stride": (2, 2), "padding": (1, 1)}
    yield (1, 2, 7, 8), (3, 2), {"stride": (2, 1), "padding": (1, 0), "dilation": (2, 1)}
    yield (0, 2, 4, 4), (2, 2), {}


def im2col(rng):
    yield [NINE.copy(), (2, 2)], {}
    for shape, kernel_size, settings in window_settings(rng):
        yield [rng.standard_normal(shape), kernel_size], settings
    yield [rng.standard_normal((2, 4, 5, 5)), (2, 3)], {"groups": 2}


def col2im(rng):
    from numpyvision.ops import conv
    yield [np.ones((1, 1, 4, 4)), (1, 1, 3, 3), (2, 2)], {}
    for shape, kernel_size, settings in window_settings(rng):
        cols = conv.im2col(np.zeros(shape), kernel_size, **settings)
        yield [rng.standard_normal(cols.shape), shape, kernel_size], settings


def max_pool2d_ties(rng):
    yield [rng.integers(0, 3, (2, 2, 6, 4)).astype(float)], {"kernel_size": 3, "stride": 1, "padding": 1}
    yield [-1 - rng.random((1, 2, 4, 6))], {"kernel_size": 3, "stride": 2, "padding": 1}
    yield [np.array([[[[1., np.nan, 2, 3], [4, 5, 0, -1]]]])], {"kernel_size": 2}


def batch_norm_more(rng):
    yield [rng.standard_normal((2, 3, 2, 2)), np.ones(3), np.zeros(3), np.zeros(3), np.ones(3)], {"momentum": 0.3, "eps": 1e-3}


def distinct(rng, *shape):
    """No two values nearer to each other than 0.1."""
    return 0.1 * rng.permutation(int(np.prod(shape))).reshape(shape)


def roi_boxes(rng, count, scale):
    """Boxes that reach beyond a map of 8 x 9 cells here and there, no side a multiple of half a cell."""
    corner = rng.uniform(-2, 6, (count, 2)) / scale
    size = rng.uniform(0.7, 6, (count, 2)) / scale
    return np.concatenate([np.arange(count)[:, None] % 2, corner, corner + size], axis=1)


def roi_pool_more(rng):
    halves = np.array([[0., 5, 1, 13, 9], [1., 3, -3, 9, 7], [0, 30, 30, 40, 40]])             # at scale 1/2; the last is outside
    for mode in ("caffe", "slide"):
        yield [distinct(rng, 2, 2, 8, 9), halves], {"output_size": 2, "spatial_scale": 0.5, "mode": mode}
        yield [distinct(rng, 2, 2, 8, 9), roi_boxes(rng, 4, 0.25)], {"output_size": (3, 2), "spatial_scale": 0.25, "mode": mode}


def roi_pool_ties(rng):
    yield from roi_pool_more(rng)
    yield [rng.integers(0, 3, (2, 2, 8, 9)).astype(float), roi_boxes(rng, 4, 0.25)], {"output_size": 2, "spatial_scale": 0.25}


def roi_align_more(rng):
    yield [rng.standard_normal((2, 2, 8, 9)), roi_boxes(rng, 4, 0.25)], {"output_size": (2, 3), "spatial_scale": 0.25}
    yield [rng.standard_normal((2, 2, 8, 9)), roi_boxes(rng, 3, 0.5)], {"output_size": 2, "spatial_scale": 0.5, "aligned": False}


def roi_align(example_rois, **settings):
    x = np.arange(25.).reshape(1, 1, 5, 5) if settings["output_size"] == 2 else SLIDE
    return after("roi_align", [x, example_rois], {"spatial_scale": 1.0, "sampling_ratio": 1, **settings}, roi_align_more,
                 lambda statics: statics.get("reduce", "avg") == "avg")


def top_down(rng):
    yield [SLIDE.copy(), np.array([[[[10.]]]])], {}
    for levels, (N, C, H, W) in ((3, (2, 2, 4, 8)), (4, (1, 3, 8, 8)), (1, (2, 1, 2, 3)), (3, (0, 2, 4, 4))):
        yield [rng.standard_normal((N, C, H >> l, W >> l)) for l in range(levels)], {}


def sample_positions(rng):
    yield [2, 4], {}
    for length, size in ((3, 5), (5, 3), (4, 1), (1, 3), *rng.integers(2, 9, (2, 2)).tolist()):
        yield [length, size], {}
        yield [length, size], {"align_corners": True}


def axis_weights(rng):
    yield [2, 4, resize.hat], {}
    for length, size in ((3, 7), (5, 4), (1, 3), tuple(rng.integers(2, 7, 2).tolist())):
        for bump in (resize.hat, resize.keys):
            yield [length, size, bump], {}
            yield [length, size, bump], {"align_corners": True}


def keys(rng):
    yield [np.array([0, 0.5, 1, 1.5, 2])], {}
    yield [rng.uniform(-3, 3, (4, 5))], {"a": -0.5}
    yield [rng.uniform(-3, 3, 20)], {"a": -0.75}
    yield [np.zeros(0)], {}


def unpool_more(rng):
    """Planes of another height than width, and values that share a place."""
    apart = rng.permuted(np.tile(np.arange(20), (2, 3, 1)), axis=2)[..., :4].reshape(2, 3, 2, 2)
    yield [rng.standard_normal((2, 3, 2, 2)), apart], {"output_size": (4, 5)}
    yield [rng.standard_normal((1, 2, 2, 3)), rng.integers(0, 6, (1, 2, 2, 3))], {"output_size": (2, 3)}


def conv_matrix(rng):
    yield [np.array([1., 2, 3]), 6], {}
    yield [np.array([1., 2, 3]), 6], {"stride": 2}
    yield [rng.standard_normal(3), 4], {"padding": 1}
    yield [rng.standard_normal((2, 3)), (4, 5)], {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    yield [rng.standard_normal((3, 2, 3)), (2, 6)], {"padding": 1}
    yield [rng.standard_normal((4, 2, 2, 3)), (4, 3, 4)], {"groups": 2, "padding": 1}


STAMP = [SLIDE, np.arange(1., 10).reshape(1, 1, 3, 3)]
NORM = [FLAT, np.array([2.]), np.array([10.])]
GROUPED = [np.array([[[[1., 3]], [[10, 30]]]]), np.array([1., 2]), np.array([0., 5])]
TEACH = [np.array([[[[1., 1]], [[3, 3]]]]), np.array([1., 2]), np.zeros(2)]
CROP = [np.arange(36.).reshape(1, 1, 6, 6), np.array([[0, 1., 0, 5, 5]])]
CROPPED = {"output_size": 2, "spatial_scale": 1.0, "mode": "slide"}

CASES = {
    "relu_forward": after("relu", [np.array([[-2, 0.5, 3]])], more=relu_not_a_number),
    "relu_backward": after("relu", [np.array([[-2, 0.5, 3]])]),
    "linear_forward": after("linear", [np.array([[1., 2]]), np.array([[1., 2, 3], [4, 5, 6]]), np.array([10., 20, 30])]),
    "linear_backward": after("linear", [np.array([[1., 2]]), np.array([[1., 2, 3], [4, 5, 6]]), np.zeros(3)]),
    "im2col": im2col,
    "conv2d_forward": after("conv2d", [NINE, FILTER]),
    "conv2d_db": conv2d_with_bias,
    "conv2d_dw": after("conv2d", [NINE, FILTER], more=images_under_three),
    "col2im": col2im,
    "conv2d_dx": after("conv2d", [NINE, FILTER], more=images_under_three),
    "conv1d_forward": after("conv1d", [np.array([[[1., 2, 3, 4]]]), np.array([[[1., 10, 100]]])], {"padding": 1}),
    "max_pool2d_forward": after("max_pool2d", [POOLED], {"kernel_size": 2}, max_pool2d_ties),
    "max_pool2d_backward": after("max_pool2d", [POOLED], {"kernel_size": 2}),
    "avg_pool2d_forward": after("avg_pool2d", [POOLED], {"kernel_size": 2}),
    "avg_pool2d_backward": after("avg_pool2d", [POOLED], {"kernel_size": 2}),
    "batch_norm_forward": after("batch_norm", NORM + RUNNING, more=batch_norm_more),
    "batch_norm_backward": after("batch_norm", [FLAT, np.ones(1), np.zeros(1)] + RUNNING, more=batch_norm_more),
    "group_norm_forward": after("group_norm", GROUPED, {"num_groups": 2}),
    "group_norm_backward": after("group_norm", TEACH, {"num_groups": 1}),
    "roi_pool_forward": after("roi_pool", CROP, CROPPED, roi_pool_ties),
    "roi_pool_backward": after("roi_pool", CROP, CROPPED, roi_pool_more),
    "top_down_forward": top_down,
    "top_down_backward": top_down,
    "roi_align_forward": roi_align(np.array([[0., 0, 0, 2, 2]]), output_size=2),
    "roi_align_dx": roi_align(BETWEEN, output_size=1),
    "roi_align_dbox": roi_align(BETWEEN, output_size=1),
    "bed_of_nails_forward": after("bed_of_nails", [SLIDE]),
    "bed_of_nails_backward": after("bed_of_nails", [SLIDE]),
    "upsample_nearest_forward": after("upsample_nearest", [SLIDE]),
    "upsample_nearest_backward": after("upsample_nearest", [SLIDE]),
    "sample_positions": sample_positions,
    "axis_weights": axis_weights,
    "upsample_bilinear_forward": after("upsample_bilinear", [SLIDE]),
    "upsample_bilinear_backward": after("upsample_bilinear", [SLIDE]),
    "keys": keys,
    "upsample_bicubic_forward": after("upsample_bicubic", [SLIDE]),
    "max_unpool2d_forward": after("max_unpool2d", [SLIDE, PLACES], more=unpool_more),
    "max_unpool2d_backward": after("max_unpool2d", [SLIDE, PLACES], more=unpool_more),
    "conv_transpose2d_forward": after("conv_transpose2d", STAMP, {"stride": 2, "padding": 1, "output_padding": 1}),
    "conv_transpose2d_backward": after("conv_transpose2d", STAMP, {"stride": 2}),
    "conv_transpose1d_forward": after("conv_transpose1d", [np.array([[[1., 10]]]), np.array([[[1., 2, 3]]])], {"stride": 2}),
    "conv_matrix": conv_matrix,
}
OPTIONS = {}
CHECKS = {}
