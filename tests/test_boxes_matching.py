import numpy as np
import pytest

import numpyvision
from numpyvision.boxes import iou as overlap
from numpyvision.boxes import matching


@pytest.fixture(params=["compiled", "numpy"])
def mode(request):
    with numpyvision.use(request.param):
        yield request.param


def slow_match(iou, fg, bg, low):
    G, A = iou.shape
    idx, labels = np.zeros(A, np.int64), np.zeros(A, np.int64)
    for a in range(A):
        best = max(range(G), key=lambda g: iou[g, a]) if G else None              # max() takes the first of equals
        if G:
            idx[a] = best
            labels[a] = 1 if iou[best, a] >= fg else 0 if iou[best, a] < bg else -1
    for g in range(G):
        for a in range(A):
            if low and iou[g, a] > 0 and iou[g, a] == max(iou[g]):
                labels[a] = 1
    return idx, labels


def test_by_hand(mode):
    iou = np.array([[0.1, 0.9, 0.45, 0.0, 0.3], [0.2, 0.2, 0.3, 0.0, 0.3]])
    idx, labels = matching.match_boxes(iou, 0.7, 0.3)
    assert idx.tolist() == [1, 0, 0, 0, 0] and labels.tolist() == [0, 1, -1, 0, -1]
    _, labels = matching.match_boxes(iou, 0.7, 0.3, allow_low_quality=True)
    assert labels.tolist() == [0, 1, 1, 0, 1]                                     # truth 1: anchors 2 and 4 tie at 0.3


def test_lecture_S02_thresholds_at_equality(mode):
    idx, labels = matching.match_boxes(np.array([[0.5, 0.3, 0.2999, 0.4999]]), 0.5, 0.3)
    assert labels.tolist() == [1, -1, 0, -1]


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (7, 40), (40, 7), (0, 5), (5, 0), (0, 0)])
def test_equals_double_loop(mode, low, dtype, shape):
    rng = np.random.default_rng([*shape, 3])
    iou = (rng.integers(0, 9, shape) / 8 * rng.integers(0, 2, shape)).astype(dtype)     # many ties, many zeros
    got, want = matching.match_boxes(iou, 0.75, 0.5, low), slow_match(iou, 0.75, 0.5, low)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g, w)
        assert g.dtype == np.int64


def test_lecture_R04_every_overlapped_truth_gets_a_positive(mode):
    rng = np.random.default_rng(4)
    corner = rng.uniform(0, 90, (200, 2)); anchors = np.concatenate([corner, corner + 16], axis=1)
    corner = rng.uniform(0, 70, (9, 2)); truth = np.concatenate([corner, corner + rng.uniform(3, 60, (9, 2))], axis=1)
    iou = overlap.box_iou(truth, anchors)
    _, labels = matching.match_boxes(iou, 0.7, 0.3, allow_low_quality=True)
    for row in iou:
        assert row.max() > 0 and (labels[row == row.max()] == 1).all()


@pytest.mark.parametrize("place", [0, 5, 63, 64, 127, 128, 149])
def test_the_best_box_of_a_truth_is_found_wherever_it_lies(mode, place):
    iou = np.full((1, 150), 0.25)
    iou[0, place] = 0.5
    assert np.flatnonzero(matching.match_boxes(iou, 0.7, 0.3, allow_low_quality=True)[1] == 1).tolist() == [place]


def test_a_truth_that_nobody_touches_makes_nothing_positive(mode):
    _, labels = matching.match_boxes(np.zeros((2, 3)), 0.7, 0.3, allow_low_quality=True)
    assert labels.tolist() == [0, 0, 0]


def test_transposed_input_is_read_right(mode):
    iou = np.random.default_rng(5).random((6, 9))
    for a, b in zip(matching.match_boxes(iou.T.copy().T, 0.6, 0.4, True), matching.match_boxes(iou, 0.6, 0.4, True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ignore_inside_crowd():
    boxes = np.array([[0, 0, 4, 4], [8, 0, 12, 4], [7, 0, 11, 4], [0, 0, 2, 2]], dtype=float)
    crowd = np.array([[-10, -10, 9, 10.0]])                                       # covers 4/4, 1/4, 2/4, all
    labels = np.array([0, 0, 0, 1])
    out = matching.ignore_inside(labels, boxes, crowd)
    assert out.tolist() == [-1, 0, -1, 1] and labels.tolist() == [0, 0, 0, 1] and out.dtype == np.int64
    same = matching.ignore_inside(labels, boxes, np.zeros((0, 4)))
    assert same.tolist() == labels.tolist() and not np.shares_memory(same, labels)


def test_complains(mode):
    with pytest.raises(ValueError, match="swapped"):
        matching.match_boxes(np.zeros((1, 1)), 0.3, 0.7)
    with pytest.raises(ValueError, match=r"\(G, A\)"):
        matching.match_boxes(np.zeros(3), 0.7, 0.3)
