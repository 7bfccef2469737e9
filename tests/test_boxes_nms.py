import numpy as np
import pytest

import numpyvision
from numpyvision.boxes import iou, nms


@pytest.fixture(params=["compiled", "numpy"])
def mode(request):
    with numpyvision.use(request.param):
        yield request.param


def scene(rng, n, dtype=np.float64):
    """Boxes on a coarse grid with coarse scores: many equal boxes, equal scores, IoUs exactly at the threshold."""
    corner, size = rng.integers(0, 12, (n, 2)), rng.integers(1, 8, (n, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(dtype), (rng.integers(0, 6, n) / 4).astype(dtype)


def slow_nms(boxes, scores, threshold):
    """The definition in double loops: a box stays unless a box that stays, and stands before it, overlaps it too much."""
    order = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        ious = [iou.box_iou(boxes[i:i + 1], boxes[k:k + 1])[0, 0] for k in kept]
        if not any(v > boxes.dtype.type(threshold) for v in ious):
            kept.append(i)
    return kept


def slow_batched_nms(boxes, scores, idxs, threshold):
    kept = []
    for group in set(idxs.tolist()):
        rows = np.flatnonzero(idxs == group)
        kept += [rows[k] for k in slow_nms(boxes[rows], scores[rows], threshold)]
    return sorted(kept, key=lambda i: (-scores[i], i))


def test_lecture_slide(mode):
    """The recap slide: IoU with the best dog box is 0.78, 0.05, 0.07; threshold 0.7 drops the first of them."""
    best = [0, 0, 100, 100]
    others = [[0, 0, 78, 100], [90.476, 0, 190.476, 100], [0, 86.916, 100, 186.916]]
    boxes = np.array([best, *others], dtype=float)
    np.testing.assert_allclose(iou.box_iou(boxes[:1], boxes[1:]), [[0.78, 0.05, 0.07]], atol=1e-4)
    assert nms.nms(boxes, np.array([0.9, 0.8, 0.7, 0.6]), 0.7).tolist() == [0, 2, 3]


def test_equality_is_kept_and_ties_go_by_index(mode):
    boxes = np.array([[0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 2, 1]], dtype=float)     # IoU of 0 and 1 is exactly 0.5
    scores = np.array([0.5, 0.5, 0.5])
    assert nms.nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms.nms(boxes, scores, 0.49).tolist() == [0]
    assert nms.nms(boxes, scores, 1.0).tolist() == [0, 1, 2]


def test_a_dropped_box_drops_nobody(mode):
    boxes = np.array([[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]], dtype=float)  # a chain: 0 hits 1, 1 hits 2, 0 hardly 2
    assert nms.nms(boxes, np.array([3.0, 2.0, 1.0]), 0.4).tolist() == [0, 2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 0.7, 1.0])
def test_equals_double_loop(mode, dtype, threshold):
    for seed in range(4):
        boxes, scores = scene(np.random.default_rng([seed, 7]), 40, dtype)
        kept = nms.nms(boxes, scores, threshold)
        assert kept.tolist() == slow_nms(boxes, scores, threshold) and kept.dtype == np.int64


def test_batched_equals_double_loop(mode):
    for seed in range(6):
        rng = np.random.default_rng([seed, 8])
        boxes, scores = scene(rng, 50)
        idxs = rng.integers(-2, 3, 50)
        assert nms.batched_nms(boxes, scores, idxs, 0.4).tolist() == slow_batched_nms(boxes, scores, idxs, 0.4)


def test_batched_with_one_group_is_nms(mode):
    boxes, scores = scene(np.random.default_rng(9), 50)
    assert nms.batched_nms(boxes, scores, np.full(50, 3), 0.5).tolist() == nms.nms(boxes, scores, 0.5).tolist()
    assert sorted(nms.batched_nms(boxes, scores, np.arange(50), 0.0).tolist()) == list(range(50))


def test_both_paths_agree_on_many_boxes():
    rng = np.random.default_rng(10)
    corner, size = rng.uniform(0, 100, (1000, 2)), rng.uniform(1, 40, (1000, 2))
    boxes, scores = np.concatenate([corner, corner + size], axis=1).astype(np.float32), rng.random(1000).astype(np.float32)
    compiled = nms.nms(boxes, scores, 0.3)
    with numpyvision.use("numpy"):
        assert compiled.tolist() == nms.nms(boxes, scores, 0.3).tolist()
    kept = iou.box_iou(boxes[compiled], boxes[compiled]) - np.eye(len(compiled), dtype=np.float32)
    assert kept.max() <= 0.3 and (np.diff(scores[compiled]) <= 0).all()


def test_empty_and_reversed(mode):
    assert nms.nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []
    assert nms.batched_nms(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), 0.5).tolist() == []
    boxes = np.array([[5, 5, 1, 1], [5, 5, 1, 1], [0, 0, 6, 6]], dtype=float)
    assert nms.nms(boxes, np.array([1.0, 1.0, 2.0]), 0.0).tolist() == [2, 0, 1]


def test_infinite_scores_sort(mode):
    boxes = np.array([[0, 0, 1, 1], [5, 5, 6, 6], [9, 9, 10, 10]], dtype=float)
    assert nms.nms(boxes, np.array([-np.inf, 0, np.inf]), 0.5).tolist() == [2, 1, 0]


def test_inputs_untouched_and_strided(mode):
    boxes, scores = scene(np.random.default_rng(11), 40)
    before = boxes.copy(), scores.copy()
    wide = np.repeat(boxes, 2, axis=1)[:, ::2]
    assert nms.nms(wide, scores, 0.4).tolist() == nms.nms(boxes, scores, 0.4).tolist()
    assert (boxes == before[0]).all() and (scores == before[1]).all()


def test_complains(mode):
    boxes = np.array([[0, 0, 1, 1], [0, 0, 2, 2.0]])
    with pytest.raises(ValueError, match="scores contain NaN"):
        nms.nms(boxes, np.array([1.0, np.nan]), 0.5)
    with pytest.raises(ValueError, match="boxes contains NaN"):
        nms.nms(boxes * np.nan, np.array([1.0, 1.0]), 0.5)
    with pytest.raises(ValueError, match="one a box"):
        nms.nms(boxes, np.array([1.0]), 0.5)
    with pytest.raises(ValueError, match="iou_threshold"):
        nms.nms(boxes, np.array([1.0, 1.0]), 50)
    with pytest.raises(ValueError, match="idxs"):
        nms.batched_nms(boxes, np.array([1.0, 1.0]), np.array([0.0, 1.0]), 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_suppressed_by_agrees_with_nms(mode, dtype):
    for seed in range(4):
        rng = np.random.default_rng([seed, 12])
        boxes, scores = scene(rng, 60, dtype)
        if seed > 1:
            boxes = boxes + rng.random((60, 4)).astype(dtype) / 4
        for idxs in (None, rng.integers(0, 3, 60)):
            kept = nms.nms(boxes, scores, 0.4) if idxs is None else nms.batched_nms(boxes, scores, idxs, 0.4)
            by = nms.suppressed_by(boxes, kept, 0.4, idxs)
            assert sorted(kept) == np.flatnonzero(by < 0).tolist() and set(by[by >= 0]) <= set(kept)
            for i in np.flatnonzero(by >= 0):
                stands_before = [k for k in kept if (-scores[k], k) < (-scores[i], i) and (idxs is None or idxs[k] == idxs[i])
                                 and iou.box_iou(boxes[i:i + 1], boxes[k:k + 1])[0, 0] > dtype(0.4)]
                assert by[i] == stands_before[0]
    assert nms.suppressed_by(boxes[:0], np.zeros(0, np.int64), 0.4).tolist() == []
