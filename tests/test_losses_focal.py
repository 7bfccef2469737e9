"""Focal loss: the paper's numbers by hand, its limits, and a second derivation of loss and gradient."""
import numpy as np
import pytest

import numpyvision
from numpyvision.losses import classification, focal

forward, backward = focal.sigmoid_focal_loss_forward, focal.sigmoid_focal_loss_backward
logit = lambda p: np.log(p / (1 - p))


def draw(seed, shape=(5, 7)):
    rng = np.random.default_rng(seed)
    return 3 * rng.standard_normal(shape), (rng.random(shape) < .3).astype(float), rng.uniform(0, 2, (shape[0], 1))


def second_derivation(logits, targets, weights, alpha, gamma, normalizer):
    """Element by element from the definition with p itself, and its derivative by the product rule in p: d/dz = p (1 - p) d/dp."""
    loss, grad = 0., np.zeros_like(logits)
    for i, z in np.ndenumerate(logits):
        p = 1 / (1 + np.exp(-z))
        if targets[i] == 1:
            value = -alpha * (1 - p) ** gamma * np.log(p)
            slope = alpha * (gamma * (1 - p) ** (gamma - 1) * np.log(p) - (1 - p) ** gamma / p)
        else:
            value = -(1 - alpha) * p ** gamma * np.log(1 - p)
            slope = (1 - alpha) * (p ** gamma / (1 - p) - gamma * p ** (gamma - 1) * np.log(1 - p))
        w = np.broadcast_to(weights, logits.shape)[i] / normalizer
        loss, grad[i] = loss + w * value, w * slope * p * (1 - p)
    return loss, grad


def test_the_numbers_of_the_paper():
    for p, target, expected in [(.9, 1, .25 * .01 * -np.log(.9)), (.1, 1, .25 * .81 * -np.log(.1)), (.9, 0, .75 * .81 * -np.log(.1))]:
        loss, _ = forward(np.array([logit(p)]), np.array([float(target)]))
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(forward(np.array([logit(.9)]), np.ones(1))[0], 2.634e-4, rtol=1e-4)
    np.testing.assert_allclose(forward(np.array([logit(.1)]), np.ones(1))[0], .46627, rtol=1e-4)


@pytest.mark.parametrize("alpha, gamma", [(.25, 2.), (.5, 0.), (.9, .5), (0., 1.), (1., 3.)])
def test_second_derivation(alpha, gamma):
    logits, targets, weights = draw(0)
    loss, cache = forward(logits, targets, weights, alpha, gamma, 3.)
    expected, slope = second_derivation(logits, targets, weights, alpha, gamma, 3.)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(backward(.7, cache), .7 * slope, rtol=1e-10, atol=1e-15)


def test_gamma_zero_and_even_alpha_is_half_of_cross_entropy():
    logits, targets, weights = draw(1)
    loss, cache = forward(logits, targets, weights, .5, 0)
    other, bce = classification.sigmoid_bce_forward(logits, targets, weights)
    np.testing.assert_allclose(loss, other / 2, rtol=1e-12)
    np.testing.assert_allclose(backward(1., cache), classification.sigmoid_bce_backward(.5, bce), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits_neither_overflow_nor_vanish(dtype):
    z = np.array([1000, -1000, 1000, -1000], dtype)
    with np.errstate(all="raise", under="ignore"):
        loss, cache = forward(z, np.array([1, 1, 0, 0], dtype), normalizer=1)
        grad = backward(1., cache)
    assert loss == 1000 * (.25 + .75) and loss.dtype == grad.dtype == dtype
    np.testing.assert_array_equal(grad, [0, -.25, .75, 0])             # wrong beyond doubt: the pull of weighted cross-entropy


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 2e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("gamma", [0., .5, 2., 5.])
@pytest.mark.parametrize("weighted", [False, True])
def test_compiled_equals_readable(dtype, rtol, gamma, weighted):
    """Over several blocks, the last one short, from arrays that are not contiguous."""
    logits, targets, weights = (a.astype(dtype) for a in draw(2, (4100, 5)))
    results = []
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode):
            loss, cache = forward(logits[:, ::2], targets[:, ::2], weights if weighted else None, .25, gamma)
            results.append((loss, backward(np.float64(.7), cache)))
    for readable, compiled in zip(*results, strict=True):
        assert readable.dtype == compiled.dtype == dtype and compiled.shape == readable.shape
        np.testing.assert_allclose(compiled, readable, rtol=rtol, atol=rtol * np.abs(readable).max())


def test_a_nan_is_not_hidden():
    for dtype in (np.float32, np.float64):
        for mode in ("numpy", "compiled"):
            with numpyvision.use(mode):
                loss, cache = forward(np.array([.5, np.nan, .25], dtype), np.array([1, 0, 0], dtype))
                assert np.isnan(loss) and np.isnan(backward(1., cache)).tolist() == [False, True, False]


def test_nothing_to_sum_is_zero_and_wrong_arguments_are_named():
    for a, weights in ((np.zeros((0, 4)), None), (np.ones((3, 4)), np.zeros((3, 1)))):
        loss, cache = forward(a, a, weights)
        assert loss == 0 and cache.normalizer == 1 and backward(1., cache).shape == a.shape and not backward(1., cache).any()
    a = np.ones((3, 4))
    with pytest.raises(ValueError, match="targets must be 0 or 1"):
        forward(a, a / 2)
    with pytest.raises(ValueError, match="alpha must lie in"):
        forward(a, a, alpha=2)
    with pytest.raises(ValueError, match="gamma be at least 0"):
        forward(a, a, gamma=-1)
