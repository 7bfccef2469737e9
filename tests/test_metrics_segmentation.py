"""The confusion matrix against counting by hand and by brute force; what classes that never occur do to the means; thin parts."""
import numpy as np
import pytest

from numpyvision.metrics import segmentation
from numpyvision.metrics.segmentation import ConfusionMatrix, keep_only, thin_zone

TRUTH = np.array([[0, 0, 1, 1], [0, 2, 1, 255]])
PREDICTION = np.array([[0, 1, 1, 1], [0, 2, 2, 0]])


def brute_force(truth, prediction, classes, ignore):
    """The four numbers straight from their definitions with sets of pixels; no table."""
    pixels = [i for i in np.ndindex(truth.shape) if truth[i] != ignore]
    true = [{i for i in pixels if truth[i] == k} for k in range(classes)]
    found = [{i for i in pixels if prediction[i] == k} for k in range(classes)]
    iou = [len(t & f) / len(t | f) if t | f else None for t, f in zip(true, found, strict=True)]
    accuracy = [len(t & f) / len(t) for t, f in zip(true, found, strict=True) if t]
    return {"pixel_accuracy": sum(len(t & f) for t, f in zip(true, found, strict=True)) / len(pixels),
            "mean_accuracy": np.mean(accuracy), "mean_iou": np.mean([v for v in iou if v is not None]),
            "frequency_weighted_iou": sum(len(t) * v for t, v in zip(true, iou, strict=True) if t) / len(pixels)}, iou


def test_a_picture_counted_by_hand():
    cm = ConfusionMatrix(3).add(TRUTH, PREDICTION)
    assert cm.matrix.tolist() == [[2, 1, 0], [0, 2, 1], [0, 0, 1]]
    np.testing.assert_allclose(cm.iou, [2 / 3, 2 / 4, 1 / 2])
    assert cm.pixel_accuracy == 5 / 7 and cm.mean_accuracy == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert cm.mean_iou == pytest.approx(5 / 9) and cm.frequency_weighted_iou == pytest.approx((3 * 2 / 3 + 3 / 2 + 1 / 2) / 7)


@pytest.mark.parametrize("seed", range(5))
def test_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = (rng.integers(0, 7, (3, 9, 8)).astype(np.uint8) for _ in range(2))
    truth[truth == 5], prediction[prediction == 6] = 255, 2              # 5 is only predicted, 6 only true; 255 is ignored
    truth[truth == 4], prediction[prediction == 4] = 3, 3                # 4 does not occur at all
    cm = ConfusionMatrix(7).add(truth, prediction)
    numbers, iou = brute_force(truth, prediction, 7, 255)
    assert cm.summary() == pytest.approx(numbers, abs=1e-15)
    assert np.isnan(cm.iou[4]) and iou[4] is None and cm.iou[5] == 0 and np.isnan(cm.accuracy[5])
    np.testing.assert_allclose(np.delete(cm.iou, 4), [v for v in iou if v is not None])


def test_it_streams():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (2, 10, 6, 5))
    whole, parts = ConfusionMatrix(4).add(truth, prediction), ConfusionMatrix(4)
    for t, p in zip(truth, prediction, strict=True):
        parts.add(t, p)
    np.testing.assert_array_equal(parts.matrix, whole.matrix)


def test_many_classes_in_small_integers_do_not_wrap():
    labels = np.array([200, 254], np.uint8)
    cm = ConfusionMatrix(255).add(labels, labels[::-1])
    assert cm.matrix[200, 254] == cm.matrix[254, 200] == 1 and cm.matrix.sum() == 2


def test_nothing_at_all():
    for cm in (ConfusionMatrix(3), ConfusionMatrix(3).add(np.full((2, 2), 255), np.zeros((2, 2), int))):
        assert all(np.isnan(v) for v in cm.summary().values()) and np.isnan(cm.iou).all() and "mean" in cm.table()


def test_every_label_counts_where_none_is_ignored():
    assert ConfusionMatrix(3, ignore_index=None).add([0, 2], [0, 2]).pixel_accuracy == 1
    with pytest.raises(ValueError, match="truth must be 0..2"):
        ConfusionMatrix(3, ignore_index=None).add([255], [0])


@pytest.mark.parametrize("truth, prediction, message", [
    ([[0, 1]], [0, 1], "one shape"), ([3], [0], "truth must be 0..2 or 255, got 3"), ([0], [3], "prediction must be 0..2, got 3"),
    ([0], [-1], "got -1"), ([0], [0.5], "integers")])
def test_mistakes_are_named(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(3).add(truth, prediction)


def test_an_ignored_class_cannot_be_one_of_the_classes():
    with pytest.raises(ValueError, match="ignore_index 255"):
        ConfusionMatrix(256)


def test_table_names_the_confusion():
    lines = ConfusionMatrix(4).add(TRUTH, PREDICTION).table(["sky", "grass", "dog", "never"]).splitlines()
    assert lines[1].split() == ["sky", "0.667", "0.667", "42.86%", "grass", "33.3%"] and lines[2].split()[-2:] == ["dog", "33.3%"]
    assert not any("never" in line for line in lines) and lines[-2].split() == ["mean", "0.556", "0.778"]
    with pytest.raises(ValueError, match="names"):
        ConfusionMatrix(4).table(["a"])


def test_thin_zone_finds_a_leg_and_its_surroundings_but_no_wide_region():
    truth = np.zeros((24, 30), np.uint8)
    truth[:, 15:] = 1                                                    # two halves: no thin part, though there is a border
    assert not thin_zone(truth).any()
    truth[4:20, 6:8] = 2                                                 # a leg, two pixels wide
    expected = np.zeros(truth.shape, bool)
    expected[2:22, 4:10] = True
    np.testing.assert_array_equal(thin_zone(truth), expected)
    assert keep_only(truth, expected)[0, 0] == 255 and keep_only(truth, expected)[10, 6] == 2
    truth[:, 27:] = 3                                                    # three pixels wide, but the image ends there: not known to be thin
    np.testing.assert_array_equal(thin_zone(truth)[:, 12:], np.zeros((24, 18), bool))


def test_a_part_five_wide_is_not_thin_four_is():
    for width, thin in ((5, False), (4, True)):
        truth = np.zeros((20, 21), np.uint8)
        truth[:, 8:8 + width] = 1
        assert thin_zone(truth).any() == thin


def test_counts_and_mean_iou_by_hand():
    truth, prediction = np.array([[0, 0, 1], [1, 255, 2]], np.uint8), np.array([[0, 1, 1], [1, 2, 1]])
    matrix = segmentation.confusion_counts(truth, prediction, 4)
    np.testing.assert_array_equal(matrix, [[1, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(segmentation.class_iou(matrix), [1 / 2, 2 / 4, 0, np.nan])
    assert segmentation.mean_iou(matrix) == 1 / 3                       # class 3 occurs nowhere and is left out
    assert segmentation.mean_iou(np.array([[3, 1], [0, 0]])) == (3 / 4 + 0) / 2          # class 1 is only predicted: mistakes, so it counts
    assert np.isnan(segmentation.mean_iou(np.zeros((2, 2), np.int64)))
    many = np.full(300, 20, np.uint8)                                   # 20 * 21 + 20 does not fit uint8
    assert segmentation.confusion_counts(many, many, 21)[20, 20] == 300
