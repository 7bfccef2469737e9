"""RoI Align against a differentiable torch version (gather of four neighbours, gradients by autograd); boxes against torch and pycocotools.

torchvision, where these operations live, is not needed: its rule is written out here in torch's own operations, in float64.
"""
import numpy as np
import pytest

import numpyvision
from numpyvision.boxes import coder, iou, levels, matching
from numpyvision.ops import roi

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


@pytest.fixture(params=["compiled", "numpy"])
def mode(request):
    with numpyvision.use(request.param):
        yield request.param


def torch_axis(lo, hi, bins, ratio, aligned, length):
    """Sample positions of one RoI along one axis -> neighbours (low, high), weight of high, 1 where inside; (bins, g) each."""
    size = hi - lo if aligned else torch.clamp(hi - lo, min=1.0)
    g = ratio if ratio > 0 else max(int(torch.ceil(size.detach() / bins)), 0)
    steps = (torch.arange(g, dtype=torch.float64) + 0.5) / max(g, 1)
    v = lo + (torch.arange(bins, dtype=torch.float64)[:, None] + steps) * (size / bins)
    inside = ((v >= -1) & (v <= length)).to(v.dtype)
    v = torch.clamp(v, 0, length - 1)
    low = v.detach().floor().long()
    return low, torch.clamp(low + 1, max=length - 1), v - low, inside


def torch_roi_align(x, rois, P, Q, scale, ratio, aligned):
    H, W = x.shape[2:]
    shift = 0.5 if aligned else 0.0
    out = []
    for row in rois:
        n, (x1, y1, x2, y2) = int(row[0]), row[1:] * scale - shift
        i0, i1, fy, my = torch_axis(y1, y2, P, ratio, aligned, H)
        j0, j1, fx, mx = torch_axis(x1, x2, Q, ratio, aligned, W)
        i0, i1, j0, j1 = i0[:, :, None, None], i1[:, :, None, None], j0[None, None], j1[None, None]
        fy, my, fx, mx = fy[:, :, None, None], my[:, :, None, None], fx[None, None], mx[None, None]
        f = x[n]
        value = (1 - fy) * ((1 - fx) * f[:, i0, j0] + fx * f[:, i0, j1]) + fy * ((1 - fx) * f[:, i1, j0] + fx * f[:, i1, j1])
        value = value * my * mx                                                # (C, P, gy, Q, gx)
        count = max(value.shape[2] * value.shape[4], 1)
        out.append(value.sum(dim=(2, 4)) / count)
    return torch.stack(out)


@pytest.mark.parametrize("shape, R, output_size, scale", [((2, 3, 13, 17), 12, (7, 7), 0.25), ((1, 5, 8, 6), 9, (2, 3), 0.5),
                                                          ((3, 2, 25, 20), 10, (14, 14), 1 / 8), ((2, 33, 6, 6), 6, (1, 4), 1.0)])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align(mode, shape, R, output_size, scale, ratio, aligned):
    rng = np.random.default_rng([*shape, ratio, aligned])
    extent = np.array([shape[3], shape[2]]) / scale
    center, size = rng.uniform(-0.2, 1.2, (R, 2)) * extent, rng.uniform(-0.2, 1, (R, 2)) * extent
    rois = np.concatenate([rng.integers(0, shape[0], (R, 1)), center - size / 2, center + size / 2], axis=1)
    x = rng.normal(size=shape)

    tx, trois = torch.tensor(x, requires_grad=True), torch.tensor(rois, requires_grad=True)
    expected = torch_roi_align(tx, trois, *output_size, scale, ratio, aligned)
    dout = rng.normal(size=expected.shape)
    expected.backward(torch.tensor(dout))

    out, cache = roi.roi_align_forward(x, rois, output_size, scale, ratio, aligned)
    dx, drois = roi.roi_align_backward(dout, cache)
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(drois, trois.grad.numpy(), rtol=0, atol=1e-10)


def some_boxes(rng, n):
    corner, size = rng.uniform(-20, 100, (n, 2)), rng.uniform(0.5, 80, (n, 2))
    return np.concatenate([corner, corner + size], axis=1)


def test_iou_and_ioa_are_cocos(mode):
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    a, b = some_boxes(rng, 60), some_boxes(rng, 50)
    a_xywh, b_xywh = (np.concatenate([v[:, :2], v[:, 2:] - v[:, :2]], axis=1) for v in (a, b))
    np.testing.assert_allclose(iou.box_iou(a, b), mask.iou(a_xywh, b_xywh, [0] * 50), rtol=0, atol=1e-12)
    np.testing.assert_allclose(iou.box_ioa(a, b), mask.iou(a_xywh, b_xywh, [1] * 50), rtol=0, atol=1e-12)


def test_matching_is_torchvisions(mode):
    """Matcher of torchvision.models.detection, written with torch.max and torch.where as it is there."""
    rng = np.random.default_rng(1)
    for low_quality in (False, True):
        quality = iou.box_iou(some_boxes(rng, 6), some_boxes(rng, 300))
        q = torch.tensor(quality)
        best, matches = q.max(dim=0)
        labels = torch.full_like(matches, 1)
        labels[best < 0.6] = -1
        labels[best < 0.3] = 0
        if low_quality:
            labels[torch.where(q == q.max(dim=1).values[:, None])[1]] = 1
        got_idx, got_labels = matching.match_boxes(quality, 0.6, 0.3, low_quality)
        np.testing.assert_array_equal(got_labels, labels.numpy())
        np.testing.assert_array_equal(got_idx, matches.numpy())
        assert set(got_labels.tolist()) == {-1, 0, 1}


def test_coder_and_levels_in_torch():
    rng = np.random.default_rng(2)
    g, p, weights = some_boxes(rng, 200), some_boxes(rng, 200), (10, 10, 5, 5)
    tg, tp = torch.tensor(g), torch.tensor(p)
    size_g, size_p = tg[:, 2:] - tg[:, :2], tp[:, 2:] - tp[:, :2]
    offset = ((tg[:, :2] + size_g / 2) - (tp[:, :2] + size_p / 2)) / size_p
    expected = torch.cat([offset, torch.log(size_g / size_p)], dim=1) * torch.tensor(weights)
    np.testing.assert_allclose(coder.encode_boxes(g, p, weights), expected.numpy(), rtol=0, atol=1e-12)
    k = torch.floor(4 + torch.log2(torch.sqrt(size_g.prod(1)) / 56 + 1e-8)).clamp(2, 5)
    np.testing.assert_array_equal(levels.assign_levels(g, 2, 5, canonical_size=56), k.numpy())
