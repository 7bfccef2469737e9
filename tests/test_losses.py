"""Softmax cross-entropy, sigmoid BCE and smooth L1."""
import math

import numpy as np
import pytest

import numpyvision
from numpyvision.losses import classification, regression

softmax_ce, softmax_ce_backward = classification.softmax_cross_entropy_forward, classification.softmax_cross_entropy_backward
bce, bce_backward = classification.sigmoid_bce_forward, classification.sigmoid_bce_backward
smooth_l1, smooth_l1_backward = regression.smooth_l1_forward, regression.smooth_l1_backward


def test_cross_entropy_by_hand(mode):
    logits = np.log([[1., 2, 5], [4, 4, 8]])                           # softmax: .125 .25 .625   .25 .25 .5
    loss, cache = softmax_ce(logits, np.array([2, 0]))
    assert math.isclose(loss, -(math.log(.625) + math.log(.25)) / 2)
    np.testing.assert_allclose(softmax_ce_backward(3., cache), 3 / 2 * np.array([[.125, .25, -.375], [-.75, .25, .5]]), atol=1e-15)


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 7, 40, 30)])
def test_lecture_per_pixel_cross_entropy(mode, shape):
    """L16-G05: the mean of H*W independent losses; gradient (softmax - onehot) / n_valid; an ignored pixel contributes 0."""
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal(shape), rng.integers(0, shape[1], (shape[0], *shape[2:]))
    labels[rng.random(labels.shape) < .4] = 255
    loss, cache = softmax_ce(logits, labels)
    rows, flat = logits.transpose(0, 2, 3, 1).reshape(-1, shape[1]), labels.ravel()                # (N*H*W, K1)
    softmax = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    valid = np.flatnonzero(flat != 255)
    assert math.isclose(loss, -np.log(softmax[valid, flat[valid]]).mean(), rel_tol=1e-12)
    expected = np.zeros_like(rows)
    expected[valid] = (softmax[valid] - np.eye(shape[1])[flat[valid]]) / len(valid)
    dlogits = softmax_ce_backward(1., cache)
    np.testing.assert_allclose(dlogits.transpose(0, 2, 3, 1).reshape(-1, shape[1]), expected, atol=1e-14)
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-15)     # softmax and onehot both sum to one


@pytest.mark.parametrize("ignore_index, label", [(255, 255), (-1, -1), (-100, -100)])
def test_nothing_valid_and_nothing_at_all(mode, ignore_index, label):
    for logits, labels in ((np.ones((3, 4)), np.full(3, label)), (np.ones((2, 4, 3, 3)), np.full((2, 3, 3), label)),
                           (np.ones((0, 4)), np.zeros(0, int)), (np.ones((0, 4, 3, 3)), np.zeros((0, 3, 3), int))):
        loss, cache = softmax_ce(logits, labels, ignore_index)
        assert str(float(loss)) == "0.0"                               # not -0.0 either
        dlogits = softmax_ce_backward(1., cache)
        assert dlogits.shape == logits.shape and not dlogits.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_extreme_logits(mode, dtype):
    logits = np.array([[1000, -1000, 0], [-1e4, -1e4 - 1, -2e4]], dtype)
    loss, cache = softmax_ce(logits, np.array([1, 0]), None)
    assert math.isclose(loss, (2000 + math.log(1 + math.exp(-1))) / 2, rel_tol=1e-6)
    p = 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(softmax_ce_backward(2., cache), [[1, -1, 0], [p - 1, 1 - p, 0]], atol=2e-7)
    assert loss.dtype == dtype


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 2e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("shape", [(600, 5), (40, 150), (2, 21, 45, 31)])
@pytest.mark.parametrize("label_dtype", [np.int64, np.uint8])
def test_cross_entropy_compiled_equals_readable(dtype, rtol, shape, label_dtype):
    rng = np.random.default_rng(1)
    logits = (4 * rng.standard_normal(shape[::-1])).astype(dtype).T   # not contiguous
    labels = rng.integers(0, shape[1], shape[:1] + shape[2:]).astype(label_dtype)
    labels[..., ::3] = 255
    results = []
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode):
            loss, cache = softmax_ce(logits, labels)
            results.append((loss, softmax_ce_backward(np.float64(.7), cache)))
    for readable, compiled in zip(*results, strict=True):
        assert readable.dtype == compiled.dtype == dtype and compiled.shape == readable.shape
        np.testing.assert_allclose(compiled, readable, rtol=rtol, atol=rtol * np.abs(readable).max())


@pytest.mark.parametrize("shape", [(300, 7), (2, 7, 9, 60)])
def test_the_compiled_backward_takes_a_cache_that_the_readable_forward_left(shape):
    """The compiled forward leaves the softmax's parts for its backward; where they are missing, they are computed again."""
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal(shape), rng.integers(0, 7, shape[:1] + shape[2:])
    labels[..., ::3] = 255
    with numpyvision.use("numpy"):
        _, readable = softmax_ce(logits, labels)
    _, compiled = softmax_ce(logits, labels)
    assert "parts" in compiled and "parts" not in readable
    assert np.array_equal(softmax_ce_backward(.7, readable), softmax_ce_backward(.7, compiled))


def test_a_label_outside_the_range_is_named():
    for labels, ignore in ((np.array([0, 4, 255]), 255), (np.array([0, -1, 4]), -1), (np.array([0, 4, 3]), None)):
        with pytest.raises(ValueError, match=r"labels must be 0..3 \(K1 = 4 classes, .* got 4 \(1 such\); .*fewer classes"):
            softmax_ce(np.zeros((3, 4)), labels, ignore)
    with pytest.raises(ValueError, match=r"got -1 \(2 such\)"):
        softmax_ce(np.zeros((1, 4, 2, 1)), np.array([[[-1], [-1]]]))


@pytest.mark.parametrize("logits, labels, message", [
    (np.zeros((3, 4)), np.zeros((3, 1), int), r"labels must be \(N,\), got \(3, 1\)"),
    (np.zeros((3, 4)), np.zeros(2, int), r"labels must be \(3,\) for logits \(3, 4\), got \(2,\)"),
    (np.zeros((3, 4)), np.zeros(3), "labels must hold integers, got float64"),
    (np.zeros((2, 4, 3)), np.zeros((2, 3), int), r"logits must be \(N, K1\) or \(N, K1, H, W\), got \(2, 4, 3\)"),
    (np.zeros((3, 0)), np.zeros(3, int), "at least one class"),
    (np.zeros((3, 3136)), np.zeros(3, int), "ignore_index 255 is one of the 3136 classes; pass ignore_index=None"),
])
def test_wrong_cross_entropy_arguments_are_named(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        softmax_ce(logits, labels)


def test_sigmoid_bce_by_hand(mode):
    logits, targets = np.array([[0., math.log(3)], [-math.log(3), 7.]]), np.array([[1., 0], [.5, 1]])      # sigmoid .5 .75 .25
    elements = [math.log(2), -math.log(.25), -(math.log(.25) + math.log(.75)) / 2]
    loss, cache = bce(logits, targets, weights=np.array([[1., 2], [1, 0]]))
    assert math.isclose(loss, (elements[0] + 2 * elements[1] + elements[2]) / 3)                           # three have a weight
    np.testing.assert_allclose(bce_backward(6., cache), 6 / 3 * np.array([[-.5, 2 * .75], [-.25, 0]]), atol=1e-15)
    assert math.isclose(bce(logits, targets, np.array([[1., 2], [1, 0]]), normalizer=10)[0], loss * .3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_bce_is_stable(mode, dtype):
    logits, targets = np.array([1000, 1000, -1000, -1000], dtype), np.array([1, 0, 1, 0], dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        loss, cache = bce(logits, targets)
        dlogits = bce_backward(4., cache)
    assert loss == 500 and loss.dtype == dtype
    np.testing.assert_allclose(dlogits, [0, 1, -1, 0], atol=1e-30)


def test_lecture_smooth_l1(mode):
    """LECTURE.md section 3: beta 1/9."""
    pred, target = np.array([0.05, -0.5, 0.]), np.zeros(3)
    loss, cache = smooth_l1(pred, target, beta=1 / 9, normalizer=1)
    assert math.isclose(loss, .01125 + .5 - 1 / 18, rel_tol=1e-12)
    assert math.isclose(smooth_l1(pred[:1], target[:1], beta=1 / 9)[0], .01125, rel_tol=1e-12)
    assert math.isclose(smooth_l1(pred[1:2], target[1:2], beta=1 / 9)[0], .444444, abs_tol=1e-6)
    np.testing.assert_allclose(smooth_l1_backward(1., cache), [.45, -1, 0], rtol=1e-12)


def test_smooth_l1_of_beta_zero_is_l1(mode):
    pred, target = np.array([[3., -2, 1]]), np.array([[1., 1, 1]])
    loss, cache = smooth_l1(pred, target, beta=0)
    assert loss == 5 / 3
    np.testing.assert_allclose(smooth_l1_backward(3., cache), [[1, -1, 0]], rtol=1e-15)            # equal: the middle of the kink


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 2e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("shape", [(5,), (300, 4), (3, 2, 50, 41)])
@pytest.mark.parametrize("weighted", [False, True])
def test_elementwise_losses_compiled_equals_readable(dtype, rtol, shape, weighted):
    rng = np.random.default_rng(2)
    a, b = ((3 * rng.standard_normal(shape[::-1])).astype(dtype).T for _ in range(2))
    weights = np.round(rng.uniform(0, 2, shape[:1] + (1,) * (len(shape) - 1))) if weighted else None       # one a row, some of them 0
    results = []
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode):
            first, cache_bce = bce(a, (b > 0).astype(dtype), weights)
            second, cache_l1 = smooth_l1(a, b, weights, beta=.3)
            results.append((first, bce_backward(np.float64(.7), cache_bce), second, smooth_l1_backward(np.float64(.7), cache_l1)))
            assert weights is None or cache_bce.normalizer == max((weights != 0).sum() * a.size / shape[0], 1)
    for readable, compiled in zip(*results, strict=True):
        assert readable.dtype == compiled.dtype == dtype and compiled.shape == readable.shape
        np.testing.assert_allclose(compiled, readable, rtol=rtol, atol=rtol * np.abs(readable).max())


@pytest.mark.parametrize("forward, backward", [(bce, bce_backward), (smooth_l1, smooth_l1_backward)])
def test_nothing_to_sum_is_zero(mode, forward, backward):
    for a, weights in ((np.zeros((0, 4)), None), (np.zeros((0, 4)), np.zeros((0, 1))), (np.ones((3, 4)), np.zeros((3, 1)))):
        loss, cache = forward(a, a, weights)
        assert loss == 0 and cache.normalizer == 1
        assert backward(1., cache).shape == a.shape and not backward(1., cache).any()


@pytest.mark.parametrize("forward, backward", [(bce, bce_backward), (smooth_l1, smooth_l1_backward)])
def test_a_nan_is_not_hidden(mode, forward, backward):
    for dtype in (np.float32, np.float64):
        a = np.array([.5, np.nan, .25], dtype)
        loss, cache = forward(a, np.zeros(3, dtype))
        assert np.isnan(loss) and np.isnan(backward(1., cache)).tolist() == [False, True, False]
        logits = np.zeros((2, 3), dtype)
        logits[1, 2] = np.nan
        loss, cache = softmax_ce(logits, np.array([0, 0]))
        assert np.isnan(loss) and np.isnan(softmax_ce_backward(1., cache)).tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize("forward", [bce, smooth_l1])
def test_wrong_elementwise_arguments_are_named(forward):
    a = np.ones((3, 4))
    with pytest.raises(ValueError, match=r"must have the shape of \w+ \(3, 4\), got \(3, 1\)"):
        forward(a, np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"weights must broadcast to \(3, 4\), got \(3,\); one weight a row .* weights\[:, None\]"):
        forward(a, a, np.ones(3))
    with pytest.raises(ValueError, match=r"normalizer must be above 0, got 0; .* max\(count, 1\)"):
        forward(a, a, normalizer=0)
    with pytest.raises(ValueError, match="share a dtype"):
        forward(a, a.astype(np.float32))
    with pytest.raises(ValueError, match="beta must be at least 0"):
        smooth_l1(a, a, beta=-1)


@pytest.mark.parametrize("forward, backward", [(bce, bce_backward), (smooth_l1, smooth_l1_backward)])
def test_a_cache_that_does_not_fit_raises_instead_of_reading_elsewhere(mode, forward, backward):
    _, cache = forward(np.ones((3, 4)), np.ones((3, 4)), np.ones((3, 1)))
    cache["weights"] = np.ones((2, 4))
    with pytest.raises(ValueError, match="broadcast"):
        backward(1., cache)
