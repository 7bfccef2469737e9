import numpy as np
import pytest

import numpyvision
from numpyvision.boxes import convert, iou


@pytest.fixture(params=["compiled", "numpy"])
def mode(request):
    with numpyvision.use(request.param):
        yield request.param


def random_boxes(rng, n, dtype=np.float64, size=20):
    """Boxes with corners on a grid of halves: many touch, coincide, are empty or reversed."""
    return (rng.integers(0, 2 * size, (n, 4)) / 2).astype(dtype)


def slow_overlap(b1, b2):
    """Intersection, area 1, area 2 of one pair, in Python floats."""
    def length(lo, hi):
        return max(0.0, float(hi) - float(lo))
    inter = length(max(b1[0], b2[0]), min(b1[2], b2[2])) * length(max(b1[1], b2[1]), min(b1[3], b2[3]))
    return inter, length(b1[0], b1[2]) * length(b1[1], b1[3]), length(b2[0], b2[2]) * length(b2[1], b2[3])


def slow_iou(boxes1, boxes2):
    out = np.zeros((len(boxes1), len(boxes2)))
    for i, b1 in enumerate(boxes1):
        for j, b2 in enumerate(boxes2):
            inter, a1, a2 = slow_overlap(b1, b2)
            out[i, j] = inter / (a1 + a2 - inter) if inter else 0.0
    return out


def test_by_hand(mode):
    a = np.array([[0, 0, 4, 4]], dtype=float)
    b = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [4, 0, 8, 4], [9, 9, 10, 10], [1, 1, 3, 3]], dtype=float)
    np.testing.assert_allclose(iou.box_iou(a, b), [[1, 4 / 28, 0, 0, 4 / 16]], rtol=1e-15)


def test_empty_union_and_reversed_boxes_give_zero(mode):
    boxes = np.array([[1, 1, 1, 1], [5, 5, 2, 2], [5, 0, 2, 9], [0, 0, 9, 9]], dtype=float)
    expected = np.zeros((4, 4)); expected[3, 3] = 1
    np.testing.assert_array_equal(iou.box_iou(boxes, boxes), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_double_loop(mode, dtype):
    rng = np.random.default_rng(1)
    a, b = random_boxes(rng, 60, dtype), random_boxes(rng, 70, dtype)
    out = iou.box_iou(a, b)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, slow_iou(a, b), rtol=2 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_paths_are_bit_equal(dtype):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(50, 4)).cumsum(axis=1).astype(dtype), rng.normal(size=(90, 4)).cumsum(axis=1).astype(dtype)
    with numpyvision.use("numpy"):
        readable = iou.box_iou(a, b)
    np.testing.assert_array_equal(iou.box_iou(a, b), readable)


def test_symmetric_and_one_with_itself(mode):
    rng = np.random.default_rng(3)
    corner, size = rng.uniform(-50, 50, (40, 2)), rng.uniform(0.1, 60, (40, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    out = iou.box_iou(boxes, boxes)
    np.testing.assert_array_equal(np.diag(out), 1.0)
    np.testing.assert_array_equal(out, out.T)
    assert out.min() >= 0 and out.max() <= 1


def test_empty_and_strided_inputs(mode):
    rng = np.random.default_rng(4)
    boxes = random_boxes(rng, 12)
    assert iou.box_iou(np.zeros((0, 4)), boxes).shape == (0, 12)
    assert iou.box_iou(boxes, np.zeros((0, 4))).shape == (12, 0)
    np.testing.assert_array_equal(iou.box_iou(boxes[::2], np.asfortranarray(boxes)), iou.box_iou(boxes, boxes)[::2])


def test_mixed_dtypes_meet_in_the_wider_one(mode):
    rng = np.random.default_rng(5)
    a, b = random_boxes(rng, 5, np.float32), random_boxes(rng, 6, np.float64)
    assert iou.box_iou(a, b).dtype == np.float64
    np.testing.assert_array_equal(iou.box_iou(a, b), iou.box_iou(a.astype(np.float64), b))
    assert iou.box_iou(a.astype(np.int64), b.astype(np.int64)).dtype == np.float64


def test_ioa_equals_double_loop(mode):
    rng = np.random.default_rng(6)
    a, b = random_boxes(rng, 30), random_boxes(rng, 20)
    expected = np.zeros((30, 20))
    for i in range(30):
        for j in range(20):
            inter, area, _ = slow_overlap(a[i], b[j])
            expected[i, j] = inter / area if inter else 0
    np.testing.assert_allclose(iou.box_ioa(a, b), expected, rtol=1e-15)


def test_a_person_in_a_crowd():
    person, crowd = np.array([[10, 10, 20, 30.0]]), np.array([[0, 0, 100, 100.0]])
    assert iou.box_ioa(person, crowd)[0, 0] == 1
    assert iou.box_iou(person, crowd)[0, 0] == 200 / 10000


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((3, 5)), [[0, 0, 1, 1]], np.array([[0, 0, np.nan, 1]])])
def test_complains(mode, bad):
    with pytest.raises(ValueError, match="boxes2"):
        iou.box_iou(np.zeros((1, 4)), bad)


def test_area_matches_convert():
    assert convert.box_area(np.array([[0, 0, 3, 4.0]])).tolist() == [12]
