"""Recall of proposals, counted by hand."""
import numpy as np
import pytest

from numpyvision.boxes import iou
from numpyvision.metrics import proposals


def test_recall_by_hand():
    truth = [np.array([[0., 0, 10, 10], [20, 20, 30, 30]]), np.zeros((0, 4)), np.array([[0., 0, 4, 4]])]
    boxes = [np.array([[0., 0, 3, 3], [0, 0, 10, 9], [0, 0, 10, 10]]), np.array([[0., 0, 1, 1]]), np.zeros((0, 4))]
    assert proposals.first_hits(boxes, truth).tolist() == [1, -1, -1]
    np.testing.assert_allclose(proposals.recall_at(boxes, truth, [1, 2, 3]), [0, 1 / 3, 1 / 3])
    assert iou.box_iou(truth[0][:1], boxes[0][1:2]) == 0.9 and proposals.first_hits(boxes, truth, 0.95).tolist() == [2, -1, -1]
    assert np.isnan(proposals.recall_at([], [], [5])).all()
    with pytest.raises(ValueError, match="one array of boxes an image"):
        proposals.recall_at(boxes, truth[:1], [5])
