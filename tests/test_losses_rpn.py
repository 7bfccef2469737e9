"""The RPN's two losses: by hand, anchor by anchor in a loop, and nothing where nothing was sampled."""
import numpy as np

from numpyvision.losses import rpn


def test_by_hand(mode):
    logits, deltas = np.zeros((1, 3)), np.zeros((1, 3, 4))
    deltas[0, 1] = 0.5, 0, 0, 0.05
    logits[0, 2] = 1000                                                # not sampled: however wrong, it costs nothing
    chosen = np.array([0, 0]), np.array([1, 0]), np.array([1, 0])      # anchor 1 positive, anchor 0 negative
    (objectness, box_reg), cache = rpn.rpn_losses_forward(logits, deltas, *chosen, np.zeros((1, 4)))
    np.testing.assert_allclose(objectness, np.log(2), rtol=1e-15)      # two logits of 0: each log 2, over S = 2
    np.testing.assert_allclose(box_reg, (0.444444444444 + 0.01125) / 2, rtol=1e-10)
    dlogits, ddeltas, *none = rpn.rpn_losses_backward((1., 2.), cache)
    np.testing.assert_allclose(dlogits, [[.25, -.25, 0]], rtol=1e-15)
    np.testing.assert_allclose(ddeltas, [[[0] * 4, [1, 0, 0, .45], [0] * 4]], rtol=1e-12)
    assert none == [None] * 4


def test_second_derivation(mode):
    rng = np.random.default_rng(0)
    N, T, beta = 3, 10, .4
    logits, deltas = rng.standard_normal((N, T)), rng.standard_normal((N, T, 4))
    picked = rng.permutation(N * T)[:12]
    image, anchor, labels = picked // T, picked % T, rng.integers(0, 2, 12)
    gt_deltas = rng.standard_normal((labels.sum(), 4))
    losses, cache = rpn.rpn_losses_forward(logits, deltas, image, anchor, labels, gt_deltas, beta)
    dlogits, ddeltas, *_ = rpn.rpn_losses_backward((.7, -1.3), cache)
    expected, glogits, gdeltas, place = [0., 0.], np.zeros_like(logits), np.zeros_like(deltas), 0
    for n, t, label in zip(image, anchor, labels, strict=True):
        p = 1 / (1 + np.exp(-logits[n, t]))
        expected[0] -= np.log(p if label else 1 - p) / 12
        glogits[n, t] = .7 * (p - label) / 12
        if label:
            for k, d in enumerate(deltas[n, t] - gt_deltas[place]):
                expected[1] += (d * d / (2 * beta) if abs(d) < beta else abs(d) - beta / 2) / 12
                gdeltas[n, t, k] = -1.3 * (d / beta if abs(d) < beta else np.sign(d)) / 12
            place += 1
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_allclose(dlogits, glogits, rtol=1e-12)
    np.testing.assert_allclose(ddeltas, gdeltas, rtol=1e-12)


def test_nothing_sampled_is_zero(mode):
    none = np.zeros(0, np.int64)
    losses, cache = rpn.rpn_losses_forward(np.ones((2, 5), np.float32), np.ones((2, 5, 4), np.float32), none, none, none,
                                           np.zeros((0, 4), np.float32))
    dlogits, ddeltas, *_ = rpn.rpn_losses_backward((1., 1.), cache)
    assert losses == (0, 0) and not dlogits.any() and not ddeltas.any()
    assert dlogits.shape == (2, 5) and ddeltas.shape == (2, 5, 4) and dlogits.dtype == ddeltas.dtype == np.float32
