"""Pascal VOC folders: one XML file an image.

    PATH/Annotations/NAME.xml      objects: name, bndbox (xmin ymin xmax ymax), difficult
    PATH/JPEGImages/NAME.jpg
    PATH/ImageSets/Main/SPLIT.txt  the NAMEs of a split, one a line

VOC counts pixels from 1 and includes the last one: a box of the first pixel is (1, 1, 1, 1). Here boxes are half-open and count from 0,
so that pixel is (0, 0, 1, 1): only x1 and y1 change, by -1. Shapes here: G objects of an image.
"""
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from numpyvision.data.faults import DataError, FaultLog, usable_box
from numpyvision.data.images import image_size, read_image_of_size
from numpyvision.data.sample import Sample

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".JPEG", ".PNG")


@dataclass
class _Record:
    """What an annotation file says of its image."""
    file: Path
    image: Path
    size: tuple[int, int] | None          # (H, W)
    boxes: list
    names: list
    difficult: list
    fields: list                          # where each object stands in the file, for messages


class VOC:
    """A Pascal VOC folder as a data set.

    split: a file of ImageSets/Main ("train", "val", ...), or None for every annotation in the folder. classes: names in the order wanted;
    by default all names found in the folder, sorted (in the whole folder, so that train and val agree). Faulty boxes are skipped and listed
    in `faults`; strict=True raises a DataError for the first instead.
    """

    def __init__(self, path, split="train", classes=None, strict=False, log=None):
        self.path, self.split = Path(path), split
        self.name = f"voc:{self.path.name}" + (f"/{split}" if split else "")
        log = log or FaultLog(strict)
        if not (self.path / "Annotations").is_dir():
            raise DataError(self.path, "Annotations", "no such folder; a Pascal VOC data set holds Annotations, JPEGImages, ImageSets/Main")
        self._images = {p.name for p in (self.path / "JPEGImages").glob("*")}
        self.ids = split_ids(self.path, split, log)
        records = {name: self._parse(name, log) for name in self.ids}
        self.ids = [name for name in self.ids if records[name] is not None]
        self._records = [records[name] for name in self.ids]
        names = self._all_names() if classes is None else tuple(classes)
        self.classes = names if names[:1] == ("background",) else ("background", *names)
        self._drop_unknown_classes(log)
        self.faults = log.faults
        log.announce(self.name)

    def __len__(self):
        return len(self._records)

    def boxes_and_size(self, index):
        """Boxes (G, 4) and (H, W) of an image as its annotation has them; the image is not read."""
        return np.array(self._records[index].boxes, np.float32).reshape(-1, 4), self._records[index].size

    def __getitem__(self, index):
        record, (boxes, size) = self._records[index], self.boxes_and_size(index)
        image = read_image_of_size(record.image, size, record.file, "size")
        labels = np.array([self.classes.index(name) for name in record.names], np.int64)
        areas = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).astype(np.float64)
        return Sample(image, boxes, labels, difficult=np.array(record.difficult, bool), areas=areas,
                      image_id=self.ids[index], path=str(record.image))

    def _all_names(self):
        """Sorted class names of the whole folder, whatever the split."""
        names = {name for record in self._records for name in record.names}
        others = {p.stem for p in (self.path / "Annotations").glob("*.xml")} - set(self.ids)
        for stem in others:                                            # their faults are their own split's business
            record = self._parse(stem, FaultLog(collect=True))
            names |= set(record.names) if record else set()
        return tuple(sorted(names))

    def _drop_unknown_classes(self, log):
        for record in self._records:
            known = [i for i, name in enumerate(record.names) if name in self.classes[1:]]
            for i in sorted(set(range(len(record.names))) - set(known)):
                log.skip(record.file, f"{record.fields[i]}.name", f"unknown class {record.names[i]!r}, expected one of "
                         f"{', '.join(self.classes[1:])}; skipped")
            for key in ("boxes", "names", "difficult", "fields"):
                setattr(record, key, [getattr(record, key)[i] for i in known])

    def _parse(self, name, log):
        """One XML file -> _Record, or None where the file is unreadable and the log only collects."""
        file = self.path / "Annotations" / f"{name}.xml"
        try:
            text = file.read_bytes()
            if not text.strip():
                return log.fail(file, "annotation", "the file is empty")
            root = ElementTree.fromstring(text)
        except OSError as error:
            return log.fail(file, "annotation", f"cannot be read: {error.strerror}")
        except ElementTree.ParseError as error:
            return log.fail(file, "annotation", f"bad XML: {error}")
        image = self._image_path(name, root)
        record = _Record(file, image, _size(root, image, log, file), [], [], [], [])
        for i, item in enumerate(root.findall("object")):
            _parse_object(item, f"object[{i}]", record, log)
        return record

    def _image_path(self, name, root):
        """The file that the annotation names if it is there, else the one called like the annotation: tools often rename only one."""
        named = Path((root.findtext("filename") or "").strip()).name
        candidates = ([named] if Path(named).suffix else []) + [name + suffix for suffix in IMAGE_SUFFIXES]
        found = [c for c in candidates if c in self._images]
        return self.path / "JPEGImages" / (found[0] if found else candidates[0])


def splits(path):
    """Names of the splits of a VOC folder."""
    return sorted(p.stem for p in (Path(path) / "ImageSets" / "Main").glob("*.txt"))


def split_ids(path, split, log):
    """The image names of a split, each once."""
    if split is None:
        names = sorted(p.stem for p in (path / "Annotations").glob("*.xml"))
        if not names:
            raise DataError(path / "Annotations", "annotation", "no XML file in this folder")
        return names
    file = path / "ImageSets" / "Main" / f"{split}.txt"
    if not file.is_file():
        raise DataError(file, "split", f"no such file; splits here: {', '.join(splits(path)) or 'none (split=None takes every image)'}")
    lines = file.read_text().splitlines()
    names = [line.split()[0] for line in lines if line.strip()]        # "NAME", or "NAME -1" in VOC's files of one class
    if not names:
        raise DataError(file, "split", "the file is empty")
    for name, times in Counter(names).items():
        if times > 1:
            log.skip(file, name, f"stands in the split {times} times; taken once")
    return list(dict.fromkeys(names))


def _size(root, image, log, file):
    """(H, W) of the image as the annotation states it; from the image's own header where it does not."""
    try:
        height, width = (int(float(root.findtext(f"size/{side}"))) for side in ("height", "width"))
        if height > 0 and width > 0:
            return height, width
        message = f"width {width} and height {height} must be positive"
    except (TypeError, ValueError):
        message = "absent or not a number"
    log.skip(file, "size", f"{message}; taken from the image")
    return image_size(image)


def _parse_object(item, field, record, log):
    """Append one <object> to the record, or note in the log why it is skipped."""
    name = (item.findtext("name") or "").strip()
    if not name:
        return log.skip(record.file, f"{field}.name", "absent; skipped")
    corners = []
    for side in ("xmin", "ymin", "xmax", "ymax"):
        text = item.findtext(f"bndbox/{side}")
        try:
            corners.append(float(text))
            if not math.isfinite(corners[-1]):
                raise ValueError
        except (TypeError, ValueError):
            what = "absent" if text is None else f"not a number: {text.strip()!r}"
            return log.skip(record.file, f"{field}.bndbox.{side}", f"{what}; skipped")
    x1, y1, x2, y2 = corners
    # by VOC's rule xmin = xmax is one pixel wide, but nobody marks a one-pixel object: it is a click that was not a drag
    if x2 <= x1 or y2 <= y1:
        what = "is reversed" if x2 < x1 or y2 < y1 else "has zero area"
        return log.skip(record.file, f"{field}.bndbox", f"box (xmin {x1:g}, ymin {y1:g}, xmax {x2:g}, ymax {y2:g}) {what}; skipped")
    box = usable_box((x1 - 1, y1 - 1, x2, y2), record.size, log, record.file, f"{field}.bndbox")   # 1-based inclusive -> half-open
    if box is not None:
        record.boxes.append(box)
        record.names.append(name)
        record.difficult.append((item.findtext("difficult") or "0").strip() == "1")
        record.fields.append(field)
    return None
