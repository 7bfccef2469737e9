import numpy as np
import pytest

from numpyvision.boxes import sampling


def draw(labels, n, fraction, seed=0):
    return sampling.sample_labels(np.asarray(labels, dtype=np.int64), n, fraction, np.random.default_rng(seed))


def test_counts():
    labels = np.array([1] * 30 + [0] * 100 + [-1] * 20)
    np.random.default_rng(1).shuffle(labels)
    for n, fraction, positives, negatives in [(20, 0.5, 10, 10), (20, 0.25, 5, 15), (80, 0.5, 30, 50), (500, 0.5, 30, 100), (0, 0.5, 0, 0),
                                              (10, 0.0, 0, 10), (10, 1.0, 10, 0)]:
        idx = draw(labels, n, fraction)
        assert (labels[idx] == 1).sum() == positives and (labels[idx] == 0).sum() == negatives and len(idx) == positives + negatives
        assert len(set(idx.tolist())) == len(idx) and idx.dtype == np.int64
        assert (np.diff(idx[:positives]) > 0).all() and (np.diff(idx[positives:]) > 0).all() and (labels[idx[:positives]] == 1).all()


def test_negatives_missing_does_not_add_positives():
    assert draw([1, 1, 1, 1, 0], 4, 0.5).tolist()[2:] == [4] and len(draw([1, 1, 1, 1, 0], 4, 0.5)) == 3


def test_same_rng_same_sample_and_fair():
    labels = np.zeros(50, np.int64)
    assert draw(labels, 10, 0.5, seed=3).tolist() == draw(labels, 10, 0.5, seed=3).tolist()
    rng = np.random.default_rng(4)
    seen = np.zeros(50)
    for _ in range(2000):
        seen[sampling.sample_labels(labels, 10, 0.5, rng)] += 1
    assert abs(seen / 2000 - 0.2).max() < 0.05                                    # 5 standard deviations of a binomial


def test_empty():
    assert draw([], 10, 0.5).tolist() == [] and draw([-1, -1], 10, 0.5).tolist() == []


def test_complains():
    with pytest.raises(ValueError, match="image by image"):
        draw(np.zeros((2, 3)), 5, 0.5)
    with pytest.raises(ValueError, match="positive_fraction"):
        draw([0, 1], 5, 25)
