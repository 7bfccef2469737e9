"""Focal loss beside torch's autograd through the paper's formula."""
import numpy as np
import pytest

from numpyvision.losses import focal

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("alpha, gamma", [(.25, 2.), (.75, 0.), (.5, .5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_focal_loss_and_its_gradient(alpha, gamma, weighted):
    rng = np.random.default_rng(4)
    logits, targets = 4 * rng.standard_normal((6, 5)), (rng.random((6, 5)) < .4).astype(float)
    weights = rng.uniform(0, 2, (6, 1)) if weighted else None
    loss, cache = focal.sigmoid_focal_loss_forward(logits, targets, weights, alpha, gamma, 7.5)
    z, t = torch.tensor(logits, requires_grad=True), torch.tensor(targets)
    p = torch.sigmoid(z)
    p_t, alpha_t = p * t + (1 - p) * (1 - t), alpha * t + (1 - alpha) * (1 - t)
    ce = torch.nn.functional.binary_cross_entropy_with_logits(z, t, reduction="none")
    expected = (torch.tensor(1. if weights is None else weights) * alpha_t * (1 - p_t) ** gamma * ce).sum() / 7.5
    expected.backward(torch.tensor(.7, dtype=torch.float64))
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(focal.sigmoid_focal_loss_backward(.7, cache), z.grad.numpy(), rtol=1e-9, atol=1e-14)
