"""Masks through boxes: the lecture's four training targets, exact coverage against a finer grid, and pasting back."""
import numpy as np
import pytest

from numpyvision import backend
from numpyvision.boxes import mask_crops
from numpyvision.ops import roi

H, W = 60, 80


def rectangle(x1, y1, x2, y2):
    mask = np.zeros((H, W), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def target(mask, box, size=28):
    return mask_crops.crop_masks(mask[None], np.array([box], np.float64), size)[0] >= 0.5


# ------------------------------------------------------------------------------------------------ L16-M04: the slide's four cases
CHAIR, CHILD = rectangle(10, 20, 24, 48), rectangle(48, 10, 62, 38)
BED = rectangle(40, 16, 76, 44) & ~CHILD                                # the child sits on it and hides a part


def test_m04_a_tight_box_of_a_chair_is_all_chair():
    assert target(CHAIR, (10, 20, 24, 48)).all()


def test_m04_b_the_bed_leaves_out_the_child_in_front_of_it():
    bed = target(BED, (40, 16, 76, 44))
    left, right, bottom = (48 - 40) / 36 * 28, (62 - 40) / 36 * 28, (38 - 16) / 28 * 28
    row, column = np.mgrid[:28, :28] + 0.5
    hole = (column > left) & (column < right) & (row < bottom)
    np.testing.assert_array_equal(bed, ~hole)
    assert hole.any() and bed.mean() == pytest.approx(1 - hole.mean())


def test_m04_c_a_box_that_reaches_too_low_has_its_chair_in_the_top_60_percent():
    loose = target(CHAIR, (10, 20, 24, 20 + 28 / 0.6))
    row = (np.arange(28) + 0.5) / 28
    np.testing.assert_array_equal(loose, np.repeat((row < 0.6)[:, None], 28, axis=1))


def test_m04_d_the_child_in_the_box_of_the_child():
    assert target(CHILD, (48, 10, 62, 38)).all() and not target(BED, (49, 17, 61, 37)).any()


# ------------------------------------------------------------------------------------------------ coverage
def test_coverage_by_hand():
    mask = np.zeros((1, 4, 4), bool); mask[0, 1, 1] = True              # pixel [1, 2) x [1, 2)
    whole = mask_crops.crop_masks(mask, np.array([[0., 0., 4., 4.]]), 2)
    np.testing.assert_allclose(whole, [[[0.25, 0], [0, 0]]])
    half = mask_crops.crop_masks(mask, np.array([[0.5, 0.5, 2.5, 2.5]]), 2)                  # cells of one pixel, half a pixel off
    np.testing.assert_allclose(half, [[[0.25, 0.25], [0.25, 0.25]]])
    outside = mask_crops.crop_masks(mask, np.array([[-4., -4., 2., 2.]]), 3)
    np.testing.assert_allclose(outside, [[[0, 0, 0], [0, 0, 0], [0, 0, 0.25]]])


def test_coverage_equals_counting_on_a_grid_so_fine_that_it_is_exact():
    """Boxes on eighths of a pixel and cells of whole eighths: count the eighths."""
    rng, size, fine = np.random.default_rng(0), 7, 8
    masks = rng.random((40, 12, 15)) < 0.5
    near = rng.integers(-16, 60, (40, 2)) / fine
    boxes = np.concatenate([near, near + size * rng.integers(1, 12, (40, 2)) / fine], axis=1)
    got = mask_crops.crop_masks(masks, boxes, size)
    for mask, box, cells in zip(masks, boxes, got, strict=True):
        big = np.pad(np.kron(mask, np.ones((fine, fine), int)), 150)
        x1, y1, x2, y2 = (box * fine).astype(int) + 150
        ch, cw = (y2 - y1) // size, (x2 - x1) // size
        counted = big[y1:y2, x1:x2].reshape(size, ch, size, cw).mean(axis=(1, 3))
        np.testing.assert_allclose(cells, counted, atol=1e-12)


def test_coverage_is_what_roi_align_of_the_mask_tends_to():
    """The library's other crop: with 16 samples a pixel its mean of the pixels (nearest cell: repeated 16 times) is the area, nearly."""
    rng = np.random.default_rng(1)
    mask, box = rng.random((1, 10, 12)) < 0.5, np.array([[1.3, 2.1, 10.7, 8.9]])
    fine = np.kron(mask[0], np.ones((16, 16)))[None, None]
    crop, _ = roi.roi_align_forward(fine, np.concatenate([[[0.]], box], axis=1), 5, 16.0, sampling_ratio=0)
    np.testing.assert_allclose(mask_crops.crop_masks(mask, box, 5), crop[:, 0], atol=0.02)


def test_the_loops_are_the_products():
    """Boxes inside, across the border, beyond it, reversed: what the compiled loops cut out and paste, the readable bodies do too."""
    rng = np.random.default_rng(2)
    near = rng.uniform(-20, 70, (60, 2))
    boxes = np.concatenate([near, near + rng.uniform(-3, 50, (60, 2))], axis=1)
    masks, probs = rng.random((60, H, W)) < 0.5, rng.random((60, 9, 14))
    cropped, pasted = mask_crops.crop_masks(masks, boxes, 7), mask_crops.paste_masks(probs, boxes, (H, W), 0.6)
    with backend.use("numpy"):
        np.testing.assert_allclose(cropped, mask_crops.crop_masks(masks, boxes, 7), rtol=0, atol=1e-13)
        np.testing.assert_array_equal(pasted, mask_crops.paste_masks(probs, boxes, (H, W), 0.6))
    assert 0.1 < cropped.mean() < 0.9 and 0 < pasted.mean() < 0.9


def test_nothing_and_no_area_and_wrong_shapes():
    assert mask_crops.crop_masks(np.zeros((0, 4, 5), bool), np.zeros((0, 4)), 3).shape == (0, 3, 3)
    assert (mask_crops.crop_masks(np.ones((2, 4, 5), bool), np.array([[1., 1, 1, 3], [7, 7, 9, 9]]), 3) == 0).all()
    assert mask_crops.paste_masks(np.zeros((0, 3, 3)), np.zeros((0, 4)), (4, 5)).shape == (0, 4, 5)
    with pytest.raises(ValueError, match=r"one for each of the 1 boxes, got \(4, 5\)"):
        mask_crops.crop_masks(np.zeros((4, 5), bool), np.zeros((1, 4)), 3)
    with pytest.raises(ValueError, match="one mask for each of the 2 boxes"):
        mask_crops.paste_masks(np.zeros((1, 3, 3)), np.zeros((2, 4)), (4, 5))


# ------------------------------------------------------------------------------------------------ pasting
def test_a_full_mask_fills_exactly_the_pixels_whose_centres_are_in_the_box():
    boxes = np.array([[2., 3., 6., 5.], [1.4, 0.6, 3.5, 2.5], [-5., -5., 3., 2.], [7., 5., 20., 20.]])
    got = mask_crops.paste_masks(np.ones((4, 5, 5)), boxes, (8, 10))
    y, x = np.mgrid[:8, :10] + 0.5
    for mask, (x1, y1, x2, y2) in zip(got, boxes, strict=True):
        np.testing.assert_array_equal(mask, (x >= x1) & (x < x2) & (y >= y1) & (y < y2))


def test_pasting_interpolates_between_the_centres_of_cells():
    probs = np.array([[[0., 1.], [0., 1.]]])
    row = mask_crops.paste_masks(probs, np.array([[0., 0., 8., 2.]]), (2, 8))[0, 0]
    assert row.tolist() == [False] * 4 + [True] * 4                     # 0.5 is reached half way, at x = 4
    strict = mask_crops.paste_masks(probs, np.array([[0., 0., 8., 2.]]), (2, 8), threshold=0.8)[0, 0]
    assert strict.tolist() == [False] * 5 + [True] * 3                  # 0.625 at 4.5, 0.875 at 5.5


def test_what_was_cropped_comes_back():
    """A disc cropped by a box around it and pasted again: the exact shares bring back all but a few pixels of its rim, 0 or 1 fewer."""
    y, x = np.mgrid[:H, :W] + 0.5
    disc, box = (x - 40) ** 2 + (y - 30) ** 2 < 20 ** 2, np.array([[17.3, 8.2, 63.1, 53.4]])

    def iou(size, kind):
        again = mask_crops.paste_masks(kind(mask_crops.crop_masks(disc[None], box, size)), box, (H, W))[0]
        return (again & disc).sum() / (again | disc).sum()
    assert iou(14, lambda share: share) > 0.98 and iou(28, lambda share: share) == 1
    assert iou(14, lambda share: share >= 0.5) > 0.94 and iou(28, lambda share: share >= 0.5) > 0.96
