"""RoI Pool against the lecture's numbers, against a loop over single cells, and its gradient, which has jumps and no slope."""
import math

import numpy as np
import pytest

from numpyvision import check
from numpyvision.ops import roi_pool

MODES = ("caffe", "slide")


def pool(x, box, output_size, mode, scale=1.0):
    """Crop one box of one image with one channel -> (P, Q), and the cache."""
    out, cache = roi_pool.roi_pool_forward(x, np.array([[0, *box]], dtype=x.dtype), output_size, scale, mode)
    return out[0, 0], cache


def cells(n, bins, mode):
    """[(first, after)] of the bins of n cells, as the lecture writes them: with real numbers, floor and ceil."""
    after = math.ceil if mode == "caffe" else math.floor
    return [(math.floor(k * n / bins + 1e-9), after((k + 1) * n / bins - (1e-9 if mode == "caffe" else -1e-9))) for k in range(bins)]


def c_round(v):
    """round() of C: halves away from zero."""
    return math.floor(v + 0.5) if v >= 0 else math.ceil(v - 0.5)


def slow_roi_pool(x, rois, output_size, scale, mode):
    """out, and {(r, c, p, q): (n, c, i, j)} of the cells that won; one cell at a time."""
    (P, Q), (_, C, H, W) = output_size, x.shape
    out, won = np.zeros((len(rois), C, P, Q), x.dtype), {}
    for r, (n, *box) in enumerate(rois):
        x1, y1, x2, y2 = (c_round(v * scale) for v in box)
        h, w = max(y2 - y1 + (mode == "caffe"), 1), max(x2 - x1 + (mode == "caffe"), 1)
        for c in range(C):
            for p, (top, bottom) in enumerate(cells(h, P, mode)):
                for q, (left, right) in enumerate(cells(w, Q, mode)):
                    inside = [(i, j) for i in range(y1 + top, y1 + bottom) for j in range(x1 + left, x1 + right)
                              if 0 <= i < H and 0 <= j < W]
                    if inside:
                        best = max(inside, key=lambda cell: x[int(n), c][cell])        # the first of equals
                        out[r, c, p, q], won[r, c, p, q] = x[int(n), c][best], (int(n), c, *best)
    return out, won


def random_case(seed, shape=(2, 3, 7, 9), R=12):
    """x, and RoIs of any kind at stride 4: inside, over the border, outside, tiny, reversed."""
    rng = np.random.default_rng(seed)
    center, size = rng.uniform(-8, 40, (R, 2)), rng.uniform(-6, 36, (R, 2))
    rois = np.concatenate([rng.integers(0, shape[0], (R, 1)), center - size / 2, center + size / 2], axis=1)
    return rng.normal(size=shape), rois, rng


# ---- the lecture's numbers

def test_the_slides_box_is_snapped_to_4_columns_and_5_rows_split_2_2_and_2_3(mode):                       # L16-F04
    bins = roi_pool.pool_bins(np.array([[0, 2.7, 1.3, 6.7, 6.3]]), (8, 9), (2, 2), 1.0, "slide")
    np.testing.assert_array_equal([bins.left[0], bins.right[0]], [[3, 5], [5, 7]])
    np.testing.assert_array_equal([bins.top[0], bins.bottom[0]], [[1, 3], [3, 6]])


def test_real_code_makes_it_5_columns_and_6_rows(mode):                                                   # L16-E07
    bins = roi_pool.pool_bins(np.array([[0, 2.7, 1.3, 6.7, 6.3]]), (8, 9), (2, 2), 1.0, "caffe")
    np.testing.assert_array_equal([bins.left[0], bins.right[0]], [[3, 5], [6, 8]])
    np.testing.assert_array_equal([bins.top[0], bins.bottom[0]], [[1, 4], [4, 7]])


@pytest.mark.parametrize("n, bins, caffe, slide", [(5, 2, [(0, 3), (2, 5)], [(0, 2), (2, 5)]), (4, 2, [(0, 2), (2, 4)], [(0, 2), (2, 4)]),
                                                   (7, 3, [(0, 3), (2, 5), (4, 7)], [(0, 2), (2, 4), (4, 7)])])
def test_lecture_section_3_bins(n, bins, caffe, slide):
    for how, expected, extra in (("caffe", caffe, 1), ("slide", slide, 0)):
        got = roi_pool.pool_bins(np.array([[0, 0, 0, 1.0, n - extra]]), (99, 99), (bins, 1), 1.0, how)
        assert list(zip(got.top[0].tolist(), got.bottom[0].tolist(), strict=True)) == expected


def test_a_map_by_hand(mode):
    x = np.arange(30.0).reshape(1, 1, 5, 6)
    out, cache = pool(x, (1, 0, 5, 5), 2, "slide")                             # columns 1..4 split 2 + 2, rows 0..4 split 2 + 3
    np.testing.assert_array_equal(out, [[8, 10], [26, 28]])
    np.testing.assert_array_equal(cache.argmax[0, 0], [[8, 10], [26, 28]])
    dx, drois = roi_pool.roi_pool_backward(np.array([[[[1.0, 2], [3, 4]]]]), cache)
    assert dx[0, 0, 1, 2] == 1 and dx[0, 0, 1, 4] == 2 and dx[0, 0, 4, 2] == 3 and dx[0, 0, 4, 4] == 4
    assert np.count_nonzero(dx) == 4 and not drois.any()


def test_a_cell_of_two_bins_gets_both_gradients(mode):                                                    # L16-F06
    x = np.zeros((1, 1, 5, 1))
    x[0, 0, 2] = 1                                                             # row 2 belongs to 0:3 and to 2:5
    _, cache = pool(x, (0, 0, 0, 4), (2, 1), "caffe")
    dx, _ = roi_pool.roi_pool_backward(np.array([[[[10.0], [0.5]]]]), cache)
    np.testing.assert_array_equal(dx[0, 0, :, 0], [0, 0, 10.5, 0, 0])


@pytest.mark.parametrize("size", [2, 7])
def test_the_output_is_always_the_same_size(mode, size):                                                  # L16-F03
    x = np.random.default_rng(0).normal(size=(1, 512, 15, 20))                 # an image of 3 x 480 x 640 at stride 32
    rois = np.array([[0, 0, 0, 640, 480], [0, 100, 100, 101, 101], [0, 33.3, 200, 61.7, 470]])
    assert roi_pool.roi_pool_forward(x, rois, size, 1 / 32)[0].shape == (3, 512, size, size)


def test_output_jumps_and_has_no_slope(mode):                                                             # L16-F05
    x = np.random.default_rng(1).normal(size=(1, 1, 8, 9))
    for how in MODES:
        at = np.arange(2.0, 4.0, 0.02) + 0.01                                  # x1 of the box, never on the threshold 2.5 or 3.5
        crops = np.array([pool(x, (z, 1.3, 6.7, 6.3), 2, how)[0] for z in at])
        changed = np.flatnonzero((np.diff(crops, axis=0) != 0).any(axis=(1, 2)))
        assert 1 <= len(changed) <= 2 and all(abs(at[k] + 0.01 - v) < 1e-9 for k, v in zip(changed, (2.5, 3.5), strict=False))


# ---- a second derivation, habits, complaints

@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize("output_size", [(1, 1), (2, 3), (7, 7)])
@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 1, 1, 1), (1, 2, 1, 6)])
def test_equals_one_cell_at_a_time(mode, how, output_size, shape):
    x, rois, rng = random_case([*output_size, shape[3]], shape)
    expected, won = slow_roi_pool(x, rois, output_size, 0.25, how)
    out, cache = roi_pool.roi_pool_forward(x, rois, output_size, 0.25, how)
    np.testing.assert_array_equal(out, expected)
    dout, expected = rng.normal(size=out.shape), np.zeros_like(x)
    for bin_, cell in won.items():
        expected[cell] += dout[bin_]
    np.testing.assert_allclose(roi_pool.roi_pool_backward(dout, cache)[0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("how", MODES)
def test_contract(mode, how):
    x, rois, rng = random_case(2)
    contract = check.check_op(roi_pool.roi_pool_forward, roi_pool.roi_pool_backward, [x, rois],
                              dict(output_size=(2, 3), spatial_scale=0.25, mode=how), rng=rng, fixed={"rois": [0]}, empty=("rois",))
    assert contract.ok, contract


def test_halves_are_rounded_away_from_zero(mode):
    np.testing.assert_array_equal(roi_pool.snap(np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49, -0.2])), [1, 2, 3, -1, -2, 0, 0])


def test_equals_and_nan(mode):
    x = np.array([[3.0, 3], [3, 1]])[None, None]
    assert pool(x, (0, 0, 1, 1), 1, "caffe")[1].argmax.item() == 0, "the first of equals"
    x[0, 0, 1] = np.nan
    out, cache = pool(x, (0, 0, 1, 1), 1, "caffe")
    assert np.isnan(out) and cache.argmax.item() == 2, "the first NaN shows"
    out, cache = pool(np.full((1, 1, 2, 2), -np.inf), (0, 0, 1, 1), 1, "caffe")
    assert out == -np.inf and cache.argmax.item() == 0


def test_bins_without_a_cell_are_zero_and_give_nothing_back(mode):
    x = np.full((1, 1, 4, 4), -5.0)
    out, cache = pool(x, (1, 1, 2, 2), 2, "slide")                             # one cell for 2 x 2 bins: three stay empty
    np.testing.assert_array_equal(out, [[0, 0], [0, -5]])
    dx, _ = roi_pool.roi_pool_backward(np.ones((1, 1, 2, 2)), cache)
    assert dx.sum() == 1 and dx[0, 0, 1, 1] == 1
    for box in ((50, 50, 60, 60), (-60, 1, -50, 2), (1e30, 0, 2e30, 1)):
        out, cache = pool(x, box, 2, "caffe")
        assert not out.any() and not roi_pool.roi_pool_backward(np.ones((1, 1, 2, 2)), cache)[0].any()


def test_bins_of_caffe_overlap_by_at_most_one_cell_and_of_slide_not_at_all():
    x1 = np.zeros(60)
    rois = np.stack([x1, x1, x1, x1 + 3, np.arange(60.0)], axis=1)
    for how, overlap in (("caffe", {0, 1}), ("slide", {0})):
        bins = roi_pool.pool_bins(rois[3:], (99, 99), (7, 7), 1.0, how)
        assert set((bins.bottom[:, :-1] - bins.top[:, 1:]).ravel().tolist()) == overlap


@pytest.mark.parametrize("change, message", [
    (dict(rois=np.zeros((2, 4))), "boxes_to_rois"), (dict(mode="caffee"), "mode must be"), (dict(output_size=0), "output_size"),
    (dict(rois=np.array([[2, 0, 0, 1, 1.0]])), "batch index"), (dict(rois=np.zeros((1, 5), np.float32)), "dtype"),
    (dict(spatial_scale=-1), "spatial_scale"),
])
def test_complains(change, message):
    arguments = dict(x=np.zeros((2, 3, 4, 4)), rois=np.zeros((1, 5)), output_size=2, spatial_scale=0.25) | change
    with pytest.raises(ValueError, match=message):
        roi_pool.roi_pool_forward(**arguments)


def test_backward_complains_about_another_shape():
    _, cache = roi_pool.roi_pool_forward(np.zeros((1, 3, 4, 4)), np.zeros((2, 5)), 2, 1.0)
    with pytest.raises(ValueError, match="out's shape"):
        roi_pool.roi_pool_backward(np.zeros((2, 3, 2, 3)), cache)
