import numpy as np
import pytest

from numpyvision.boxes import convert

BOXES = np.array([[1.0, 2.0, 5.0, 10.0], [-3.0, 0.5, 7.25, 0.75]])


def test_formats_by_hand():
    assert convert.box_convert(BOXES[:1], "xyxy", "xywh").tolist() == [[1, 2, 4, 8]]
    assert convert.box_convert(BOXES[:1], "xyxy", "cxcywh").tolist() == [[3, 6, 4, 8]]
    assert convert.box_convert(BOXES[:1], "xywh", "cxcywh").tolist() == [[3.5, 7, 5, 10]]


@pytest.mark.parametrize("a", convert.FORMATS)
@pytest.mark.parametrize("b", convert.FORMATS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_round_trip_keeps_dtype_and_copies(a, b, dtype):
    boxes = BOXES.astype(dtype)
    there = convert.box_convert(boxes, a, b)
    back = convert.box_convert(there, b, a)
    assert there.dtype == boxes.dtype and not np.shares_memory(there, boxes)
    np.testing.assert_array_equal(back, boxes)                     # these numbers are exact in binary


def test_convert_empty_and_many_axes():
    assert convert.box_convert(np.zeros((0, 4)), "xyxy", "xywh").shape == (0, 4)
    assert convert.box_convert(np.zeros((2, 3, 4)), "xywh", "xyxy").shape == (2, 3, 4)


def test_convert_complains():
    with pytest.raises(ValueError, match="xyxz"):
        convert.box_convert(BOXES, "xyxz", "xywh")
    with pytest.raises(ValueError, match="axis of 4"):
        convert.box_convert(np.zeros((2, 5)), "xyxy", "xywh")


def test_area_of_a_reversed_box_is_zero():
    boxes = np.array([[0, 0, 2, 3], [2, 0, 0, 3], [2, 3, 0, 0], [1, 1, 1, 5]], dtype=float)
    assert convert.box_area(boxes).tolist() == [6, 0, 0, 0]


def test_clip():
    boxes = np.array([[-5, -5, 3, 3], [2, 2, 99, 99], [20, 30, 40, 50], [1, 1, 2, 2]], dtype=np.float32)
    clipped = convert.clip_boxes(boxes, image_size=(8, 10))        # H = 8, W = 10
    assert clipped.tolist() == [[0, 0, 3, 3], [2, 2, 10, 8], [10, 8, 10, 8], [1, 1, 2, 2]]
    assert clipped.dtype == np.float32 and not np.shares_memory(clipped, boxes)


def test_remove_small_keeps_equality_and_order():
    boxes = np.array([[0, 0, 2, 2], [0, 0, 1.9, 9], [0, 0, 9, 1.9], [5, 5, 4, 9], [0, 0, 3, 3]], dtype=float)
    kept = convert.remove_small(boxes, 2)
    assert kept.tolist() == [0, 4] and kept.dtype == np.int64
    assert convert.remove_small(np.zeros((0, 4)), 1).tolist() == []


def test_boxes_to_rois():
    rois = convert.boxes_to_rois([BOXES.astype(np.float32), np.zeros((0, 4), np.float32), BOXES[:1].astype(np.float32)])
    assert rois.dtype == np.float32 and rois.shape == (3, 5)
    assert rois[:, 0].tolist() == [0, 0, 2]
    np.testing.assert_array_equal(rois[:, 1:], BOXES[[0, 1, 0]].astype(np.float32))
    assert convert.boxes_to_rois([]).shape == (0, 5)


def test_boxes_to_rois_complains():
    with pytest.raises(ValueError, match="list"):
        convert.boxes_to_rois(BOXES)
    with pytest.raises(ValueError, match=r"boxes\[1\]"):
        convert.boxes_to_rois([BOXES, np.zeros(4)])
    with pytest.raises(ValueError, match="NaN"):
        convert.boxes_to_rois([BOXES * np.nan])
