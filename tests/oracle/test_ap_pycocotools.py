"""COCO's twelve numbers against pycocotools itself, on random worlds: crowd, ties, empty images, classes without truth, mask areas."""
import contextlib
import io

import numpy as np
import pytest

import numpyvision
from numpyvision.boxes import convert
from numpyvision.metrics import detection

pycocotools = pytest.importorskip("pycocotools")
pytestmark = pytest.mark.oracle
WORLDS = 240


def random_boxes(n, size, rng):
    """Boxes of every area range whose coordinates are multiples of 1/4, so that xywh and xyxy are the same numbers to the last bit."""
    wh = np.exp(rng.uniform(np.log(4), np.log(size / 2), (n, 2)))
    xy = rng.uniform(0, size - wh)
    return np.round(np.concatenate([xy, xy + wh], 1) * 4) / 4


def random_world(seed):
    """[(gt_boxes, gt_labels, boxes, labels, scores, iscrowd, areas)] by image; detections are jittered truths, repeats and noise."""
    rng = np.random.default_rng(seed)
    classes, images = rng.integers(1, 5), rng.integers(1, 9)
    world = []
    for _ in range(images):
        G = 0 if rng.random() < 0.2 else rng.integers(0, 9)
        gt, labels = random_boxes(G, 256, rng), rng.integers(1, classes + 1, G)
        labels[labels == 2] = 1 if seed % 3 == 0 else 2                                  # in a third of the worlds nothing is of class 2
        crowd = rng.random(G) < (0.25 if seed % 2 else 0)
        areas = convert.box_area(gt) * (rng.uniform(0.3, 1, G) if seed % 4 else 1)
        pick = rng.integers(0, G, rng.integers(0, 4 * G)) if G else np.zeros(0, int)
        near = gt[pick] + np.round(rng.normal(0, 4, (len(pick), 4)))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        noise = random_boxes(rng.integers(0, 130 if seed % 10 == 0 else 8), 256, rng)    # now and then more than 100 detections
        boxes = np.concatenate([near, gt[:1], noise])
        dt_labels = np.concatenate([labels[pick], labels[:1], rng.integers(1, classes + 1, len(noise))])
        scores = rng.random(len(boxes))
        if seed % 5 < 3:
            scores = np.round(scores, 1)                                                 # many ties
        world.append((gt, labels, boxes, dt_labels, scores, crowd, areas))
    return int(classes), world


def xywh(box):
    return [*map(float, box[:2]), float(box[2] - box[0]), float(box[3] - box[1])]


def pycocotools_numbers(classes, world):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    truth = COCO()
    annotations = [dict(image_id=i, category_id=int(k), bbox=xywh(b), area=float(a), iscrowd=int(c))
                   for i, (gt, labels, _, _, _, crowd, areas) in enumerate(world)
                   for b, k, c, a in zip(gt, labels, crowd, areas, strict=True)]
    truth.dataset = {"images": [{"id": i} for i in range(len(world))], "categories": [{"id": k} for k in range(1, classes + 1)],
                     "annotations": [{"id": n, **a} for n, a in enumerate(annotations, 1)]}
    results = [dict(image_id=i, category_id=int(k), bbox=xywh(b), score=float(s))
               for i, (_, _, boxes, labels, scores, _, _) in enumerate(world) for b, k, s in zip(boxes, labels, scores, strict=True)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        if not results:
            return None                                                                  # loadRes cannot take an empty list
        theirs = COCOeval(truth, truth.loadRes(results), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    return np.where(theirs.stats == -1, np.nan, theirs.stats)


def our_numbers(classes, world):
    evaluator = detection.DetectionEvaluator(["background", *(f"class {k}" for k in range(1, classes + 1))])
    for i, (gt, labels, boxes, dt_labels, scores, crowd, areas) in enumerate(world):
        evaluator.add(i, gt, labels, boxes, dt_labels, scores, iscrowd=crowd, areas=areas)
    return np.array(list(evaluator.coco().values()))


def test_240_random_worlds_equal_pycocotools():
    compared = 0
    for seed in range(WORLDS):
        world = random_world(seed)
        theirs = pycocotools_numbers(*world)
        if theirs is not None:
            np.testing.assert_allclose(our_numbers(*world), theirs, rtol=0, atol=1e-9, err_msg=f"world {seed}")
            compared += 1
    assert compared >= 200


def test_the_readable_matching_equals_pycocotools_too():
    with numpyvision.use("numpy"):
        for seed in range(40):
            world = random_world(seed)
            theirs = pycocotools_numbers(*world)
            if theirs is not None:
                np.testing.assert_allclose(our_numbers(*world), theirs, rtol=0, atol=1e-9, err_msg=f"world {seed}")


def test_the_worlds_hold_the_hard_cases():
    worlds = [random_world(seed)[1] for seed in range(WORLDS)]
    images = [image for world in worlds for image in world]
    assert sum(image[5].sum() for image in images) > 200, "crowd regions"
    assert sum(len(image[0]) == 0 for image in images) > 100, "images without truth"
    assert sum(len(np.unique(image[4])) < len(image[4]) for image in images) > 300, "equal scores"
    assert any((np.bincount(image[3]) > 100).any() for image in images), "more than 100 detections of a class in an image"
