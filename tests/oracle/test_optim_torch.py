"""Our optimisers against torch.optim: 50 steps in float64 with random gradients and a moving learning rate."""
import numpy as np
import pytest

import numpyvision
from numpyvision.training import optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

PAIRS = {
    "sgd": (lambda p: optim.SGD(p, 0.1, momentum=0.0), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, decay_1d=True),
                 lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01)),
    "nesterov": (lambda p: optim.SGD(p, 0.1, momentum=0.8, weight_decay=0.1, nesterov=True, decay_1d=True),
                 lambda p: torch.optim.SGD(p, 0.1, momentum=0.8, weight_decay=0.1, nesterov=True)),
    "adam": (lambda p: optim.Adam(p, 0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, decay_1d=True),
             lambda p: torch.optim.Adam(p, 0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    "adamw": (lambda p: optim.AdamW(p, 0.1, weight_decay=0.1, decay_1d=True), lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1)),
}


@pytest.mark.parametrize("mode", ["numpy", "compiled"])
@pytest.mark.parametrize("rule", PAIRS)
def test_fifty_steps_equal_torch(rule, mode):
    rng = np.random.default_rng(5)
    ours = {"w": rng.standard_normal((4, 3, 2)), "b": rng.standard_normal(7)}
    theirs = {name: torch.tensor(p.copy(), requires_grad=True) for name, p in ours.items()}
    make_ours, make_theirs = PAIRS[rule]
    with numpyvision.use(mode):
        mine, torchs = make_ours(ours), make_theirs(list(theirs.values()))
        for step in range(50):
            grads, lr = {name: rng.standard_normal(p.shape) for name, p in ours.items()}, 0.1 / (1 + 0.1 * step)
            for name, p in theirs.items():
                p.grad = torch.tensor(grads[name])
            torchs.param_groups[0]["lr"] = lr
            mine.step(grads, lr)
            torchs.step()
    for name, p in theirs.items():
        np.testing.assert_allclose(ours[name], p.detach().numpy(), rtol=1e-10, atol=1e-10)


def test_clipping_equals_torch_up_to_its_epsilon():
    rng = np.random.default_rng(6)
    grads = {"w": rng.standard_normal((4, 5)), "b": rng.standard_normal(7)}
    theirs = [torch.zeros(g.shape, dtype=torch.float64) for g in grads.values()]
    for t, g in zip(theirs, grads.values(), strict=True):
        t.grad = torch.tensor(g)
    norm = torch.nn.utils.clip_grad_norm_(theirs, 0.5).item()
    clipped, ours = optim.clip_grad_norm(grads, 0.5)
    np.testing.assert_allclose(ours, norm, rtol=1e-12)
    for t, g in zip(theirs, clipped.values(), strict=True):
        np.testing.assert_allclose(g, t.grad.numpy(), rtol=1e-5)              # torch divides by norm + 1e-6
