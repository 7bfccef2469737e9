import numpy as np
import pytest

from numpyvision.boxes import mask_crops
from numpyvision.boxes.detections import Detections


def three():
    return Detections(np.arange(12, dtype=np.float32).reshape(3, 4), np.array([1, 2, 3]), np.array([0.9, 0.8, 0.7], np.float32))


@pytest.mark.parametrize("index, labels", [(np.array([True, False, True]), [1, 3]), (np.array([2, 0]), [3, 1]), (slice(1, None), [2, 3]),
                                           (1, [2]), (-1, [3]), (np.zeros(3, bool), [])])
def test_rows(index, labels):
    part = three()[index]
    assert part.labels.tolist() == labels and part.boxes.shape == (len(labels), 4) and len(part) == len(labels)


def test_iterates_row_by_row():
    assert [d.labels.tolist() for d in three()] == [[1], [2], [3]]


def test_scaled_and_empty():
    d = three()
    half = d.scaled(0.5)
    assert half.boxes.tolist() == (d.boxes / 2).tolist() and half.boxes.dtype == np.float32 and d.boxes[0, 1] == 1
    assert len(Detections.empty()) == 0 and Detections.empty().boxes.shape == (0, 4)


def test_complains():
    with pytest.raises(ValueError, match=r"\(D, 4\)"):
        Detections(np.zeros((2, 4)), np.zeros(3), np.zeros(3))


def complete():
    """Three objects of a 12 x 16 image with everything that can be said about them."""
    d = three()
    boxes = np.array([[2, 2, 8, 6], [4, 4, 12, 12], [0, 0, 16, 12]], np.float32)
    pose = np.arange(3 * 2 * 3, dtype=np.float32).reshape(3, 2, 3)
    probs = np.ones((3, 4, 4), np.float32)
    return Detections(boxes, d.labels, d.scores, masks=mask_crops.paste_masks(probs, boxes, (12, 16)), keypoints=pose).with_rows(
        mask_probs=probs, colours=np.eye(3))


def test_rows_of_masks_keypoints_and_more_go_along():
    part = complete()[[2, 0]]
    assert part.masks.sum(axis=(1, 2)).tolist() == [192, 24] and part.keypoints[1].tolist() == complete().keypoints[0].tolist()
    assert part.more["colours"].tolist() == [[0, 0, 1], [1, 0, 0]] and part.labels.tolist() == [3, 1]
    assert three()[0].masks is None and three()[0].more == {}


def test_scaled_pastes_masks_anew_and_moves_keypoints():
    d = complete()
    twice = d.scaled(2, (24, 32))
    np.testing.assert_array_equal(twice.masks, np.kron(d.masks, np.ones((1, 2, 2), bool)))
    np.testing.assert_array_equal(twice.keypoints, d.keypoints * [2, 2, 1])
    assert d.scaled(1, (12, 16)).masks is d.masks and d.keypoints[0, 1, 0] == 3
    with pytest.raises(ValueError, match="give the size"):
        d.scaled(2)


def test_complains_of_other_rows():
    with pytest.raises(ValueError, match="masks must have one row for each of the 3 detections"):
        three().with_rows(masks=np.zeros((2, 4, 4), bool))
    with pytest.raises(ValueError, match="colours must have"):
        three().with_rows(colours=np.zeros((4, 3)))
