"""RLE and polygons against the COCO API, bit for bit: random masks and polygons, and every annotation of real COCO files."""
import json
import os
from pathlib import Path

import numpy as np
import pytest

from numpyvision.boxes import masks

coco = pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.oracle
DATA = Path(os.environ.get("NUMPYVISION_DATA", "../shared/data"))


def random_masks(rng, count):
    """From empty over noise to smooth blobs, in odd sizes, so that runs are short, long and cross columns."""
    for _ in range(count):
        h, w = rng.integers(1, 40, 2)
        density = rng.choice([0, 0.02, 0.5, 0.98, 1])
        yield rng.random((h, w)) < density
        y, x = np.mgrid[:h, :w]
        yield (y - rng.uniform(0, h)) ** 2 + (x - rng.uniform(0, w)) ** 2 < rng.uniform(0, 20) ** 2


def random_polygons(rng, count, wild):
    """wild: corners far outside the image, negative, on the half-pixel grid, repeated; crossing themselves."""
    for _ in range(count):
        size = tuple(int(n) for n in rng.integers(1, 60, 2))
        corners = rng.uniform(-0.5 * wild, 1 + 0.5 * wild, (rng.integers(3, 12), 2)) * [size[1], size[0]]
        if rng.random() < 0.3:
            corners = np.round(corners * 2) / 2
        if rng.random() < 0.2:
            corners = np.repeat(corners, 2, axis=0)
        yield corners.ravel(), size


def test_encode_and_decode_equal_the_coco_api():
    for mask in random_masks(np.random.default_rng(0), 300):
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        ours = masks.encode_mask(mask)
        assert ours["counts"] == theirs["counts"].decode() and ours["size"] == list(theirs["size"])
        assert np.array_equal(masks.decode_mask(theirs), mask)
        assert masks.rle_area(theirs) == coco.area(theirs)
        x, y, w, h = coco.toBbox(theirs)
        assert np.array_equal(masks.mask_to_box(mask), [x, y, x + w, y + h])


def test_large_counts_survive_the_text():
    rng = np.random.default_rng(1)
    for _ in range(200):
        counts = (10 ** rng.uniform(0, 6.5, rng.integers(1, 30))).astype(np.int64)
        size = [int(counts.sum()), 1]
        theirs = coco.frPyObjects({"size": size, "counts": counts.tolist()}, *size)
        assert masks.counts_to_string(counts) == theirs["counts"].decode()
        assert np.array_equal(masks.counts_from_string(theirs["counts"]), counts)


@pytest.mark.parametrize("wild", [0, 1, 4])
def test_polygons_equal_the_coco_api(wild):
    for polygon, (h, w) in random_polygons(np.random.default_rng(wild), 1000, wild):
        theirs = coco.frPyObjects([polygon.tolist()], h, w)[0]
        with np.errstate(all="raise"):                                 # repeated corners must not divide 0 by 0
            ours = masks.polygon_to_counts(polygon, (h, w))
        assert masks.counts_to_string(ours) == theirs["counts"].decode(), (polygon, h, w)


def test_merge_equals_the_coco_api():
    rng = np.random.default_rng(2)
    for _ in range(300):
        h, w = rng.integers(1, 30, 2)
        stack = [rng.random((h, w)) < rng.choice([0, 0.1, 0.5, 1]) for _ in range(rng.integers(1, 5))]
        rles = [coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in stack]
        for intersect in (False, True):
            assert masks.merge_rles(rles, intersect)["counts"] == coco.merge(rles, intersect)["counts"].decode()


def test_iou_equals_the_coco_api():
    rng = np.random.default_rng(3)
    for _ in range(100):
        h, w = rng.integers(1, 30, 2)
        first, second = ([coco.encode(np.asfortranarray((rng.random((h, w)) < rng.choice([0, 0.1, 0.9])).astype(np.uint8)))
                          for _ in range(rng.integers(1, 6))] for _ in range(2))
        crowd = rng.random(len(second)) < 0.4
        assert np.array_equal(masks.rle_iou(first, second, crowd), coco.iou(first, second, crowd.astype(np.uint8).tolist()))


@pytest.mark.parametrize("name", ["coco_small/instances.json", "coco_small/person_keypoints.json", "nuclei/instances_val.json"])
def test_every_real_annotation_equals_the_coco_api(name):
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is absent (set NUMPYVISION_DATA)")
    truth = json.loads((DATA / name).read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    for annotation in truth["annotations"]:
        segmentation, (h, w) = annotation["segmentation"], sizes[annotation["image_id"]]
        if isinstance(segmentation, list):
            theirs = coco.merge(coco.frPyObjects(segmentation, h, w))
            ours = masks.polygons_to_mask(segmentation, (h, w))
        else:
            theirs = coco.frPyObjects(segmentation, h, w) if isinstance(segmentation["counts"], list) else segmentation
            ours = masks.decode_mask(segmentation)
        assert np.array_equal(ours, coco.decode(theirs).astype(bool))
        assert masks.encode_mask(ours)["counts"] == (c if isinstance(c := theirs["counts"], str) else c.decode())
