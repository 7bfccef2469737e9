"""All that can be scored about found objects, at once: boxes always, masks and poses where both truth and detections have them."""
import numpy as np

from numpyvision.metrics import detection


def score_objects(pairs, classes):
    """pairs of (sample, detections), as `Sample` and `Detections` are, one an image -> numbers (nested dict), a table in text.

    Numbers: COCO's twelve of boxes, VOC_mAP, per_class; the same of masks under "masks"; COCO's ten of persons' poses under "keypoints".
    """
    evaluators, person = {"boxes": detection.DetectionEvaluator(classes)}, list(classes).index("person") if "person" in classes else 0
    for i, (truth, found) in enumerate(pairs):
        mine = dict(iscrowd=truth.iscrowd, areas=truth.areas, difficult=truth.difficult)
        both = truth.boxes, truth.labels, found.boxes, found.labels, found.scores
        evaluators["boxes"].add(i, *both, **mine)
        if truth.masks is not None and found.masks is not None:
            evaluators.setdefault("masks", detection.mask_evaluator(classes)).add(i, *both, **mine, gt_masks=truth.masks, masks=found.masks)
        if person and truth.keypoints is not None and found.keypoints is not None:
            evaluator = evaluators.setdefault("keypoints", detection.keypoint_evaluator(("background", "person")))
            _add_poses(evaluator, i, truth, found, person)
    numbers = _numbers(evaluators["boxes"])
    numbers |= {name: _numbers(evaluator) for name, evaluator in evaluators.items() if name != "boxes"}
    tables = [evaluator.table() for evaluator in evaluators.values()]
    if len(tables) == 1:
        return numbers, tables[0]
    return numbers, "\n\n".join(f"{name}\n{table}" for name, table in zip(evaluators, tables, strict=True))


def _add_poses(evaluator, i, truth, found, person):
    """The persons of one image only: a dog has no joints to find."""
    gt, dt = truth.labels == person, found.labels == person
    some = lambda rows: None if rows is None else rows[gt]
    evaluator.add(i, truth.boxes[gt], np.ones(gt.sum(), np.int64), found.boxes[dt], np.ones(dt.sum(), np.int64), found.scores[dt],
                  some(truth.iscrowd), some(truth.areas), some(truth.difficult), gt_keypoints=truth.keypoints[gt],
                  keypoints=found.keypoints[dt])


def _numbers(evaluator):
    if evaluator.reads == "keypoints":                                     # one class, and VOC has no rule for poses
        return evaluator.coco()
    voc, per_class = evaluator.voc(), evaluator.coco_per_class()
    return {**evaluator.coco(), "VOC_mAP": voc["mAP"],
            "per_class": {name: {**row, "VOC_AP": voc["per_class"][name]} for name, row in per_class.items()}}
