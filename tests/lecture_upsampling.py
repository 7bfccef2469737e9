"""Rows of the lecture: unpooling and interpolation (U) and their errata. Run by test_lecture.py."""
import numpy as np
import pytest
from lecture_rows import SQUARE, close, image, rng, row, table

from numpyvision.layers import pooling, upsample, vgg
from numpyvision.models import deconvnet
from numpyvision.ops import conv_transpose, pool, resize

BILINEAR = table("1.00 1.25 1.75 2.00 / 1.50 1.75 2.25 2.50 / 2.50 2.75 3.25 3.50 / 3.00 3.25 3.75 4.00")
BICUBIC = table("0.6836 1.0156 1.5625 1.8945 / 1.3477 1.6797 2.2266 2.5586 / 2.4414 2.7734 3.3203 3.6523 / "
                      "3.1055 3.4375 3.9844 4.3164")
UNCLAMPED = table("0.5625 0.9375 1.3125 1.125 / 1.125 1.75 2.25 1.875 / 1.875 2.75 3.25 2.625 / 1.6875 2.4375 2.8125 2.25")
POOLED = image([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])


@row("U01")
def bed_of_nails():
    out, cache = resize.bed_of_nails_forward(SQUARE)
    close(out[0, 0], [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]], 0)
    dout = rng(30).normal(size=out.shape)
    close(resize.bed_of_nails_backward(dout, cache), dout[:, :, ::2, ::2], 0)


@row("U02")
def nearest_neighbour():
    out, cache = resize.upsample_nearest_forward(SQUARE)
    close(out[0, 0], [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]], 0)
    dout = rng(31).normal(size=out.shape)
    close(resize.upsample_nearest_backward(dout, cache), dout.reshape(1, 1, 2, 2, 2, 2).sum(axis=(3, 5)))


@row("U03")
def bilinear_gives_the_slides_sixteen_numbers():
    close(resize.upsample_bilinear_forward(SQUARE)[0][0, 0], BILINEAR)


def slides_formula(places, f=SQUARE[0, 0]):
    """sum over i in floor(x)-1 .. ceil(x)+1, and j likewise, of f_ij max(0, 1-|x-i|) max(0, 1-|y-j|), cells that exist."""
    out = np.zeros((len(places), len(places)))
    for p, y in enumerate(places):
        for q, x in enumerate(places):
            for j in range(int(np.floor(y)) - 1, int(np.ceil(y)) + 2):
                for i in range(int(np.floor(x)) - 1, int(np.ceil(x)) + 2):
                    if 0 <= i < f.shape[1] and 0 <= j < f.shape[0]:
                        out[p, q] += f[j, i] * max(0, 1 - abs(x - i)) * max(0, 1 - abs(y - j))
    return out


@row("U04", "E04")
def the_bilinear_formula_needs_its_positions_clamped():
    places = resize.sample_positions(2, 4)
    close(places, [-0.25, 0.25, 0.75, 1.25])
    close(slides_formula(np.clip(places, 0, 1)), BILINEAR)
    as_written = slides_formula(places)
    close(as_written, UNCLAMPED)
    right = np.isclose(as_written, BILINEAR)
    assert right.sum() == 4 and right[1:3, 1:3].all(), "only the four middle numbers"
    k = upsample.bilinear_kernel(4)
    close(k, [0.25, 0.75, 0.75, 0.25])
    stamped, _ = conv_transpose.conv_transpose2d_forward(SQUARE, np.outer(k, k)[None, None], stride=2, padding=1)
    close(stamped[0, 0], UNCLAMPED)                        # FCN's bilinear upsampling makes just this table


@row("E05")
def the_formulas_range_is_wider_than_needed_and_harmless():
    f = rng(32).normal(size=(7, 7))
    for x in rng(33).uniform(1, 5, 40):
        wide = np.arange(np.floor(x) - 1, np.ceil(x) + 2)
        weights = np.maximum(0, 1 - abs(x - wide))
        assert len(wide) == 4 and np.count_nonzero(weights) == 2, "the outer ones weigh nothing"
        near = [int(np.floor(x)), int(np.ceil(x))]
        close(weights @ f[wide.astype(int)], np.maximum(0, 1 - abs(x - np.array(near))) @ f[near])


@row("U05")
def bicubic_gives_the_slides_sixteen_numbers():
    out = resize.upsample_bicubic_forward(SQUARE)[0][0, 0]
    slide = table("0.68 1.02 1.56 1.89 / 1.35 1.68 2.23 2.56 / 2.44 2.77 3.32 3.65 / 3.11 3.44 3.98 4.32")
    close(out, slide, 0.005)
    close(out, BICUBIC, 5.01e-5)


@row("U06")
def how_images_are_resized_depends_on_a():
    other = resize.upsample_bicubic_forward(SQUARE, a=-0.5)[0][0, 0]
    close(other[:2], table("0.7891 1.0625 1.6562 1.9297 / 1.3359 1.6094 2.2031 2.4766"), 5.01e-5)
    assert abs(other - BICUBIC).max() > 0.05


@row("U07")
def max_pooling_remembers_positions():
    out, cache = pool.max_pool2d_forward(POOLED, 2)
    close(out[0, 0], [[5, 6], [7, 8]], 0)
    assert cache.indices.ravel().tolist() == [5, 2, 12, 15]


@row("U08")
def max_unpooling_uses_them():
    _, cache = pool.max_pool2d_forward(POOLED, 2)
    out, _ = pool.max_unpool2d_forward(SQUARE, cache.indices)
    close(out[0, 0], [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]], 0)


@row("U09")
def each_unpool_takes_the_indices_of_its_own_pool():
    x, kinds = rng(34).random((1, 3, 16, 16)), dict(rng=rng(35), dtype=np.float64)
    backbone, decoder = vgg.VGG((4, 6), (1, 1), **kinds), deconvnet.Decoder((4, 6), (1, 1), **kinds)
    P, indices, _ = backbone.forward_with_indices(x)
    out, _ = decoder.forward(P[-1], indices, [(16, 16), (8, 8)])
    assert out.shape == (1, 4, 16, 16)
    with pytest.raises(ValueError, match="pool at its own level"):
        decoder.forward(P[-1], indices[::-1], [(16, 16), (8, 8)])
    with pytest.raises(ValueError, match="another"):
        pooling.MaxUnpool2d().forward(P[-1][:, :4], indices[0])


@row("U10")
def unpooling_and_pooling_undo_each_other_one_way():
    x = rng(36).normal(size=(2, 3, 6, 8))
    pooled, cache = pool.max_pool2d_forward(x, 2)
    kept, _ = pool.max_unpool2d_forward(pooled, cache.indices)
    assert ((kept == x) | (kept == 0)).all() and np.count_nonzero(kept) == pooled.size, "maxima in place, zeros elsewhere"
    y = rng(37).random(pooled.shape) + 0.1
    close(pool.max_pool2d_forward(pool.max_unpool2d_forward(y, cache.indices)[0], 2)[0], y, 0)


@row("E02")
def bicubic_uses_four_neighbours_an_axis_not_three():
    weights = resize.axis_weights(9, 18, resize.keys)
    assert (np.count_nonzero(weights[4:-4], axis=1) == 4).all()
    places = resize.sample_positions(2, 4)
    three = np.zeros((4, 2))                               # the claim: the three closest, repeated at the border
    for q, x in enumerate(places):
        cells = sorted(range(-3, 5), key=lambda i, x=x: abs(x - i))[:3]
        for i in cells:
            three[q, min(max(i, 0), 1)] += resize.keys(x - i)
    assert abs(three @ SQUARE[0, 0] @ three.T - BICUBIC).max() > 0.05 and abs(three.sum(axis=1) - 1).max() > 0.02
    four = resize.axis_weights(2, 4, resize.keys)
    close(four @ SQUARE[0, 0] @ four.T, BICUBIC, 5.01e-5)


@row("E03")
def the_dots_of_the_bilinear_picture_are_not_those_of_its_numbers():
    close(resize.sample_positions(2, 4, align_corners=True), [0, 1 / 3, 2 / 3, 1])
    drawn = resize.upsample_bilinear_forward(SQUARE, align_corners=True)[0][0, 0]
    close(drawn[0], [1, 4 / 3, 5 / 3, 2])
    assert np.isclose(drawn, BILINEAR).sum() == 4, "only the corners"
    close(resize.upsample_bilinear_forward(SQUARE, align_corners=False)[0][0, 0], BILINEAR)
