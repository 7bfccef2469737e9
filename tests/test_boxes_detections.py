import numpy as np
import pytest

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
