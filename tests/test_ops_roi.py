"""RoI Align against the lecture's numbers, against a loop over single samples, and against finite differences. Torch is in oracle/."""
import math

import numpy as np
import pytest
import strict_array

import numpyvision
from numpyvision import check
from numpyvision.boxes import convert
from numpyvision.ops import roi

F5 = np.arange(25.0).reshape(1, 1, 5, 5)
SETTINGS = [(ratio, aligned) for ratio in (1, 2, 3, 0) for aligned in (True, False)]


@pytest.fixture(params=["compiled", "numpy"])
def mode(request):
    with numpyvision.use(request.param):
        yield request.param


def align(x, box, output_size, **settings):
    """Crop one box of one image with one channel -> (P, Q), and the cache."""
    out, cache = roi.roi_align_forward(x, np.array([[0, *box]], dtype=x.dtype), output_size, settings.pop("spatial_scale", 1.0), **settings)
    return out[0, 0], cache


# --- a second derivation: torchvision's rule, one sample and one channel at a time -------------------------------------------------------

def bilinear(plane, y, x):
    """Value of one sample by its four neighbours, and {(i, j): weight}."""
    H, W = plane.shape
    if y < -1 or y > H or x < -1 or x > W:
        return 0.0, {}
    y, x = max(y, 0.0), max(x, 0.0)
    i, j = math.floor(y), math.floor(x)
    if i >= H - 1:
        i, y = H - 1, float(H - 1)
    if j >= W - 1:
        j, x = W - 1, float(W - 1)
    fy, fx = y - i, x - j
    weights = {}
    for a, b, w in ((i, j, (1 - fy) * (1 - fx)), (i, j + 1, (1 - fy) * fx), (i + 1, j, fy * (1 - fx)), (i + 1, j + 1, fy * fx)):
        if w:
            weights[a, b] = weights.get((a, b), 0) + w
    return sum(w * plane[k] for k, w in weights.items()), weights


def slow_samples(box, output_size, scale, ratio, aligned):
    """((p, q), y, x, number of samples in the bin) for every sample of a box."""
    shift = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (float(v) * scale - shift for v in box)
    w, h = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1.0), max(y2 - y1, 1.0))
    P, Q = output_size
    gy, gx = (ratio, ratio) if ratio > 0 else (max(math.ceil(h / P), 0), max(math.ceil(w / Q), 0))
    for p in range(P):
        for q in range(Q):
            for s in range(gy):
                for t in range(gx):
                    yield (p, q), y1 + (p + (s + 0.5) / gy) * h / P, x1 + (q + (t + 0.5) / gx) * w / Q, gy * gx


def slow_roi_align(x, rois, output_size, scale, ratio, aligned):
    out = np.zeros((len(rois), x.shape[1], *output_size))
    for r, (n, *box) in enumerate(rois):
        for bin_, y, z, count in slow_samples(box, output_size, scale, ratio, aligned):
            for c in range(x.shape[1]):
                out[r, c][bin_] += bilinear(x[int(n), c], y, z)[0] / count
    return out


def slow_dx(dout, x, rois, scale, ratio, aligned):
    dx = np.zeros(x.shape)
    for r, (n, *box) in enumerate(rois):
        for bin_, y, z, count in slow_samples(box, dout.shape[2:], scale, ratio, aligned):
            for c in range(x.shape[1]):
                for cell, weight in bilinear(x[int(n), c], y, z)[1].items():
                    dx[int(n), c][cell] += weight * dout[r, c][bin_] / count
    return dx


def random_case(seed, shape=(2, 3, 7, 9), R=8, scale=0.25, dtype=np.float64):
    """x, and RoIs of any kind: inside, over the border, far outside, tiny, reversed. At stride 4 the image is 28 x 36."""
    rng = np.random.default_rng(seed)
    center, size = rng.uniform(-8, 40, (R, 2)), rng.uniform(-6, 36, (R, 2))
    rois = np.concatenate([rng.integers(0, shape[0], (R, 1)), center - size / 2, center + size / 2], axis=1)
    return rng.normal(size=shape).astype(dtype), rois.astype(dtype), rng


# --- the lecture's numbers ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("aligned, first", [(False, 7.5), (True, 4.5)])
def test_lecture_section_3_ramp_to_4x4(mode, aligned, first):
    out, _ = align(F5, (1, 1, 3, 3), 4, sampling_ratio=0, aligned=aligned)
    np.testing.assert_allclose(out, first + np.array([0, 2.5, 5, 7.5])[:, None] + np.array([0, 0.5, 1, 1.5]), rtol=1e-14)


@pytest.mark.parametrize("aligned, ratio, expected", [
    (False, 1, [[3, 4], [8, 9]]), (False, 2, [[3, 4], [8, 9]]),
    (True, 1, [[0, 1], [5, 6]]),                                               # L16-A06: the identity crop
    (True, 2, [[0.75, 1.625], [5.125, 6]]),                                    # samples at -0.25 are moved onto the border
])
def test_lecture_section_3_corner_to_2x2(mode, aligned, ratio, expected):
    np.testing.assert_allclose(align(F5, (0, 0, 2, 2), 2, sampling_ratio=ratio, aligned=aligned)[0], expected, rtol=1e-14)


@pytest.mark.parametrize("aligned, expected", [(False, [[5.25, 6.75], [14.25, 15.75]]), (True, [[2.1875, 3.625], [10.8125, 12.25]])])
def test_lecture_section_3_adaptive(mode, aligned, expected):
    x = np.arange(48.0).reshape(1, 1, 8, 6)
    np.testing.assert_allclose(align(x, (0, 0, 3, 3), 2, sampling_ratio=0, aligned=aligned)[0], expected, rtol=1e-14)


def sample_at(x, y, z):
    """A single bilinear sample at cell position (y, z), as a RoI of one bin whose middle it is."""
    return align(x, (z - 1, y - 1, z + 1, y + 1), 1, sampling_ratio=1, aligned=False)


def test_lecture_A02_hat_formula(mode):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 1, 6, 8))
    i, j = np.arange(6)[:, None], np.arange(8)
    for y, z in zip(rng.uniform(0, 5, 30), rng.uniform(0, 7, 30), strict=True):
        hats = np.maximum(0, 1 - abs(z - j)) * np.maximum(0, 1 - abs(y - i))
        np.testing.assert_allclose(sample_at(x, y, z)[0], [[(x[0, 0] * hats).sum()]], rtol=0, atol=1e-12)


def slide_plane():
    x = np.zeros((1, 1, 9, 10))
    x[0, 0, 5, 6:8], x[0, 0, 6, 6:8] = (1, 2), (3, 4)                          # f_{6,5} f_{7,5} / f_{6,6} f_{7,6} of the slide, x first
    return x


def test_lecture_A03_worked_sample(mode):
    np.testing.assert_allclose(sample_at(slide_plane(), 5.8, 6.5)[0], [[3.1]], rtol=1e-14)


def test_lecture_A04_gradient_to_the_four_neighbours(mode):
    _, cache = sample_at(slide_plane(), 5.8, 6.5)
    dx, _ = roi.roi_align_backward(np.full((1, 1, 1, 1), 2.0), cache)
    expected = np.zeros((1, 1, 9, 10))
    expected[0, 0, 5, 6:8], expected[0, 0, 6, 6:8] = 0.2, 0.8                  # 2 (0.1, 0.1, 0.4, 0.4)
    np.testing.assert_allclose(dx, expected, rtol=0, atol=1e-14)


def test_lecture_A05_gradient_to_the_position(mode):
    _, cache = sample_at(slide_plane(), 5.8, 6.5)
    _, drois = roi.roi_align_backward(np.ones((1, 1, 1, 1)), cache)
    np.testing.assert_allclose(drois, [[0, 0.5, 1.0, 0.5, 1.0]], rtol=1e-13)   # df/dx = 1, df/dy = 2, half of it to each side
    assert np.allclose(drois[0, 1] + drois[0, 3], 1) and np.allclose(drois[0, 2] + drois[0, 4], 2)


def test_lecture_A07_ramp_is_cropped_as_if_continuous(mode):
    """A linear ramp is sampled exactly, so shifting box and ramp together by any real amount changes nothing."""
    y, z = np.arange(12)[:, None] + 0.5, np.arange(14) + 0.5                   # values at cell centres

    def crop(shift_y, shift_z):
        ramp = (3 * (y - shift_y) - 2 * (z - shift_z))[None, None]
        return align(ramp, (3 + shift_z, 2.5 + shift_y, 8.3 + shift_z, 7 + shift_y), (3, 4), aligned=True)[0]
    for shift in [(0.3, -0.7), (1.9, 2.123), (-1.01, 3)]:
        np.testing.assert_allclose(crop(*shift), crop(0, 0), rtol=0, atol=1e-12)


# --- forward -----------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("ratio, aligned", SETTINGS)
@pytest.mark.parametrize("output_size", [1, (2, 3), 7])
def test_equals_one_sample_at_a_time(mode, ratio, aligned, output_size):
    x, rois, rng = random_case([ratio, aligned, 1])
    size = np.broadcast_to(output_size, 2)
    out, cache = roi.roi_align_forward(x, rois, output_size, 0.25, ratio, aligned)
    np.testing.assert_allclose(out, slow_roi_align(x, rois, size, 0.25, ratio, aligned), rtol=0, atol=1e-12)
    dout = rng.normal(size=out.shape)
    np.testing.assert_allclose(roi.roi_align_backward(dout, cache)[0], slow_dx(dout, x, rois, 0.25, ratio, aligned), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 1, 6), (2, 1, 5, 1), (1, 40, 3, 4), (3, 0, 4, 4)])
def test_odd_shapes(mode, shape):
    x, rois, rng = random_case(2, shape)
    out, cache = roi.roi_align_forward(x, rois, (2, 2), 0.25)
    np.testing.assert_allclose(out, slow_roi_align(x, rois, (2, 2), 0.25, 2, True), rtol=0, atol=1e-12)
    dout = rng.normal(size=out.shape)
    dx, drois = roi.roi_align_backward(dout, cache)
    np.testing.assert_allclose(dx, slow_dx(dout, x, rois, 0.25, 2, True), rtol=0, atol=1e-12)
    assert drois.shape == rois.shape


def test_border_rule(mode):
    """Value of one sample along a row of cells 10, 20, 30: outside [-1, 3] nothing, else held at the first or the last cell."""
    x = np.array([10.0, 20.0, 30.0]).reshape(1, 1, 1, 3)
    for z, value in [(-1.001, 0), (-1, 10), (-0.3, 10), (0, 10), (0.5, 15), (2, 30), (2.7, 30), (3, 30), (3.001, 0)]:
        np.testing.assert_allclose(sample_at(x, 0, z)[0], [[value]], rtol=1e-14)


def test_a_box_outside_gives_zero_and_gets_nothing(mode):
    x, _, rng = random_case(3)
    rois = np.array([[0, -400, -400, -300, -300], [1, 10, 900, 20, 950.0]])
    out, cache = roi.roi_align_forward(x, rois, 3, 0.25)
    dx, drois = roi.roi_align_backward(rng.normal(size=out.shape), cache)
    assert not out.any() and not dx.any() and not drois.any()


def test_reversed_box(mode):
    x, _, _ = random_case(4)
    box, mirrored = np.array([[1, 4, 4, 24, 20.0]]), np.array([[1, 24, 4, 4, 20.0]])
    straight, _ = roi.roi_align_forward(x, box, 3, 0.25)
    np.testing.assert_allclose(roi.roi_align_forward(x, mirrored, 3, 0.25)[0], straight[..., ::-1], rtol=0, atol=1e-14)
    assert not roi.roi_align_forward(x, mirrored, 3, 0.25, sampling_ratio=0)[0].any()
    held = roi.roi_align_forward(x, np.array([[1, 24, 4, 28, 20.0]]), 3, 0.25, aligned=False)[0]          # one cell wide
    np.testing.assert_allclose(roi.roi_align_forward(x, mirrored, 3, 0.25, aligned=False)[0], held, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_bodies_agree_and_keep_the_dtype(dtype):
    atol = {np.float32: 2e-5, np.float64: 1e-12}[dtype]
    for ratio, aligned in SETTINGS:
        x, rois, rng = random_case([5, ratio, aligned], (2, 70, 9, 11), 20, dtype=dtype)                  # 70 channels: three chunks
        results = []
        dout = rng.normal(size=(20, 70, 3, 4)).astype(dtype)
        for mode_ in ("numpy", "compiled"):
            with numpyvision.use(mode_):
                out, cache = roi.roi_align_forward(x, rois, (3, 4), 0.25, ratio, aligned)
                results.append((out, *roi.roi_align_backward(dout, cache)))
        for a, b in zip(*results, strict=True):
            assert a.dtype == b.dtype == dtype
            np.testing.assert_allclose(a, b, rtol=0, atol=atol * max(1, abs(a).max()))


def test_forward_of_one_mode_backward_of_the_other():
    x, rois, rng = random_case(6)
    out, cache = roi.roi_align_forward(x, rois, 2, 0.25)
    dout = rng.normal(size=out.shape)
    compiled = roi.roi_align_backward(dout, cache)
    with numpyvision.use("numpy"):
        for a, b in zip(compiled, roi.roi_align_backward(dout, cache), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    assert set(cache) == {"x", "rois", "output_size", "spatial_scale", "sampling_ratio", "aligned", "reduce"}


# --- gradients ---------------------------------------------------------------------------------------------------------------------------

def off_kinks(rois, x, output_size, scale, ratio, aligned, margin=1e-4):
    """The RoIs none of whose samples lies near a cell's centre or an edge, where the slope jumps, and whose size is near no other jump."""
    _, *axes = roi.sample_points(rois, output_size, scale, ratio, aligned)
    smooth = np.ones(len(rois), bool)
    for v, _, _ in axes:
        smooth &= ((abs(v - np.round(v)) > margin) | (v == -2)).all(axis=(1, 2))                         # -2: no sample
    for near, far, bins in ((1, 3, output_size[1]), (2, 4, output_size[0])):
        size = (rois[:, far] - rois[:, near]) * scale
        smooth &= abs(size - 1) > margin
        smooth &= (abs(size / bins - np.round(size / bins)) > margin) | (ratio > 0)
    return rois[smooth]


@pytest.mark.parametrize("ratio, aligned", SETTINGS)
def test_gradcheck(mode, ratio, aligned):
    x, rois, rng = random_case([7, ratio, aligned], (2, 2, 5, 6), R=40)
    rois = off_kinks(rois, x, (2, 3), 0.25, ratio, aligned)[:10]
    assert len(rois) == 10
    report = check.gradcheck(roi.roi_align_forward, roi.roi_align_backward, [x, rois], rng=rng, elementwise=True, fixed={"rois": [0]},
                             kwargs=dict(output_size=(2, 3), spatial_scale=0.25, sampling_ratio=ratio, aligned=aligned))
    assert report.ok, report


def test_contract(mode):
    x, rois, rng = random_case(8, (2, 3, 8, 8))
    contract = check.check_op(roi.roi_align_forward, roi.roi_align_backward, [x, off_kinks(rois, x, (2, 2), 0.25, 2, True)],
                              dict(output_size=2, spatial_scale=0.25), rng=rng, fixed={"rois": [0]}, empty=("rois",))
    assert contract.ok, contract


def test_size_held_at_one_cell_moves_with_the_near_side(mode):
    """aligned=False: a RoI smaller than a cell counts as one cell wide, so that x2 does not matter and x1 moves all of it."""
    x, _, rng = random_case(9)
    out, cache = roi.roi_align_forward(x, np.array([[0, 9.1, 4.3, 10.2, 21.7]]), 2, 0.25, aligned=False)
    _, drois = roi.roi_align_backward(rng.normal(size=out.shape), cache)
    assert drois[0, 3] == 0 and drois[0, 1] != 0 and drois[0, 2] != 0 and drois[0, 4] != 0


def test_slope_at_a_cell_centre_is_the_right_one(mode):
    x = np.array([1.0, 2.0, 4.0, 8.0]).reshape(1, 1, 1, 4)
    for z, slope in [(0, 1), (1, 2), (2, 4), (3, 0), (-0.5, 0), (3.5, 0)]:
        _, drois = roi.roi_align_backward(np.ones((1, 1, 1, 1)), sample_at(x, 0, z)[1])
        assert drois[0, 1] + drois[0, 3] == slope


def test_spatial_scale_chains_into_the_box_gradient(mode):
    x, rois, rng = random_case(10)
    dout = rng.normal(size=(len(rois), 3, 2, 2))
    (_, coarse), (_, cells) = (roi.roi_align_backward(dout, roi.roi_align_forward(x, r, 2, s)[1])
                               for r, s in ((rois, 0.25), (rois * [1, 0.25, 0.25, 0.25, 0.25], 1.0)))
    np.testing.assert_allclose(coarse, cells * 0.25, rtol=1e-12, atol=1e-15)


def test_adjoint(mode):
    """roi_align is linear in x: <dout, crop(v)> = <dx, v> for any v."""
    x, rois, rng = random_case(11)
    out, cache = roi.roi_align_forward(x, rois, 3, 0.25)
    dout, v = rng.normal(size=out.shape), rng.normal(size=x.shape)
    dx, _ = roi.roi_align_backward(dout, cache)
    assert abs((dout * roi.roi_align_forward(v, rois, 3, 0.25)[0]).sum() - (dx * v).sum()) < 1e-11


# --- habits ------------------------------------------------------------------------------------------------------------------------------

def test_no_rois_and_no_channels_shared(mode):
    x, _, _ = random_case(12)
    out, cache = roi.roi_align_forward(x, np.zeros((0, 5)), (3, 2), 0.25)
    dx, drois = roi.roi_align_backward(np.zeros((0, 3, 3, 2)), cache)
    assert out.shape == (0, 3, 3, 2) and drois.shape == (0, 5) and dx.shape == x.shape and not dx.any()
    out, cache = roi.roi_align_forward(np.zeros((0, 3, 4, 4)), np.zeros((0, 5)), 2, 0.25, sampling_ratio=0)
    assert out.shape == (0, 3, 2, 2) and roi.roi_align_backward(out, cache)[0].shape == (0, 3, 4, 4)


def test_boxes_to_rois_feeds_it(mode):
    x, _, _ = random_case(13)
    boxes = [np.array([[0, 0, 8, 8.0], [4, 4, 20, 12]]), np.array([[0, 0, 8, 8.0]])]
    out, _ = roi.roi_align_forward(x, convert.boxes_to_rois(boxes), 2, 0.25)
    np.testing.assert_array_equal(out[2], roi.roi_align_forward(x[1:], np.array([[0, 0, 0, 8, 8.0]]), 2, 0.25)[0][0])


def test_readable_body_never_mixes_libraries():
    x, rois, rng = random_case(14)
    for ratio, aligned in SETTINGS:
        out, cache = roi.roi_align_forward(x, rois, (2, 3), 0.25, ratio, aligned)
        dout = rng.normal(size=out.shape)
        dx, drois = roi.roi_align_backward(dout, cache)
        asarray = strict_array.module.asarray
        strict_out, strict_cache = roi.roi_align_forward(asarray(x), asarray(rois), (2, 3), 0.25, ratio, aligned)
        strict_dx, strict_drois = roi.roi_align_backward(asarray(dout), strict_cache)
        for a, b in ((strict_out, out), (strict_dx, dx), (strict_drois, drois)):
            np.testing.assert_allclose(a.get(), b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("change, message", [
    (dict(rois=np.zeros((2, 4))), "boxes_to_rois"), (dict(rois=np.zeros((1, 5), np.float32)), "dtype"),
    (dict(x=np.zeros((3, 4, 4))), "x must be"), (dict(output_size=0), "output_size"), (dict(spatial_scale=0), "spatial_scale"),
    (dict(rois=np.array([[2, 0, 0, 1, 1.0]])), "batch index"), (dict(rois=np.array([[-1, 0, 0, 1, 1.0]])), "batch index"),
    (dict(rois=np.array([[0.5, 0, 0, 1, 1.0]])), "batch index"), (dict(rois=np.array([[0, 0, np.nan, 1, 1.0]])), "NaN"),
    (dict(rois=np.array([[0, 0, 0, 1, np.inf]])), "NaN or infinity"), (dict(x=np.zeros((2, 3, 0, 4))), "at least one cell"),
    (dict(sampling_ratio=1.5), "whole number"),
])
def test_complains(mode, change, message):
    arguments = dict(x=np.zeros((2, 3, 4, 4)), rois=np.zeros((1, 5)), output_size=2, spatial_scale=0.25) | change
    with pytest.raises(ValueError, match=message):
        roi.roi_align_forward(**arguments)
