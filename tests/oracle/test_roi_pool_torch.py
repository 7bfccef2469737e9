"""RoI Pool against torch's adaptive max pooling of the snapped crop; RoI Align, mean and maximum, against grid_sample with autograd."""
import numpy as np
import pytest

from numpyvision.ops import roi, roi_pool

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("output_size", [(1, 1), (2, 2), (3, 2), (7, 7)])
def test_roi_pool_of_real_code_is_adaptive_max_pooling(mode, output_size):
    """Torch divides n cells as Caffe does: floor(k n / P) : ceil((k + 1) n / P)."""
    rng = np.random.default_rng(output_size)
    x = torch.tensor(rng.normal(size=(2, 4, 13, 17)), requires_grad=True)
    corners = np.sort(rng.uniform(0, (16, 12), (10, 2, 2)), axis=1).reshape(10, 4) + 0.01            # inside the map, off the halves
    rois = np.concatenate([rng.integers(0, 2, (10, 1)), corners], axis=1)
    crops = []
    for n, x1, y1, x2, y2 in rois:
        a, b, c, d = (int(np.rint(v)) for v in (x1, y1, x2, y2))
        crops.append(torch.nn.functional.adaptive_max_pool2d(x[int(n), :, b:d + 1, a:c + 1], output_size))
    expected = torch.stack(crops)
    dout = rng.normal(size=expected.shape)
    expected.backward(torch.tensor(dout))
    out, cache = roi_pool.roi_pool_forward(x.detach().numpy(), rois, output_size, 1.0)
    np.testing.assert_array_equal(out, expected.detach().numpy())
    np.testing.assert_allclose(roi_pool.roi_pool_backward(dout, cache)[0], x.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reduce", ["avg", "max"])
@pytest.mark.parametrize("S", [1, 2, 3])
def test_roi_align_is_grid_sample_and_a_pool_of_blocks(mode, reduce, S):
    rng = np.random.default_rng([S, reduce == "max"])
    H, W, P, Q = 11, 14, 3, 2
    x = torch.tensor(rng.normal(size=(2, 5, H, W)), requires_grad=True)
    center, size = rng.uniform((8, 8), (20, 16), (9, 2)), rng.uniform(3, 12, (9, 2))
    rois = torch.tensor(np.concatenate([rng.integers(0, 2, (9, 1)), center - size / 2, center + size / 2], axis=1), requires_grad=True)
    x1, y1, x2, y2 = (rois[:, k, None] / 2 for k in (1, 2, 3, 4))                       # (9, 1), in cells at stride 2
    fine_x = x1 + (x2 - x1) * (torch.arange(Q * S) + 0.5) / (Q * S)                     # in map coordinates, where column j covers [j, j+1)
    fine_y = y1 + (y2 - y1) * (torch.arange(P * S) + 0.5) / (P * S)
    grid = torch.stack(torch.broadcast_tensors(fine_x[:, None] / W * 2 - 1, fine_y[:, :, None] / H * 2 - 1), dim=-1)
    images = x[rois[:, 0].detach().long()]
    samples = torch.nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    pool = torch.nn.functional.avg_pool2d if reduce == "avg" else torch.nn.functional.max_pool2d
    expected = pool(samples, S)
    dout = rng.normal(size=expected.shape)
    expected.backward(torch.tensor(dout))
    out, cache = roi.roi_align_forward(x.detach().numpy(), rois.detach().numpy(), (P, Q), 0.5, S, True, reduce)
    dx, drois = roi.roi_align_backward(dout, cache)
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(dx, x.grad.numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(drois[:, 1:], rois.grad.numpy()[:, 1:], rtol=0, atol=1e-10)
