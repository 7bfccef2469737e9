"""The COCO loader: every form of mask by hand, every kind of fault in a JSON of its own, and the real files."""
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numpyvision.boxes import masks
from numpyvision.data.coco import COCO
from numpyvision.data.faults import DataError

REAL = Path(os.environ.get("NUMPYVISION_DATA", "../shared/data"))
MASK = np.zeros((10, 20), bool)
MASK[2:6, 3:8] = True
POLYGON = [3, 2, 8, 2, 8, 6, 3, 6]


def truth(**annotation):
    """A COCO file of one 20x10 image, a good object (id 1), and the one in question (id 2)."""
    good = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [3, 2, 5, 4], "area": 20, "iscrowd": 0, "segmentation": [POLYGON]}
    return {"images": [{"id": 7, "file_name": "a.png", "height": 10, "width": 20}],
            "annotations": [good, {**good, "id": 2, **annotation}],
            "categories": [{"id": 9, "name": "dog"}, {"id": 5, "name": "cat"}]}


@pytest.fixture
def folder(tmp_path):
    """Writes a COCO folder; the argument is the content of instances.json."""
    def write(content, name="instances.json"):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (20, 10), (255, 128, 0)).save(tmp_path / "images" / "a.png")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path
    return write


def test_boxes_labels_and_areas(folder):
    dataset = COCO(folder(truth(category_id=9, bbox=[0, 0, 20, 10], area=123.5)))
    sample = dataset[0]
    assert dataset.classes == ("background", "cat", "dog") and dataset.category_ids == (0, 5, 9)
    assert sample.boxes.tolist() == [[3, 2, 8, 6], [0, 0, 20, 10]] and sample.boxes.dtype == np.float32
    assert sample.labels.tolist() == [1, 2] and sample.areas.tolist() == [20, 123.5]
    assert sample.image_id == 7 and sample.keypoints is None and sample.iscrowd.tolist() == [False, False] and not dataset.faults


@pytest.mark.parametrize("segmentation", [
    [POLYGON],
    [[3, 2, 6, 2, 6, 6, 3, 6], [5, 2, 8, 2, 8, 6, 5, 6]],              # two parts of one object
    masks.encode_mask(MASK),                                           # compressed RLE
    {"size": [10, 20], "counts": masks.mask_to_counts(MASK).tolist()},  # uncompressed RLE
])
def test_every_form_of_mask(folder, segmentation):
    sample = COCO(folder(truth(segmentation=segmentation, iscrowd=1)))[0]
    assert np.array_equal(sample.masks[1], MASK) and sample.masks.dtype == bool and sample.iscrowd.tolist() == [False, True]
    assert COCO(folder(truth(segmentation=segmentation)), masks=False)[0].masks is None


def test_boxes_and_size_are_known_without_the_image(folder):
    path = folder(truth(bbox=[0, 0, 20, 10]))
    dataset = COCO(path)
    (path / "images" / "a.png").unlink()
    boxes, size = dataset.boxes_and_size(0)
    assert boxes.tolist() == [[3, 2, 8, 6], [0, 0, 20, 10]] and boxes.dtype == np.float32 and size == (10, 20)


def test_an_image_without_objects_is_a_sample(folder):
    content = truth()
    content["images"].append({"id": 8, "file_name": "a.png", "height": 10, "width": 20})
    sample = COCO(folder(content))[1]
    assert sample.boxes.shape == (0, 4) and sample.masks.shape == (0, 10, 20) and sample.areas.shape == (0,)


def joints(**labelled):
    flat = np.zeros((17, 3))
    for name, value in labelled.items():
        flat[int(name[1:])] = value
    return flat.ravel().tolist()


def test_keypoints_of_the_file_itself_and_of_the_one_beside_it(folder):
    content = truth(keypoints=joints(j0=(4, 3, 2), j5=(9, 9, 0)))
    sample = COCO(folder(content))[0]
    assert sample.keypoints.shape == (2, 17, 3) and sample.keypoints[1, 0].tolist() == [4.5, 3.5, 2]
    assert sample.keypoints[1, 1:].sum() == 0 and sample.keypoints[0].sum() == 0   # v = 0: not labelled, whatever x and y say
    folder(truth(keypoints=joints(j3=(1, 2, 1))), "person_keypoints.json")
    assert COCO(folder(truth()))[0].keypoints[1, 3].tolist() == [1.5, 2.5, 1]


@pytest.mark.parametrize("name", ["instances_train.json", "instances_train2017.json", "annotations/instances_train2017.json",
                                  "annotations/instances.json"])
def test_a_folder_is_searched_in_the_usual_places(folder, name):
    path = folder(truth(), name)
    assert COCO(path, "train").file == path / name and len(COCO(path, "train")[0]) == 2
    assert len(COCO(path / name)[0]) == 2
    with pytest.raises(DataError, match="no instances_test.json or .*JSON files there: other.json"):
        (path / "other.json").write_text("{}")
        (path / name).unlink()
        COCO(path, "test")


@pytest.mark.parametrize("change, field, words", [
    (dict(bbox=[3, 3, 0, 4]), "bbox", "zero area"),
    (dict(bbox=[9, 3, -4, 4]), "bbox", "reversed"),
    (dict(bbox=[30, 3, 4, 4]), "bbox", "outside the 20x10 image"),
    (dict(bbox=[float("nan"), 3, 4, 4]), "bbox", "not finite"),
    (dict(bbox=[3, 3, 4]), "bbox", "expected [x, y, width, height]"),
    (dict(bbox="big"), "bbox", "expected [x, y, width, height]"),
    (dict(category_id=6), "category_id", "unknown class 6"),
    (dict(image_id=8), "image_id", "no image has the id 8"),
    (dict(image_id=[7]), "image_id", "no image has the id"),
    (dict(segmentation=[[1, 2, 3, 4]]), "segmentation", "at least 3"),
    (dict(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), "segmentation", "finite"),
    (dict(segmentation=[]), "segmentation", "absent"),
    (dict(segmentation={"size": [20, 10], "counts": [200]}), "segmentation", "size [10, 20] [H, W], got size [20, 10]"),
    (dict(id=1), None, "used before"),
])
def test_a_faulty_object_is_skipped_and_named_or_raised_if_strict(folder, change, field, words):
    path = folder(truth(**change))
    dataset = COCO(path)
    assert dataset[0].boxes.tolist() == [[3, 2, 8, 6]] and dataset[0].masks.shape == (1, 10, 20)
    fault, = dataset.faults
    where = f"annotations[id={change.get('id', 2)}]" + (f".{field}" if field else "")
    assert fault.file.endswith("instances.json") and fault.field == where and words in fault.message
    with pytest.raises(DataError, match=r"instances\.json: annotations") as error:
        COCO(path, strict=True)
    assert error.value.field == where and words in error.value.message


@pytest.mark.parametrize("key", ["bbox", "category_id", "image_id"])
def test_an_absent_field_is_named(folder, key):
    content = truth()
    del content["annotations"][1][key]
    dataset = COCO(folder(content))
    assert len(dataset[0]) == 1 and dataset.faults[0].field == f"annotations[id=2].{key}" and "absent" in dataset.faults[0].message


def test_boxes_that_stick_out_are_clipped_but_a_rounding_is_no_fault(folder):
    dataset = COCO(folder(truth(bbox=[15, 2, 8, 4])))
    assert dataset[0].boxes[1].tolist() == [15, 2, 20, 6] and "sticks out" in dataset.faults[0].message
    dataset = COCO(folder(truth(bbox=[15, 2, 5.01, 4])))
    assert dataset[0].boxes[1].tolist() == [15, 2, 20, 6] and dataset.faults == []


def test_faulty_keypoints_are_taken_as_not_labelled(folder):
    for bad in ([1, 2, 3], joints(j0=(4, 3, 7)), joints(j0=(float("nan"), 3, 2)), "none"):
        dataset = COCO(folder(truth(keypoints=bad)))
        assert not dataset[0].keypoints.any() and dataset.faults[0].field == "annotations[id=2].keypoints"


def test_a_mask_that_does_not_fill_its_image_is_named_when_it_is_decoded(folder):
    dataset = COCO(folder(truth(segmentation={"size": [10, 20], "counts": [3, 4]})))
    with pytest.raises(DataError, match=r"annotations\[id=2\]\.segmentation: .*sum to 200, got 7"):
        dataset[0]


@pytest.mark.parametrize("content, words", [
    ("", "the file is empty"),
    ("{", "bad JSON"),
    ("[]", "images: absent or not a list"),
    ({"images": [], "annotations": [], "categories": []}, "images: the list is empty"),
    ({"images": [{}], "annotations": {}, "categories": []}, "annotations: absent or not a list"),
    ({"images": [{}], "annotations": [{"segments_info": []}], "categories": []}, "panoptic file"),
])
def test_an_unreadable_file_is_an_error(folder, content, words):
    with pytest.raises(DataError, match=rf"instances\.json: .*{words}"):
        COCO(folder(content))


def test_faulty_images_are_named(folder):
    content = truth()
    content["images"] += [{"id": 8}, {"id": 7, "file_name": "a.png", "height": 10, "width": 20}, {"id": [1], "file_name": "a.png"}, 5]
    dataset = COCO(folder(content))
    assert len(dataset) == 1
    assert [f.field for f in dataset.faults] == ["images[1].file_name", "images[id=7]", "images[3].id", "images[4].id"]
    content = truth()
    content["images"][0]["height"] = 11
    with pytest.raises(DataError, match=r"images\[id=7\]\.width, height: says 20x11 .* is 20x10"):
        COCO(folder(content))[0]
    del content["images"][0]["height"]
    content["annotations"][1]["bbox"] = [3, 2, 50, 4]
    dataset = COCO(folder(content))
    assert dataset[0].boxes[1].tolist() == [3, 2, 20, 6] and dataset.faults[0].field == "images[id=7].width, height"   # the image's own
    content["images"][0]["file_name"] = "b.png"
    with pytest.raises(DataError, match=r"b\.png: image: the file does not exist"):
        COCO(folder(content))[0]


def test_faulty_categories_are_named(folder):
    content = truth()
    content["categories"] += [{"id": 5, "name": "cow"}, {"id": "x", "name": "cow"}, {"id": 11}]
    dataset = COCO(folder(content))
    assert dataset.classes == ("background", "cat", "dog")
    assert [f.field for f in dataset.faults] == ["categories[id=5]", "categories[3]", "categories[4]"]


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is absent (set NUMPYVISION_DATA)")
def test_the_real_coco_images_load():
    dataset = COCO(REAL / "coco_small")
    assert len(dataset) == 26 and len(dataset.classes) == 81 and dataset.faults == []
    samples = [dataset[i] for i in range(len(dataset))]
    assert sum(len(s) for s in samples) == 333 and sum(s.iscrowd.sum() for s in samples) == 5
    assert sum((s.keypoints[..., 2] > 0).any(axis=1).sum() for s in samples) == 27
    for sample in samples:                                             # a mask lies in its box, and has about the area COCO states
        for box, mask, area in zip(sample.boxes, sample.masks, sample.areas, strict=True):
            x1, y1, x2, y2 = masks.mask_to_box(mask)
            assert x1 >= box[0] - 1 and y1 >= box[1] - 1 and x2 <= box[2] + 1 and y2 <= box[3] + 1
            assert abs(mask.sum() - area) < 0.1 * area + 15
        labelled = sample.keypoints[sample.keypoints[..., 2] > 0]
        assert (labelled[:, 0] < sample.size[1]).all() and (labelled[:, 1] < sample.size[0]).all()


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is absent (set NUMPYVISION_DATA)")
def test_the_real_nuclei_load():
    train, val = COCO(REAL / "nuclei", "train"), COCO(REAL / "nuclei", "val")
    assert (len(train), len(val)) == (134, 33) and train.classes == ("background", "nucleus") and not train.faults
    assert sum(len(o) for o in train._objects) == 3798
    sample = val[0]
    assert np.array_equal(masks.mask_to_box(sample.masks), sample.boxes) and np.array_equal(sample.masks.sum(axis=(1, 2)), sample.areas)
