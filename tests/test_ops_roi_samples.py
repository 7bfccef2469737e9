"""The record of samples adds up to RoI Align, forward and backward; and RoI Align by maximum keeps what it promises."""
import numpy as np
import pytest

import numpyvision
from numpyvision import check
from numpyvision.ops import roi, roi_samples

SETTINGS = [(ratio, aligned, reduce) for ratio in (1, 2, 3, 0) for aligned in (True, False) for reduce in ("avg", "max")]


def random_case(seed, shape=(2, 3, 7, 9), R=8):
    """x, and RoIs of any kind at stride 4: inside, over the border, outside, tiny, reversed."""
    rng = np.random.default_rng(seed)
    center, size = rng.uniform(-8, 40, (R, 2)), rng.uniform(-6, 36, (R, 2))
    rois = np.concatenate([rng.integers(0, shape[0], (R, 1)), center - size / 2, center + size / 2], axis=1)
    return rng.normal(size=shape), rois, rng


@pytest.mark.parametrize("ratio, aligned, reduce", SETTINGS)
@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 1, 1, 1), (1, 2, 1, 6)])
def test_the_record_adds_up_to_roi_align(mode, ratio, aligned, reduce, shape):
    x, rois, rng = random_case([ratio, aligned, shape[3]], shape)
    out, cache = roi.roi_align_forward(x, rois, (2, 3), 0.25, ratio, aligned, reduce)
    dout = rng.normal(size=out.shape)
    dx, drois = roi.roi_align_backward(dout, cache)
    total = np.zeros_like(x)
    for r in range(len(rois)):
        record = roi_samples.roi_align_samples(x, rois[r], (2, 3), 0.25, ratio, aligned, reduce, dout=dout[r])
        np.testing.assert_allclose(record.output(), out[r], rtol=0, atol=1e-13)
        np.testing.assert_allclose(record.box_gradient(), drois[r, 1:], rtol=0, atol=1e-12)
        total[int(rois[r, 0])] += record.feature_gradient()
    np.testing.assert_allclose(total, dx, rtol=0, atol=1e-12)


def test_the_slides_sample():                                                                             # L16-A03, A04, A05
    x = np.zeros((1, 1, 9, 10))
    x[0, 0, 5, 6:8], x[0, 0, 6, 6:8] = (1, 2), (3, 4)
    record = roi_samples.roi_align_samples(x, np.array([0, 6, 5.3, 8, 7.3]), 1, 1.0, 1, dout=np.ones((1, 1, 1)))
    assert record.describe(0, 0, 0, 0) == "sample (6.5, 5.8) = 0.1 f[5, 6] + 0.1 f[5, 7] + 0.4 f[6, 6] + 0.4 f[6, 7] = 3.1"
    np.testing.assert_allclose(record.dneighbors.ravel(), [0.1, 0.1, 0.4, 0.4], rtol=1e-13)
    np.testing.assert_allclose([record.dx.item(), record.dy.item()], [1, 2], rtol=1e-13)
    np.testing.assert_allclose(record.dbox.ravel(), [0.5, 1, 0.5, 1], rtol=1e-13)


def test_bins_are_equal_and_samples_regular_in_them():                                                    # L16-A01
    x, _, _ = random_case(1)
    record = roi_samples.roi_align_samples(x, np.array([1, 3.1, 2.2, 21.9, 25.4]), (2, 3), 0.25)
    np.testing.assert_allclose(record.box, np.array([3.1, 2.2, 21.9, 25.4]) / 4 - 0.5)
    size = record.bins[..., 2:] - record.bins[..., :2]
    np.testing.assert_allclose(size, np.broadcast_to((record.box[2:] - record.box[:2]) / (3, 2), (2, 3, 2)))
    inside = (record.x - record.bins[..., 0, None, None]) / size[..., 0, None, None]
    np.testing.assert_allclose(inside, np.broadcast_to([0.25, 0.75], inside.shape))
    inside = (record.y - record.bins[..., 1, None, None]) / size[..., 1, None, None]
    np.testing.assert_allclose(inside, np.broadcast_to([[0.25], [0.75]], inside.shape))


def test_weights_add_up_to_one_or_beyond_the_map_to_nothing():
    x, rois, _ = random_case(2, R=20)
    for one in rois:
        record = roi_samples.roi_align_samples(x, one, 3, 0.25)
        beyond = (record.x < -1) | (record.x > 9) | (record.y < -1) | (record.y > 7)
        np.testing.assert_allclose(record.weights.sum(-1), np.where(beyond, 0, 1), rtol=0, atol=1e-14)


def test_without_dout_no_gradient_and_wrong_shapes_are_named():
    x, rois, _ = random_case(3)
    assert roi_samples.roi_align_samples(x, rois[0], 2, 0.25).dneighbors is None
    with pytest.raises(ValueError, match="one row of rois"):
        roi_samples.roi_align_samples(x, rois, 2, 0.25)
    with pytest.raises(ValueError, match="dout must be"):
        roi_samples.roi_align_samples(x, rois[0], 2, 0.25, dout=np.zeros((1, 3, 2, 2)))
    with pytest.raises(ValueError, match="batch index"):
        roi_samples.roi_align_samples(x, np.array([7, 0, 0, 1, 1.0]), 2, 0.25)


# ---- RoI Align by maximum

@pytest.mark.parametrize("ratio, aligned", [(1, True), (2, True), (2, False), (3, True), (0, True), (0, False)])
def test_maximum_is_roi_align_on_a_finer_grid_and_a_maximum_of_blocks(mode, ratio, aligned):
    x, rois, _ = random_case([4, ratio])
    if ratio == 0:
        rois = rois[:1]
    ys, xs = roi.sample_points(rois, (2, 3), 0.25, ratio, aligned)[1:]
    Sy, Sx = ys.v.shape[2], xs.v.shape[2]
    fine, _ = roi.roi_align_forward(x, rois, (2 * Sy, 3 * Sx), 0.25, 1, aligned)
    out, _ = roi.roi_align_forward(x, rois, (2, 3), 0.25, ratio, aligned, "max")
    np.testing.assert_allclose(out, fine.reshape(len(rois), 3, 2, Sy, 3, Sx).max(axis=(3, 5)), rtol=0, atol=1e-13)


def test_maximum_by_hand(mode):
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    out, cache = roi.roi_align_forward(x, np.array([[0, 0, 0, 4, 4.0]]), 2, 1.0, 2, reduce="max")      # 4 x 4 samples: the cells themselves
    np.testing.assert_array_equal(out[0, 0], [[5, 7], [13, 15]])
    dx, _ = roi.roi_align_backward(np.array([[[[1.0, 2], [3, 4]]]]), cache)
    np.testing.assert_array_equal(dx[0, 0], [[0, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 0], [0, 3, 0, 4]])


def test_a_nan_shows_and_of_equals_the_first_wins():
    ys, xs = roi.sample_points(np.array([[0, 0, 0, 4, 4.0]]), (2, 2), 1.0, 2, True)[1:]
    samples = np.full((1, 1, 4, 4), 7.0)
    samples[0, 0, :2] = [[0, np.nan, 2, 3], [4, np.nan, 6, 7]]
    out, winner = roi.largest_of_bins(samples, ys, xs)
    np.testing.assert_array_equal(out[0, 0], [[np.nan, 7], [7, 7]])
    np.testing.assert_array_equal(winner[0, 0], [[1, 3], [0, 0]])


def test_samples_beyond_the_map_count_as_zero_and_a_bin_without_samples_is_zero(mode):
    x = np.full((1, 1, 4, 4), -5.0)
    rois = np.array([[0, -20, 0, 4, 4.0], [0, 3, 3, 1, 1]])
    out, cache = roi.roi_align_forward(x, rois, 1, 1.0, 0, reduce="max")
    np.testing.assert_array_equal(out.ravel(), [0, 0])
    dx, drois = roi.roi_align_backward(np.ones_like(out), cache)
    assert not dx.any() and not drois.any()


@pytest.mark.parametrize("ratio, aligned", [(2, True), (0, False), (3, True)])
def test_gradcheck_of_the_maximum(mode, ratio, aligned):
    x, _, rng = random_case([5, ratio], (2, 2, 5, 6))
    rois = np.array([[0, 1.13, 0.71, 9.37, 11.21], [1, 3.29, 2.83, 12.47, 7.61], [0, -2.17, 4.43, 5.57, 17.89]])
    report = check.gradcheck(roi.roi_align_forward, roi.roi_align_backward, [x, rois], rng=rng, elementwise=True, fixed={"rois": [0]},
                             kwargs=dict(output_size=2, spatial_scale=0.5, sampling_ratio=ratio, aligned=aligned, reduce="max"))
    assert report.ok, report


def test_an_unknown_reduce_is_named():
    with pytest.raises(ValueError, match='"avg" or "max"'):
        roi.roi_align_forward(np.zeros((1, 1, 2, 2)), np.zeros((0, 5)), 2, 1.0, reduce="mean")


def test_no_rois_by_maximum(mode):
    for ratio in (0, 2):
        out, cache = roi.roi_align_forward(np.zeros((1, 3, 4, 4)), np.zeros((0, 5)), 2, 1.0, ratio, reduce="max")
        dx, drois = roi.roi_align_backward(out, cache)
        assert out.shape == (0, 3, 2, 2) and not dx.any() and drois.shape == (0, 5)


def test_both_bodies_agree_on_the_maximum():
    x, rois, rng = random_case(6, (2, 40, 8, 9), 20)
    dout, results = rng.normal(size=(20, 40, 3, 2)), []
    for how in ("compiled", "numpy"):
        with numpyvision.use(how):
            out, cache = roi.roi_align_forward(x, rois, (3, 2), 0.25, 2, True, "max")
            results.append((out, *roi.roi_align_backward(dout, cache)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
