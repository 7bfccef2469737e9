"""check/boxes.py: the first bad row, and the usual cause."""
import numpy as np
import pytest

from numpyvision import check

GOOD = np.array([[0, 0, 10, 20], [3, 4, 3, 9], [5, 5, 32, 24]], np.float32)


def test_boxes_pass():
    check.assert_is_boxes(GOOD)
    check.assert_is_boxes(GOOD, (24, 32))                        # touching the border is inside: half-open boxes
    check.assert_is_boxes(np.zeros((0, 4)), (24, 32))


def changed(row, values):
    boxes = GOOD.copy()
    boxes[row] = values
    return boxes


@pytest.mark.parametrize("boxes, words", [
    (GOOD[0], r"got \(4,\); a single box needs boxes\[None\]"),
    (np.zeros(0), r"got \(0,\); for no boxes use np.zeros\(\(0, 4\)"),
    (GOOD.tolist(), "got a list"),
    (np.zeros((3, 5)), r"\(N, 4\) array of \(x1, y1, x2, y2\), got \(3, 5\)"),
    (GOOD.astype(int), "float32 or float64, got int64"),
    (changed(1, [0, 0, np.nan, 3]), r"boxes\[1\] = \(0, 0, nan, 3\) is not finite; 1 of 3 rows like it"),
    (changed(2, [8, 8, 4, 12]), r'boxes\[2\] = \(8, 8, 4, 12\) is reversed.*box_convert\(boxes, "xywh", "xyxy"\)'),
    (changed(0, [0, 0, -4, 12]), r"boxes\[0\].*is reversed.*flip"),
])
def test_bad_boxes_are_explained(boxes, words):
    with pytest.raises(ValueError, match=words):
        check.assert_is_boxes(boxes)


def test_outside_the_image():
    with pytest.raises(ValueError, match=r"boxes\[2\] = \(5, 5, 32, 24\) leaves the image of H 32, W 24; .*\(W, H\) instead of \(H, W\)"):
        check.assert_is_boxes(GOOD, (32, 24))
