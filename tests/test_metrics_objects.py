"""Boxes, masks and poses scored side by side, each only where truth and detections both have it."""
import numpy as np
import pytest

from numpyvision.boxes.detections import Detections
from numpyvision.data.scenes import Scenes
from numpyvision.metrics.detection import COCO_NAMES, KEYPOINT_NAMES
from numpyvision.metrics.objects import score_objects

SCENES = Scenes(6, seed=0)             # scene 2 has two persons


def perfect(sample, masks=True, keypoints=True):
    return Detections(sample.boxes, sample.labels, np.linspace(1, 0.5, len(sample.labels)), masks=sample.masks if masks else None,
                      keypoints=sample.keypoints if keypoints else None)


def test_the_truth_itself_scores_one_in_everything():
    numbers, table = score_objects([(s, perfect(s)) for s in SCENES], SCENES.classes)
    assert numbers["AP"] == numbers["masks"]["AP"] == numbers["keypoints"]["AP"] == numbers["VOC_mAP"] == pytest.approx(1)
    assert tuple(numbers["keypoints"]) == KEYPOINT_NAMES and set(COCO_NAMES) < set(numbers["masks"])
    assert [line for line in table.splitlines() if line in ("boxes", "masks", "keypoints")] == ["boxes", "masks", "keypoints"]


def test_wrong_masks_and_poses_cost_only_their_own_number():
    spoilt = []
    for s in SCENES:
        d = perfect(s)
        d.masks, d.keypoints = np.roll(s.masks, 60, axis=2), s.keypoints + [40, 40, 0]
        spoilt.append((s, d))
    numbers, _ = score_objects(spoilt, SCENES.classes)
    assert numbers["AP"] == pytest.approx(1) and numbers["masks"]["AP"] < 0.2 and numbers["keypoints"]["AP"] < 0.2


def test_a_detector_of_boxes_has_numbers_of_boxes_alone():
    numbers, table = score_objects([(s, perfect(s, masks=False, keypoints=False)) for s in SCENES], SCENES.classes)
    assert "masks" not in numbers and "keypoints" not in numbers and table.startswith("AP 1.000")
    only_masks, _ = score_objects([(s, perfect(s, keypoints=False)) for s in SCENES], SCENES.classes)
    assert "masks" in only_masks and "keypoints" not in only_masks
