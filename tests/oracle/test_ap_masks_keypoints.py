"""AP of masks and of poses against pycocotools itself: random worlds with crowd, ties, hidden joints and empty images; real COCO truth."""
import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from numpyvision.boxes import masks as rle
from numpyvision.metrics import detection

coco_masks = pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.oracle
DATA = Path(os.environ.get("NUMPYVISION_DATA", "../shared/data"))
WORLDS = 120
H, W = 150, 170


def pycocotools_numbers(kind, images, classes, annotations, results):
    """COCOeval.stats of annotations (dicts) and results (dicts), -1 as nan."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    truth = COCO()
    truth.dataset = {"images": [{"id": i, "height": h, "width": w} for i, (h, w) in images.items()],
                     "categories": [{"id": k} for k in classes], "annotations": [{"id": n, **a} for n, a in enumerate(annotations, 1)]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        theirs = COCOeval(truth, truth.loadRes(results), kind)
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    return np.where(theirs.stats == -1, np.nan, theirs.stats)


def rounded(scores, seed):
    return np.round(scores, 1) if seed % 5 < 3 else scores               # many ties


# ------------------------------------------------------------------------------------------------ masks
def blobs(n, rng):
    """Ellipses of every area range, some with a hole, a few empty."""
    y, x = np.mgrid[:H, :W]
    out = np.zeros((n, H, W), bool)
    for mask in out:
        a, b = np.exp(rng.uniform(np.log(3), np.log(75), 2))
        r = ((y - rng.uniform(0, H)) / a) ** 2 + ((x - rng.uniform(0, W)) / b) ** 2
        mask[:] = (r < 1) & ((r > 0.2) | (rng.random() < 0.7)) & (rng.random() > 0.03)
    return out


def mask_world(seed):
    """[(gt_masks, gt_labels, masks, labels, scores, iscrowd, areas)] by image."""
    rng, world = np.random.default_rng(seed), []
    for _ in range(rng.integers(1, 6)):
        G = 0 if rng.random() < 0.2 else rng.integers(0, 6)
        gt, labels = blobs(G, rng), rng.integers(1, 4, G)
        pick = rng.integers(0, G, rng.integers(0, 3 * G)) if G else np.zeros(0, int)
        near = [np.roll(gt[p], rng.integers(-6, 7, 2), (0, 1)) ^ (rng.random((H, W)) < 0.02 * rng.random()) for p in pick]
        noise = blobs(rng.integers(0, 4), rng)
        found = np.concatenate([np.reshape(near, (-1, H, W)).astype(bool), gt[:1], noise])
        dt_labels = np.concatenate([labels[pick], labels[:1], rng.integers(1, 4, len(noise))])
        crowd = rng.random(G) < (0.3 if seed % 2 else 0)
        areas = gt.sum(axis=(1, 2)) * (rng.uniform(0.5, 1, G) if seed % 4 == 0 else 1.)
        world.append((gt, labels, found, dt_labels, rounded(rng.random(len(found)), seed), crowd, areas))
    return world


def compare_masks(world, images, classes):
    """world: gt_masks, ... masks as bool arrays or RLEs; every class that its labels name -> (ours, theirs)."""
    evaluator, annotations, results = detection.mask_evaluator(["background", *map(str, classes)]), [], []
    text = lambda m: rle.encode_mask(m) if isinstance(m, np.ndarray) else m
    for i, (gt, labels, found, dt_labels, scores, crowd, areas) in zip(images, world, strict=True):
        evaluator.add(i, np.zeros((len(gt), 4)), labels, np.zeros((len(found), 4)), dt_labels, scores, crowd, areas, gt_masks=gt,
                      masks=found)
        annotations += [dict(image_id=i, category_id=int(k), segmentation=text(m), bbox=[0, 0, 1, 1], area=float(a), iscrowd=int(c))
                        for m, k, a, c in zip(gt, labels, areas, crowd, strict=True)]
        results += [dict(image_id=i, category_id=int(k), segmentation=text(m), score=float(s))
                    for m, k, s in zip(found, dt_labels, scores, strict=True)]
    if not results:
        return None
    theirs = pycocotools_numbers("segm", images, range(1, len(classes) + 1), annotations, results)
    return list(evaluator.coco().values()), theirs


def test_masks_of_120_random_worlds_equal_pycocotools():
    compared, crowds = 0, 0
    for seed in range(WORLDS):
        world = mask_world(seed)
        pair = compare_masks(world, {i: (H, W) for i in range(len(world))}, "abc")
        if pair is not None:
            np.testing.assert_allclose(*pair, rtol=0, atol=1e-9, err_msg=f"world {seed}")
            compared, crowds = compared + 1, crowds + sum(image[5].sum() for image in world)
    assert compared >= 100 and crowds > 50


# ------------------------------------------------------------------------------------------------ keypoints
def poses(n, rng):
    """boxes (n, 4), keypoints (n, 17, 3) of whole pixels, some joints hidden, some not labelled, now and then none at all."""
    size = np.exp(rng.uniform(np.log(8), np.log(160), (n, 2)))
    near = rng.uniform(0, 200, (n, 2))
    xy = np.round(near[:, None] + rng.random((n, 17, 2)) * size[:, None])
    v = rng.choice([0, 1, 2], (n, 17), p=[0.3, 0.2, 0.5]) * (rng.random((n, 1)) > 0.15)
    return np.concatenate([near, near + size], axis=1), np.concatenate([xy, v[..., None]], axis=2) * (v > 0)[..., None]


def keypoint_world(seed):
    """[(gt_boxes, gt_keypoints, keypoints, scores, iscrowd, areas)] by image; now and then more than 20 detections."""
    rng, world = np.random.default_rng(1000 + seed), []
    for _ in range(rng.integers(1, 6)):
        boxes, truth = poses(0 if rng.random() < 0.2 else rng.integers(0, 6), rng)
        G, extent = len(truth), boxes[:, 2:] - boxes[:, :2]
        pick = rng.integers(0, G, rng.integers(0, 3 * G)) if G else np.zeros(0, int)
        near = truth[pick].copy()
        near[..., :2] += rng.normal(0, rng.choice([0.01, 0.03, 0.1]), (len(pick), 17, 2)) * extent[pick][:, None]
        noise = poses(rng.integers(15, 30) if seed % 10 == 0 else rng.integers(0, 4), rng)[1]
        found = np.concatenate([near, truth[:1], noise])
        crowd = rng.random(G) < (0.2 if seed % 2 else 0)
        areas = np.prod(extent, axis=1) * rng.uniform(0.3, 0.8, G)
        world.append((boxes, truth, found, rounded(rng.random(len(found)), seed), crowd, areas))
    return world


def compare_keypoints(world, images):
    evaluator, annotations, results = detection.keypoint_evaluator(["background", "person"]), [], []
    for i, (boxes, truth, found, scores, crowd, areas) in zip(images, world, strict=True):
        evaluator.add(i, boxes, np.ones(len(truth), int), np.zeros((len(found), 4)), np.ones(len(found), int), scores, crowd, areas,
                      gt_keypoints=truth, keypoints=found)
        annotations += [dict(image_id=i, category_id=1, bbox=[*map(float, b[:2]), float(b[2] - b[0]), float(b[3] - b[1])], area=float(a),
                             keypoints=k.ravel().tolist(), num_keypoints=int((k[:, 2] > 0).sum()), iscrowd=int(c))
                        for b, k, a, c in zip(boxes, truth, areas, crowd, strict=True)]
        results += [dict(image_id=i, category_id=1, keypoints=k.ravel().tolist(), score=float(s))
                    for k, s in zip(found, scores, strict=True)]
    return (list(evaluator.coco().values()), pycocotools_numbers("keypoints", images, [1], annotations, results)) if results else None


def test_poses_of_120_random_worlds_equal_pycocotools():
    compared, unlabelled, many = 0, 0, 0
    for seed in range(WORLDS):
        world = keypoint_world(seed)
        pair = compare_keypoints(world, {i: (H, W) for i in range(len(world))})
        if pair is not None:
            np.testing.assert_allclose(*pair, rtol=0, atol=1e-9, err_msg=f"world {seed}")
            compared += 1
            unlabelled += sum((image[1][..., 2] == 0).all(1).sum() for image in world)
            many += any(len(image[2]) > 20 for image in world)
    assert compared >= 100 and unlabelled > 50 and many >= 5


# ------------------------------------------------------------------------------------------------ real truth, perturbed
def real(name):
    if not (DATA / "coco_small" / name).exists():
        pytest.skip(f"{DATA / 'coco_small' / name} is absent (set NUMPYVISION_DATA)")
    truth = json.loads((DATA / "coco_small" / name).read_text())
    return truth, {image["id"]: (image["height"], image["width"]) for image in truth["images"]}


@pytest.mark.parametrize("seed", range(3))
def test_real_masks_shifted_and_mislabelled(seed):
    truth, images = real("instances.json")
    rng, world, ids = np.random.default_rng(seed), [], sorted(c["id"] for c in truth["categories"])
    for i, size in images.items():
        mine = [a for a in truth["annotations"] if a["image_id"] == i]
        gt = [rle.encode_mask(rle.polygons_to_mask(a["segmentation"], size)) if isinstance(a["segmentation"], list) else
              {"size": list(size), "counts": rle.counts_to_string(rle.rle_counts(a["segmentation"]))} for a in mine]
        labels = np.array([ids.index(a["category_id"]) + 1 for a in mine], int)
        found = [rle.encode_mask(np.roll(rle.decode_mask(m), rng.integers(-8, 9, 2), (0, 1))) for m in gt]
        dt_labels = np.where(rng.random(len(mine)) < 0.9, labels, 1)
        world.append((gt, labels, found, dt_labels, rng.random(len(found)), np.array([a["iscrowd"] for a in mine], bool),
                      np.array([a["area"] for a in mine], float)))
    np.testing.assert_allclose(*compare_masks(world, images, ids), rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_real_poses_with_joints_moved(seed):
    truth, images = real("person_keypoints.json")
    rng, world = np.random.default_rng(seed), []
    for i in images:
        mine = [a for a in truth["annotations"] if a["image_id"] == i]
        gt = np.array([a["keypoints"] for a in mine], float).reshape(-1, 17, 3)
        bbox = np.array([a["bbox"] for a in mine], float).reshape(-1, 4)
        boxes = np.concatenate([bbox[:, :2], bbox[:, :2] + bbox[:, 2:]], axis=1)
        found = gt.copy()
        found[..., :2] += rng.normal(0, 0.04, (len(gt), 17, 2)) * bbox[:, None, 2:]
        world.append((boxes, gt, found, rng.random(len(gt)), np.array([a["iscrowd"] for a in mine], bool),
                      np.array([a["area"] for a in mine], float)))
    np.testing.assert_allclose(*compare_keypoints(world, images), rtol=0, atol=1e-9)
