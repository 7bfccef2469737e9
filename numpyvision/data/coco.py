"""COCO data sets: one JSON file for all images.

    {"images":      [{"id", "file_name", "height", "width"}],
     "annotations": [{"id", "image_id", "category_id", "bbox": [x, y, w, h], "area", "iscrowd", "segmentation", "keypoints"}],
     "categories":  [{"id", "name"}]}

A segmentation is a list of polygons, or an RLE (boxes/masks.py). Category ids have gaps (COCO's 80 classes run up to 90); labels here are
1..K in the order of the ids. Keypoints count pixels as integers, so 0.5 is added: the middle of the pixel, in our continuous coordinates.
`person_keypoints*.json` beside `instances*.json` is joined to it by annotation id. Shapes here: G objects of an image, J = 17 joints.
"""
import json
import math
from pathlib import Path

import numpy as np

from numpyvision.boxes import masks as rle
from numpyvision.data.faults import DataError, FaultLog, usable_box
from numpyvision.data.images import image_size, read_image_of_size
from numpyvision.data.sample import Sample

NUM_JOINTS = 17


class COCO:
    """A COCO data set: a folder, or the JSON file itself.

    split: which of a folder's files ("train" finds instances_train.json, instances_train2017.json, both also in annotations/); where there
    is only one instances.json, it serves every split. images: folder of the images, found by itself in the usual places. masks=False does
    not decode segmentations, which is faster for a box detector. Faulty boxes are skipped and listed in `faults`; strict=True raises.
    """

    def __init__(self, path, split="train", images=None, masks=True, strict=False, log=None):
        path = Path(path)
        log = log or FaultLog(strict)
        self.file = path if path.suffix == ".json" else annotation_file(path, split)
        self.name = f"coco:{path.name}" + (f"/{split}" if split and path.suffix != ".json" else "")
        truth = _load(self.file)
        self.category_ids, self.classes = _categories(truth["categories"], self.file, log)   # category_ids[label] is COCO's id
        self._images, where = _index_images(truth["images"], self.file, log)
        self.ids = [image["id"] for image in self._images]
        self.folder = Path(images) if images else _image_folder(self.file, split, self._images)
        for image in self._images:                                     # the JSON does not say: ask the file
            image["size"] = image["size"] or image_size(self.folder / image["file_name"])
        self._with_masks = masks and any(a.get("segmentation") for a in truth["annotations"] if isinstance(a, dict))
        keypoints = _sibling_keypoints(self.file)
        self._with_keypoints = bool(keypoints) or any("keypoints" in a for a in truth["annotations"] if isinstance(a, dict))
        self._objects = _Reader(self, where, log).read(truth["annotations"], keypoints)
        self.faults = log.faults
        log.announce(self.name)

    def __len__(self):
        return len(self._images)

    def boxes_and_size(self, index):
        """Boxes (G, 4) and (H, W) of an image as the JSON has them; the image is not read."""
        return np.array([o["box"] for o in self._objects[index]], np.float32).reshape(-1, 4), self._images[index]["size"]

    def __getitem__(self, index):
        image, objects = self._images[index], self._objects[index]
        boxes, size = self.boxes_and_size(index)
        path = self.folder / image["file_name"]
        pixels = read_image_of_size(path, size, self.file, f"images[id={image['id']}].width, height")
        return Sample(
            pixels,
            boxes,
            np.array([o["label"] for o in objects], np.int64),
            masks=self._masks(objects, pixels.shape[1:]) if self._with_masks else None,
            keypoints=np.array([o["keypoints"] for o in objects], np.float32).reshape(-1, NUM_JOINTS, 3) if self._with_keypoints else None,
            iscrowd=np.array([o["iscrowd"] for o in objects], bool),
            areas=np.array([o["area"] for o in objects], np.float64),
            image_id=image["id"], path=str(path))

    def _masks(self, objects, size):
        """Decode on access: (G, H, W) bool. As RLE, all of COCO's masks fit in memory; as pixels, they do not."""
        decoded = np.zeros((len(objects), *size), bool)
        for mask, item in zip(decoded, objects, strict=True):
            segmentation = item["segmentation"]
            try:
                mask[:] = rle.polygons_to_mask(segmentation, size) if isinstance(segmentation, list) else rle.decode_mask(segmentation)
            except ValueError as error:
                raise DataError(self.file, f"{item['field']}.segmentation", str(error)) from None
        return decoded


class _Reader:
    """Turns annotations into records a Sample is made of, and notes what is wrong with them."""

    def __init__(self, dataset, where, log):
        self.file, self.images, self.log, self.with_masks = dataset.file, dataset._images, log, dataset._with_masks
        self.where = where                                             # image id -> its place in images
        self.labels = {number: label for label, number in enumerate(dataset.category_ids) if label}

    def read(self, annotations, keypoints):
        """list of annotations, {annotation id: keypoints} -> a list of records for every image."""
        objects, seen = [[] for _ in self.images], set()
        for i, annotation in enumerate(annotations):
            if not isinstance(annotation, dict):
                self.log.skip(self.file, f"annotations[{i}]", f"expected an object, got {str(annotation)[:40]}; skipped")
                continue
            number = _id(annotation.get("id"))
            field = f"annotations[{i}]" if number is None else f"annotations[id={number}]"
            if number is not None and number in seen:
                self.log.skip(self.file, field, "this id was used before; skipped")
                continue
            seen.add(number)
            record = self._object(annotation, field)
            if record is None:
                continue
            record["keypoints"] = self._keypoints(annotation.get("keypoints", keypoints.get(number)), field)
            objects[self.where[annotation["image_id"]]].append(record)
        return objects

    def _object(self, annotation, field):
        """One record, or None if the object cannot be used."""
        for key in ("image_id", "category_id", "bbox"):
            if key not in annotation:
                return self.log.skip(self.file, f"{field}.{key}", "absent; skipped")
        if _id(annotation["image_id"]) not in self.where:
            return self.log.skip(self.file, f"{field}.image_id", f"no image has the id {annotation['image_id']}; skipped")
        if _id(annotation["category_id"]) not in self.labels:
            return self.log.skip(self.file, f"{field}.category_id", f"unknown class {annotation['category_id']}; skipped")
        size = self.images[self.where[annotation["image_id"]]]["size"]
        box = self._box(annotation["bbox"], size, field)
        if box is None:
            return None
        segmentation = annotation.get("segmentation") if self.with_masks else None
        if self.with_masks and not self._usable_segmentation(segmentation, size, field):
            return None
        area = annotation.get("area")
        if not isinstance(area, (int, float)) or not math.isfinite(area) or area <= 0:
            area = (box[2] - box[0]) * (box[3] - box[1])
        return {"box": box, "label": self.labels[annotation["category_id"]], "area": float(area), "field": field,
                "iscrowd": bool(annotation.get("iscrowd", 0)), "segmentation": segmentation}

    def _box(self, bbox, size, field):
        try:
            x, y, w, h = (float(v) for v in bbox)
        except (TypeError, ValueError):
            return self.log.skip(self.file, f"{field}.bbox", f"expected [x, y, width, height], got {str(bbox)[:60]}; skipped")
        return usable_box((x, y, x + w, y + h), size, self.log, self.file, f"{field}.bbox")

    def _usable_segmentation(self, segmentation, size, field):
        """What can be seen without decoding; the runs themselves are checked when the mask is decoded."""
        field = f"{field}.segmentation"
        if not segmentation:
            message = "absent, though other objects have one (masks=False keeps the box); skipped"
        elif isinstance(segmentation, dict):
            if "counts" in segmentation and size is not None and list(segmentation.get("size", ())) == list(size):
                return True
            message = f"expected an RLE with counts and size {list(size or ())} [H, W], got size {segmentation.get('size')}; skipped"
        elif isinstance(segmentation, list) and all(_is_polygon(p) for p in segmentation):
            return True
        else:
            message = "expected polygons of at least 3 finite points, x1 y1 x2 y2 ...; skipped"
        self.log.skip(self.file, field, message)
        return False

    def _keypoints(self, joints, field):
        """[x1, y1, v1, ...] -> (J, 3); all zero (nothing labelled) where there are none, which is common and no fault."""
        points = np.zeros((NUM_JOINTS, 3), np.float32)
        if joints is None:
            return points
        try:
            given = np.array(joints, dtype=np.float32).reshape(NUM_JOINTS, 3)
            if not np.isfinite(given).all() or not np.isin(given[:, 2], (0, 1, 2)).all():
                raise ValueError
        except (TypeError, ValueError):
            self.log.skip(self.file, f"{field}.keypoints", "expected 17 times x, y, v with v 0, 1 or 2; taken as not labelled")
            return points
        labelled = given[:, 2] > 0
        points[labelled] = given[labelled]
        points[labelled, :2] += 0.5                                    # pixel index -> the middle of that pixel
        return points


# ---------------------------------------------------------------------------------------------------------------- files

def annotation_file(path, split, kind="instances"):
    """The JSON file of a split in a COCO folder; a DataError that lists where it looked."""
    path = Path(path)
    if not path.is_dir():
        raise DataError(path, "folder", "no such folder")
    names = ([f"{kind}_{split}.json", f"{kind}_{split}[0-9]*.json"] if split else []) + [f"{kind}.json"]
    for name in names:
        for folder in (path, path / "annotations"):
            found = sorted(folder.glob(name))
            if found:
                return found[-1]
    there = sorted(p.name for folder in (path, path / "annotations") for p in folder.glob("*.json"))
    raise DataError(path, "annotations", f"no {' or '.join(names)} here or in annotations/; JSON files there: {', '.join(there) or 'none'}")


def _load(file):
    """Parsed JSON with the three lists that every COCO file has."""
    try:
        text = file.read_text(encoding="utf-8")
        if not text.strip():
            raise DataError(file, "annotations", "the file is empty")
        truth = json.loads(text)
    except OSError as error:
        raise DataError(file, "annotations", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(file, "annotations", f"not UTF-8 text: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(file, "annotations", f"bad JSON: {error}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(truth, dict) or not isinstance(truth.get(key), list):
            raise DataError(file, key, "absent or not a list; a COCO file holds the lists images, annotations and categories")
    if any("segments_info" in a for a in truth["annotations"] if isinstance(a, dict)):
        raise DataError(file, "annotations", "this is a panoptic file (segments_info); expected an instances file")
    if not truth["images"]:
        raise DataError(file, "images", "the list is empty")
    return truth


def _categories(categories, file, log):
    """-> (0, id1, id2, ...), ("background", name1, name2, ...) in the order of the ids."""
    names = {}
    for i, category in enumerate(categories):
        if not isinstance(category, dict) or not isinstance(category.get("id"), int) or not isinstance(category.get("name"), str):
            log.skip(file, f"categories[{i}]", "expected an id (a number) and a name; skipped")
        elif category["id"] in names:
            log.skip(file, f"categories[id={category['id']}]", "this id was used before; skipped")
        else:
            names[category["id"]] = category["name"]
    order = sorted(names)
    return (0, *order), ("background", *(names[number] for number in order))


def _index_images(images, file, log):
    """-> [{"id", "file_name", "size" (H, W) or None}], {id: place}."""
    records, where = [], {}
    for i, image in enumerate(images):
        missing = [key for key in ("id", "file_name") if not isinstance(image, dict) or key not in image]
        if missing:
            log.skip(file, f"images[{i}].{missing[0]}", "absent; image skipped")
        elif _id(image["id"]) is None:
            log.skip(file, f"images[{i}].id", f"expected a number, got {image['id']!r}; image skipped")
        elif image["id"] in where:
            log.skip(file, f"images[id={image['id']}]", "this id was used before; image skipped")
        else:
            size = image.get("height"), image.get("width")
            if not all(isinstance(n, int) and n > 0 for n in size):
                log.skip(file, f"images[id={image['id']}].width, height", f"got {size[1]} and {size[0]}, expected positive whole numbers")
                size = None
            where[image["id"]] = len(records)
            records.append({"id": image["id"], "file_name": str(image["file_name"]), "size": size})
    return records, where


def _image_folder(file, split, images):
    """The first of the usual places that holds the first image."""
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    year = file.stem.split("_")[-1]                                    # instances_train2017 -> train2017
    places = [root / "images", root / year, root / "images" / year, root / "images" / str(split), root / str(split), root]
    for folder in places:
        if images and (folder / images[0]["file_name"]).is_file():
            return folder
    return next((folder for folder in places[:-1] if folder.is_dir()), places[0])


def _sibling_keypoints(file):
    """{annotation id: keypoints} of person_keypoints*.json beside instances*.json, or nothing."""
    sibling = file.with_name(file.name.replace("instances", "person_keypoints", 1))
    if sibling == file or not sibling.is_file():
        return {}
    return {a["id"]: a["keypoints"] for a in _load(sibling)["annotations"] if isinstance(a, dict) and "id" in a and "keypoints" in a}


def _id(value):
    """An id that can be looked up: a number or a text; None for anything else."""
    return value if isinstance(value, (int, str)) else None


def _is_polygon(polygon):
    return (isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
            and all(isinstance(v, (int, float)) and math.isfinite(v) for v in polygon))
