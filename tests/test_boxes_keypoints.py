"""Keypoints: L16-K01's seventeen, L16-K02's one cell, the mirror, and OKS by hand."""
import numpy as np
import pytest

from numpyvision.boxes import keypoints


def test_k01_seventeen_joints_in_pairs_that_a_mirror_swaps():
    assert len(keypoints.NAMES) == 17 == 1 + 8 * 2 == len(keypoints.SIGMAS)
    assert keypoints.FLIP == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    assert [keypoints.FLIP[j] for j in keypoints.FLIP] == list(range(17))


def test_mirror_moves_labelled_joints_only_and_is_its_own_inverse():
    rng = np.random.default_rng(0)
    pose = np.concatenate([rng.uniform(0, 80, (3, 17, 2)), rng.integers(0, 3, (3, 17, 1))], axis=2)
    pose[pose[..., 2] == 0] = 0
    flipped = keypoints.flip_keypoints(pose, 80)
    np.testing.assert_allclose(keypoints.flip_keypoints(flipped, 80), pose)
    assert (flipped[flipped[..., 2] == 0] == 0).all()
    eyes = np.array([[[0, 0, 0], [30, 9, 2], [10, 8, 1], *[[0, 0, 0]] * 14]], np.float32)        # left eye at 30, right eye at 10
    assert keypoints.flip_keypoints(eyes, 80)[0, 1:3].tolist() == [[70, 8, 1], [50, 9, 2]]
    assert eyes[0, 1, 0] == 30 and keypoints.flip_keypoints(eyes, 80).dtype == np.float32


def cell_of(x, y, v=2, box=(10, 20, 66, 132), size=56):
    return keypoints.keypoint_cells(np.array([[[x, y, v]]]), np.array([box]), size)[0, 0]


def test_k02_the_lectures_cell():
    assert cell_of(38.5, 76) == 28 * 56 + 28


@pytest.mark.parametrize("x, y, v, expected", [
    (10, 20, 2, 0), (10.99, 21.99, 1, 0), (11, 22, 2, 57), (66, 132, 2, 56 * 56 - 1), (66, 20, 2, 55), (65.99, 20, 2, 55),
    (66.01, 50, 2, -1), (9.99, 50, 2, -1), (30, 19.9, 2, -1), (30, 132.1, 2, -1), (38.5, 76, 0, -1), (38.5, 76, 1, 28 * 56 + 28)])
def test_k02_edges_visibility_and_outside(x, y, v, expected):
    assert cell_of(x, y, v) == expected


def test_cells_of_many_boxes_of_none_and_of_an_empty_box():
    pose = np.tile([[5., 5., 2.]], (2, 3, 1))
    cells = keypoints.keypoint_cells(pose, np.array([[0, 0, 10, 10], [4, 4, 8, 8]]), 4)
    assert cells.tolist() == [[10] * 3, [5] * 3] and cells.dtype == np.int64
    assert keypoints.keypoint_cells(np.zeros((0, 17, 3)), np.zeros((0, 4)), 4).shape == (0, 17)
    assert cell_of(5, 9, box=(5, 5, 5, 10)) >= -1                                            # no width: no warning, no cell of another box
    with pytest.raises(ValueError, match=r"one person for each of the 1 boxes, got \(2, 3, 3\)"):
        keypoints.keypoint_cells(pose, np.zeros((1, 4)), 4)


def test_oks_of_a_nose_five_pixels_off():
    """exp(-25 / (2 * 1e4 * 0.052^2)) = 0.62985."""
    truth = np.zeros((1, 17, 3)); truth[0, 0] = 50, 50, 2
    found = truth.copy(); found[0, 0, :2] = 53, 54
    np.testing.assert_allclose(keypoints.oks(found, truth, [1e4], [[0, 0, 100, 100]]), 0.62985, atol=5e-6)
    assert keypoints.oks(truth, truth, [1e4], [[0, 0, 100, 100]]) == 1


def test_oks_is_the_mean_over_labelled_joints_only():
    truth = np.zeros((1, 17, 3)); truth[0, :2, 2] = 1, 2
    found = np.full((1, 17, 3), 1e3); found[0, 0] = 0                                        # one of two exact, the others never asked for
    np.testing.assert_allclose(keypoints.oks(found, truth, [100.], [[0, 0, 10, 10]]), 0.5)


def test_oks_without_a_labelled_joint_asks_for_the_threefold_box():
    truth, boxes = np.zeros((1, 17, 3)), np.array([[10., 10., 20., 30.]])
    inside, outside = np.zeros((1, 17, 3)), np.zeros((1, 17, 3))
    inside[..., :2], outside[..., :2] = (29.9, 49.9), (31, 49.9)
    assert keypoints.oks(inside, truth, [100.], boxes) == 1
    assert 0 < keypoints.oks(outside, truth, [100.], boxes)[0, 0] < 1
    assert keypoints.oks(np.zeros((0, 17, 3)), truth, [1.], boxes).shape == (0, 1)
    assert keypoints.oks(inside, truth[:0], [], boxes[:0]).shape == (1, 0)
