"""AP by hand on cases small enough to do on paper, the two matching rules where they differ, and what the evaluator refuses."""
import numpy as np
import pytest

import numpyvision
from numpyvision.metrics import detection
from numpyvision.metrics.detection import DetectionEvaluator

CLASSES = ("background", "cat", "dog")
UNIT = [0., 0., 10., 10.]                        # area 100


def shifted(share):
    """A box of UNIT's size whose IoU with UNIT is share / (2 - share)."""
    return [10 * (1 - share), 0., 10 * (1 - share) + 10, 10.]


def evaluate(gt, boxes, scores, classes=CLASSES, **flags):
    evaluator = DetectionEvaluator(classes)
    evaluator.add(0, gt, [1] * len(gt), boxes, [1] * len(boxes), scores, **flags)
    return evaluator


# ------------------------------------------------------------------------------------------------ the number
@pytest.mark.parametrize("points, expected", [("all", 0.866667), (11, 0.854545), (101, 0.865347)])
def test_the_lectures_map_slide(points, expected):
    """L16: hits TP TP FP FP TP of 3 objects; precision 1 1 2/3 1/2 3/5 at recall 1/3 2/3 2/3 2/3 1."""
    hits = np.array([True, True, False, False, True])
    precision, recall = detection.precision_recall(hits, ~hits, 3)
    np.testing.assert_allclose(precision, [1, 1, 2 / 3, 1 / 2, 3 / 5])
    np.testing.assert_allclose(recall, [1 / 3, 2 / 3, 2 / 3, 2 / 3, 1])
    assert detection.average_precision(precision, recall, points) == pytest.approx(expected, abs=5e-7)


def test_the_lectures_map_slide_through_the_evaluator():
    gt = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    boxes = [gt[0], gt[1], [60, 60, 70, 70], [80, 60, 90, 70], gt[2]]
    evaluator = evaluate(gt, boxes, [0.99, 0.95, 0.90, 0.5, 0.10])
    assert evaluator.voc()["per_class"]["cat"] == pytest.approx(2 / 3 + 0.6 / 3)
    assert evaluator.voc(points=11)["mAP"] == pytest.approx((7 + 4 * 0.6) / 11)
    assert (evaluator.coco()["AP50"], evaluator.coco()["AP"]) == pytest.approx((67 / 101 + 34 * 0.6 / 101,) * 2)


@pytest.mark.parametrize("points", ["all", 11, 101])
def test_precision_that_rises_later_counts_for_every_recall_before_it(points):
    """A false one first, then two hits of two objects: precision 0 1/2 2/3, and its envelope 2/3 everywhere."""
    precision, recall = detection.precision_recall(np.array([False, True, True]), np.array([True, False, False]), 2)
    assert detection.average_precision(precision, recall, points) == pytest.approx(2 / 3)


def test_eleven_points_count_a_recall_that_is_exactly_three_tenths():
    """np.arange(0, 1.1, 0.1)[3] is 0.30000000000000004: a detector that finds 3 of 10 objects would lose its fourth point."""
    precision, recall = detection.precision_recall(np.ones(3, bool), np.zeros(3, bool), 10)
    assert detection.average_precision(precision, recall, 11) == pytest.approx(4 / 11)


def test_order_of_scores_and_nothing_else_matters():
    rng = np.random.default_rng(0)
    gt, boxes = rng.uniform(0, 50, (6, 4)), rng.uniform(0, 50, (30, 4))
    gt[:, 2:] += gt[:, :2]; boxes[:, 2:] += boxes[:, :2]
    scores, shuffle = rng.permutation(30) / 30., rng.permutation(30)
    first = evaluate(gt, boxes, scores)
    second = evaluate(gt[::-1], boxes[shuffle], scores[shuffle] ** 3 - 7)
    np.testing.assert_equal(first.coco(), second.coco())
    np.testing.assert_equal(first.voc(), second.voc())


# ------------------------------------------------------------------------------------------------ the two rules
def test_a_second_detection_of_one_object_is_false():
    evaluator = evaluate([UNIT], [UNIT, UNIT], [0.9, 0.8])
    precision, recall, scores, positives = evaluator.curve(1)
    np.testing.assert_array_equal(precision, [1, 0.5])
    np.testing.assert_array_equal(recall, [1, 1])
    assert positives == 1 and list(scores) == [0.9, 0.8]


def test_where_the_rules_differ_coco_may_take_the_second_best_voc_may_not():
    """Both detections overlap the first object most. COCO gives the second one the other object, which it overlaps by 0.6; VOC does not."""
    gt, boxes = [UNIT, [2, 0, 12, 10]], [UNIT, [0.5, 0, 10.5, 10]]
    similarity = detection.box_similarity({"boxes": np.array(boxes)}, {"boxes": np.array(gt), "iscrowd": np.zeros(2, bool)})
    assert similarity[1].argmax() == 0 and similarity[1, 1] > 0.7
    evaluator = evaluate(gt, boxes, [0.9, 0.8])
    assert evaluator.voc()["mAP"] == pytest.approx(0.5)
    assert evaluator.coco()["AP50"] == pytest.approx(1)


def test_an_overlap_of_exactly_one_half_is_a_hit():
    half = [0., 0., 10., 5.]
    assert evaluate([UNIT], [half], [1.]).voc()["mAP"] == 1
    assert evaluate([UNIT], [half], [1.]).coco()["AP50"] == pytest.approx(1)
    assert evaluate([UNIT], [half], [1.]).coco()["AP"] == pytest.approx(0.1)       # a hit at the first of ten thresholds only


@pytest.mark.parametrize("flag", ["difficult", "iscrowd"])
def test_ignored_truth_counts_neither_way(flag):
    other = [50., 50., 60., 60.]
    evaluator = evaluate([UNIT, other], [other, UNIT], [0.9, 0.8], **{flag: [False, True]})
    assert evaluator.voc()["mAP"] == 1
    assert evaluator.coco()["AP"] == pytest.approx(1)
    assert evaluator.coco()["AR1"] == 0, "the one detection allowed fell on the ignored object"


def test_a_crowd_swallows_every_detection_inside_it_and_a_difficult_object_one():
    region, inside = [0., 0., 100., 100.], [[5., 5., 15., 15.], [30., 30., 50., 50.], [60., 60., 70., 80.]]
    gt, boxes, scores = [region, [200, 0, 210, 10]], [*inside, [200, 0, 210, 10]], [0.9, 0.8, 0.7, 0.6]
    assert evaluate(gt, boxes, scores, iscrowd=[True, False]).coco()["AP"] == pytest.approx(1)
    assert evaluate(gt, boxes, scores, difficult=[True, False]).coco()["AP"] == pytest.approx(0.25)   # too small a part of it: false
    twice = evaluate([region, [200, 0, 210, 10]], [region, region, [200, 0, 210, 10]], [0.9, 0.8, 0.7], difficult=[True, False])
    assert twice.coco()["AP"] == pytest.approx(0.5) and twice.voc()["mAP"] == 1


def test_a_counted_object_comes_before_an_ignored_one_of_better_overlap():
    crowd, counted = np.array([True, False]), np.array([[True, False]])
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode):
            matched = detection.match_coco(np.array([[0.9, 0.6], [0.9, 0.6]]), counted, crowd, np.array([0.5, 0.7]))
        np.testing.assert_array_equal(matched, [[[1, 0], [0, 0]]])        # at 0.7 only the crowd region is similar enough


def test_area_ranges_see_only_their_objects_and_forgive_misses_elsewhere():
    small, large = [0., 0., 20., 20.], [100., 100., 250., 250.]
    stray = [300., 0., 310., 10.]                                          # small and false, better scored than the rest
    numbers = evaluate([small, large], [stray, small, large], [0.9, 0.8, 0.7]).coco()
    assert numbers["APs"] == pytest.approx(0.5) and numbers["APl"] == pytest.approx(1) and np.isnan(numbers["APm"])
    assert numbers["ARs"] == numbers["ARl"] == 1
    mask_area = evaluate([large], [large], [1.], areas=[50.]).coco()       # COCO's area is the mask's, not the box's
    assert mask_area["APs"] == pytest.approx(1) and np.isnan(mask_area["APl"])


def test_limits_of_1_10_and_100_detections_an_image():
    gt = [[20. * i, 0., 20. * i + 10, 10.] for i in range(20)]
    numbers = evaluate(gt, gt, np.linspace(1, 0.5, 20)).coco()
    assert (numbers["AR1"], numbers["AR10"], numbers["AR100"]) == pytest.approx((1 / 20, 1 / 2, 1))
    stray = [[500., 20. * i, 510., 20. * i + 10] for i in range(100)]
    late = evaluate(gt, stray + gt, np.linspace(1, 0.5, 120))
    assert late.coco()["AR100"] == 0 and late.voc()["mAP"] > 0, "COCO cuts at 100 detections, VOC does not"


# ------------------------------------------------------------------------------------------------ nothing is normal, too
def test_nothing_to_find_is_nan_and_is_left_out_of_means():
    nothing = DetectionEvaluator(CLASSES)
    assert all(np.isnan(v) for v in nothing.coco().values()) and np.isnan(nothing.voc()["mAP"])
    evaluator = evaluate([UNIT], [UNIT], [1.])
    evaluator.add("empty", np.zeros((0, 4)), [], np.zeros((0, 4)), [], [])
    evaluator.add("stray dog", [], [], [UNIT], [2], [0.5])
    assert np.isnan(evaluator.voc()["per_class"]["dog"]) and evaluator.voc()["mAP"] == 1 and evaluator.coco()["AP"] == pytest.approx(1)
    assert np.isnan(evaluator.coco_per_class()["dog"]["AP"])


def test_objects_without_detections_score_zero():
    numbers = evaluate([UNIT], np.zeros((0, 4)), []).coco()
    assert numbers["AP"] == numbers["AR100"] == 0 and np.isnan(numbers["APl"])


def test_a_shift_lowers_ap_threshold_by_threshold():
    numbers = evaluate([UNIT], [shifted(0.85)], [1.]).coco()               # IoU 0.85 / 1.15 = 0.739: over 0.5, 0.55, ... 0.7
    assert numbers["AP"] == pytest.approx(0.5) and numbers["AP50"] == pytest.approx(1) and numbers["AP75"] == 0


def test_the_readable_matching_equals_the_compiled_one():
    rng = np.random.default_rng(5)
    for _ in range(50):
        D, G = rng.integers(0, 9, 2)
        args = (np.round(rng.random((D, G)), 1), rng.random((4, G)) < 0.3, rng.random(G) < 0.3, np.array([0.2, 0.5, 0.8]))
        with numpyvision.use("numpy"):
            readable = detection.match_coco(*args)
        np.testing.assert_array_equal(readable, detection.match_coco(*args))


def test_another_similarity_plugs_in():
    """Centres closer than 5 pixels, say: any function of two dicts of arrays."""
    def near(dt, gt):
        centre = lambda boxes: (boxes[:, :2] + boxes[:, 2:]) / 2
        return (np.linalg.norm(centre(dt["boxes"])[:, None] - centre(gt["boxes"]), axis=-1) < 5).astype(float)
    evaluator = DetectionEvaluator(CLASSES, similarity=near)
    evaluator.add(0, [UNIT], [1], [[4, 4, 6, 6]], [1], [1.])
    assert evaluator.coco()["AP"] == pytest.approx(1) and evaluator.voc()["mAP"] == 1


def test_the_table_names_every_class_and_number():
    text = evaluate([UNIT], [UNIT], [1.]).table()
    for word in (*detection.COCO_NAMES, "cat", "dog", "objects", "VOC AP", "1.000", "nan", "mean"):
        assert word in text


# ------------------------------------------------------------------------------------------------ refusals
def test_refusals_say_what_was_got_and_the_usual_cause():
    evaluator = evaluate([UNIT], [UNIT], [1.])
    with pytest.raises(ValueError, match="0 a second time"):
        evaluator.add(0, [], [], [], [], [])
    with pytest.raises(ValueError, match="1..2 .* got 3 in image 7"):
        evaluator.add(7, [UNIT], [3], [], [], [])
    with pytest.raises(ValueError, match="got lengths"):
        evaluator.add(8, [], [], [UNIT, UNIT], [1, 1], [0.5])
    with pytest.raises(ValueError, match="nan in image 9"):
        evaluator.add(9, [], [], [UNIT], [1], [np.nan])
    with pytest.raises(ValueError, match='"all", 11'):
        evaluator.voc(points=10)
    evaluator.add(9, [], [], [], [], [])                                   # a refused image left no trace


# ------------------------------------------------------------------------------------------------ masks and poses
def bar(width):
    mask = np.zeros((10, 20), bool)
    mask[:, :width] = True
    return mask[None]


def test_masks_are_compared_pixel_by_pixel_whatever_their_boxes_say():
    evaluator = detection.mask_evaluator(CLASSES)
    evaluator.add(0, [UNIT], [1], [[50, 50, 60, 60]], [1], [1.], gt_masks=bar(10), masks=bar(8))       # IoU 0.8: seven thresholds of ten
    assert evaluator.coco()["AP"] == pytest.approx(0.7) and evaluator.coco()["AP75"] == pytest.approx(1)
    rles = detection.mask_evaluator(CLASSES)
    rles.add(0, [UNIT], [1], [UNIT], [1], [1.], gt_masks=[{"size": [10, 20], "counts": [0, 100, 100]}],
             masks=[{"size": [10, 20], "counts": [0, 80, 120]}])
    assert rles.coco() == pytest.approx(evaluator.coco(), nan_ok=True)
    with pytest.raises(ValueError, match="scores masks, and got no masks"):
        evaluator.add(1, [], [], [], [], [], gt_masks=[])


def test_poses_have_ten_numbers_and_forgive_who_has_no_labelled_joint():
    person = np.concatenate([np.random.default_rng(0).uniform(0, 100, (1, 17, 2)), np.full((1, 17, 1), 2)], axis=2)
    evaluator = detection.keypoint_evaluator(("background", "person"))
    evaluator.add(0, [[0, 0, 100, 100]] * 2, [1, 1], [UNIT] * 2, [1, 1], [0.9, 0.8], gt_keypoints=np.concatenate([person, 0 * person]),
                  keypoints=np.concatenate([person, person]))
    assert tuple(evaluator.coco()) == detection.KEYPOINT_NAMES and evaluator.coco()["AP"] == evaluator.coco()["AR"] == pytest.approx(1)
    for name in detection.KEYPOINT_NAMES:
        assert name in evaluator.table()
    with pytest.raises(ValueError, match=r"\(·, 17, 3\) = \(x, y, v\), got \(1, 5, 3\)"):
        evaluator.add(1, [], [], [UNIT], [1], [1.], gt_keypoints=[], keypoints=np.zeros((1, 5, 3)))
