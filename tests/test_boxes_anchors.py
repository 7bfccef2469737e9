import numpy as np
import pytest

from numpyvision.boxes import anchors, convert


def test_cell_anchors_have_the_area_and_the_ratio():
    cell = anchors.cell_anchors([16, 32], [0.5, 1, 2], dtype=np.float64)
    w, h = cell[:, 2] - cell[:, 0], cell[:, 3] - cell[:, 1]
    np.testing.assert_allclose(w * h, [256] * 3 + [1024] * 3, rtol=1e-14)         # sizes in the outer loop
    np.testing.assert_allclose(h / w, [0.5, 1, 2] * 2, rtol=1e-14)
    np.testing.assert_array_equal(cell[:, :2], -cell[:, 2:])                      # centred at 0
    assert anchors.cell_anchors(8, 1).tolist() == [[-4, -4, 4, 4]] and anchors.cell_anchors(8, 1).dtype == np.float32


def test_lecture_R03_grid_of_30_centres():
    cell = anchors.cell_anchors([64, 128], [0.5, 1, 2])
    boxes = anchors.grid_anchors((5, 6), 32, cell=cell)
    assert boxes.shape == (30 * 6, 4) and boxes.dtype == np.float32
    centres = convert.box_convert(boxes, "xyxy", "cxcywh")[:, :2].reshape(5, 6, 6, 2)
    for i in range(5):
        for j in range(6):
            np.testing.assert_allclose(centres[i, j], [[(j + 0.5) * 32, (i + 0.5) * 32]] * 6, rtol=1e-5)


def test_order_is_y_x_a():
    cell = anchors.cell_anchors([4], [1, 4], dtype=np.float64)
    boxes = anchors.grid_anchors((2, 3), 8, offset=0, cell=cell).reshape(2, 3, 2, 4)
    assert boxes[1, 2, 0].tolist() == [14, 6, 18, 10]                             # centre (16, 8), side 4
    assert boxes[1, 2, 1].tolist() == [15, 4, 17, 12]                             # ratio 4: 2 wide, 8 high


def test_stride_may_differ_by_axis():
    centers = anchors.grid_centers((2, 2), (10, 4), dtype=np.float64)
    assert centers.tolist() == [[2, 5], [6, 5], [2, 15], [6, 15]]


def test_empty_map_and_complaints():
    cell = anchors.cell_anchors([4], [1])
    assert anchors.grid_anchors((0, 3), 8, cell=cell).shape == (0, 4)
    with pytest.raises(ValueError, match="cell"):
        anchors.grid_anchors((2, 2), 8, cell=np.zeros(4))
    with pytest.raises(ValueError, match="positive"):
        anchors.cell_anchors([0], [1])
