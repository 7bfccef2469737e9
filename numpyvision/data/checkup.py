"""A check of a whole data set: every fault at once, with file and field, and what the data look like.

`check_dataset("PATH")` opens every split, reads every image and decodes every mask, so that a training run cannot stumble over one of them
hours later. Shapes here: K classes, B boxes of the whole set, N images.
"""
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from numpyvision.data.coco import COCO
from numpyvision.data.faults import DataError, Fault, FaultLog
from numpyvision.data.open import open_dataset, parse_spec
from numpyvision.data.voc import VOC, split_ids, splits


@dataclass
class Statistics:
    """Numbers to draw (plot/datasets.py): what is in a data set."""
    classes: tuple                        # K names, without the background
    class_counts: np.ndarray              # (K,) objects of each class
    box_sizes: np.ndarray                 # (B,) sqrt(width * height) in pixels
    aspect_ratios: np.ndarray             # (B,) height / width, as anchors have it
    objects_per_image: np.ndarray         # (N,)
    image_sizes: np.ndarray               # (N, 2) height, width
    truths: dict                          # "masks", "crowd regions", ... -> on how many objects


@dataclass
class Report:
    """What a check found. `print(report)` is the whole story."""
    name: str
    splits: dict                          # split -> number of images
    statistics: Statistics
    faults: list[Fault] = field(default_factory=list)

    @property
    def ok(self):
        """True if nothing is wrong."""
        return not self.faults

    def __str__(self):
        s = self.statistics
        lines = [f"{self.name}: {len(s.image_sizes)} images, {len(s.box_sizes)} objects, {len(s.classes)} classes"]
        lines += [f"  split {split:<12} {count:6d} images" for split, count in self.splits.items()]
        lines += [f"  class {name:<12} {count:6d} objects" for name, count in zip(s.classes, s.class_counts, strict=True) if count]
        unused = [name for name, count in zip(s.classes, s.class_counts, strict=True) if not count]
        lines += [f"  {len(unused)} classes without any object"] if unused else []
        if len(s.image_sizes):
            lines.append(f"  image height {_spread(s.image_sizes[:, 0])}, width {_spread(s.image_sizes[:, 1])} px (least / median / most)")
            lines.append(f"  objects in an image {_spread(s.objects_per_image)}")
        if len(s.box_sizes):
            lines.append(f"  box size (sqrt of area) {_spread(s.box_sizes)} px, aspect (height / width) {_spread(s.aspect_ratios)}")
        lines += [f"  {count} objects {what}" for what, count in s.truths.items() if count]
        lines += ["no faults" if self.ok else f"{len(self.faults)} fault{'s' * (len(self.faults) > 1)}:"]
        return "\n".join(lines + [f"  {fault}" for fault in self.faults])


def check_dataset(spec, progress=False):
    """Check the data set at a PATH, or of a spec ("voc:PATH", "coco:PATH", "scenes:COUNT") -> Report. progress: show a bar."""
    kind, rest = parse_spec(spec)
    log = FaultLog(collect=True)
    if kind == "voc":
        datasets, counts = _open_voc(Path(rest), log)
    elif kind == "coco":
        datasets, counts = _open_coco(Path(rest), log)
    else:
        datasets = [open_dataset(spec)]
        counts = {"train": len(datasets[0])}
    statistics = _read_everything(datasets, log, progress)
    return Report(str(spec), counts, statistics, list(dict.fromkeys(log.faults)))   # an image of two splits is named once


def _open_voc(path, log):
    """All annotations of the folder as one data set, and {split: number of images}; splits are checked against them."""
    there, members = {file.stem for file in (path / "Annotations").glob("*.xml")}, {}
    for split in splits(path):
        try:
            names = split_ids(path, split, log)
        except DataError as error:
            log.faults.append(Fault(error.file, error.field, error.message))
            continue
        members[split] = [name for name in names if name in there]
        for name in sorted(set(names) - there):
            log.fail(path / "Annotations" / f"{name}.xml", "annotation", f"no such file, but the split {split} names it")
    _shared_images(members, path / "ImageSets" / "Main", log)
    try:
        return [VOC(path, None, log=log)], {split: len(ids) for split, ids in members.items()}
    except DataError as error:
        log.faults.append(Fault(error.file, error.field, error.message))
        return [], {}


def _open_coco(path, log):
    """Every instances*.json of the folder (or the file itself) as a data set, and {split: number of images}."""
    files = [path] if path.suffix == ".json" else sorted(path.glob("instances*.json")) + sorted(path.glob("annotations/instances*.json"))
    if not files:
        log.fail(path, "annotations", "no instances*.json here or in annotations/")
    datasets, members = [], {}
    for file in files:
        split = file.stem.removeprefix("instances").strip("_") or file.stem
        try:
            datasets.append(COCO(file, split, log=log))
            members[split] = [image["file_name"] for image in datasets[-1]._images]
        except DataError as error:
            log.faults.append(Fault(error.file, error.field, error.message))
    _shared_images(members, path, log)
    return datasets, {split: len(names) for split, names in members.items()}


def _shared_images(members, file, log):
    """An image that is trained on and validated on makes every AP a lie."""
    for train, val in (("train", "val"), ("train", "test"), ("train2017", "val2017")):
        shared = sorted(set(members.get(train, ())) & set(members.get(val, ())))
        if shared:
            log.skip(file, f"{train}, {val}", f"{len(shared)} images are in both splits, such as {shared[0]}")


def _read_everything(datasets, log, progress):
    """Read every sample; collect numbers, and the faults that only reading shows."""
    classes = max((dataset.classes for dataset in datasets), key=len, default=("background",))
    counts, truths, sizes, aspects, objects, image_sizes = Counter(), Counter(), [], [], [], []
    for dataset in datasets:
        for index in _bar(range(len(dataset)), dataset.name, progress):
            try:
                sample = dataset[index]
            except DataError as error:
                log.faults.append(Fault(error.file, error.field, error.message))
                continue
            _twins(sample, dataset, log)
            extent = (sample.boxes[:, 2:] - sample.boxes[:, :2]).astype(np.float64)   # (G, 2) width, height
            counts.update(dataset.classes[label] for label in sample.labels)
            sizes.append(np.sqrt(extent.prod(axis=1)))
            aspects.append(extent[:, 1] / extent[:, 0])
            truths.update(_truths(sample))
            objects.append(len(sample.boxes))
            image_sizes.append(sample.image.shape[1:])
    join = lambda parts: np.concatenate(parts) if parts else np.zeros(0)
    return Statistics(classes[1:], np.array([counts[name] for name in classes[1:]], np.int64), join(sizes), join(aspects),
                      np.array(objects, np.int64), np.array(image_sizes, np.int64).reshape(-1, 2), dict(truths))


def _truths(sample):
    """What is known of the objects beyond class and box -> {what: number of objects}."""
    return {"with a mask": 0 if sample.masks is None else len(sample.masks),
            "with labelled keypoints": 0 if sample.keypoints is None else int((sample.keypoints[..., 2] > 0).any(axis=1).sum()),
            "are crowd regions": 0 if sample.iscrowd is None else int(sample.iscrowd.sum()),
            "are difficult": 0 if sample.difficult is None else int(sample.difficult.sum())}


def _twins(sample, dataset, log):
    """The same box with the same class twice: one of them will always count as a missed object."""
    seen = Counter((int(label), *box) for label, box in zip(sample.labels, sample.boxes.tolist(), strict=True))
    for (label, *box), times in seen.items():
        if times > 1:
            shown = ", ".join(f"{v:g}" for v in box)
            log.skip(sample.path or dataset.name, f"objects of class {dataset.classes[label]}", f"{times} have the same box ({shown})")


def _bar(items, name, progress):
    if not progress:
        return items
    from tqdm.auto import tqdm
    return tqdm(items, desc=f"reading {name}", unit="image", leave=False)


def _spread(values):
    """Least, median and greatest, in few characters."""
    return " / ".join(f"{v:.3g}" for v in (np.min(values), np.median(values), np.max(values)))
