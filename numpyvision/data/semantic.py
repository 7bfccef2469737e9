"""Semantic segmentation from any data set that says which pixels an object owns: the union of the masks of a class is that class.

Shapes here: G objects, H W the size. A map is (H, W) uint8: an index into the classes, 0 = background, 255 = ignored.
"""
from dataclasses import replace

import numpy as np

from numpyvision.data.sample import Sample

IGNORED = 255


def semantic_map(sample):
    """The class of every pixel: the sample's own map where it has one, else painted from its masks. (H, W) uint8.

    Pixels of no mask are background (0). A crowd ("many people, not told apart") is 255 where no object lies on it, because what its
    mask includes is not exact. Where masks overlap, the smaller object is seen: the cup on the table, not the table under the cup.
    """
    if sample.semantic is not None:
        return sample.semantic
    if sample.masks is None:
        raise ValueError(f"image {sample.image_id} has neither a semantic map nor masks, so the class of a pixel is not known; "
                         "a data set of boxes alone (Pascal VOC's detection part) cannot train a segmentation model")
    label_map = np.zeros(sample.size, np.uint8)
    crowd = np.zeros(len(sample), bool) if sample.iscrowd is None else sample.iscrowd
    label_map[sample.masks[crowd].any(axis=0)] = IGNORED
    objects = np.flatnonzero(~crowd)
    area = sample.masks[objects].sum(axis=(1, 2))
    for g in objects[np.argsort(-area, kind="stable")]:                  # large ones first, small ones on top
        label_map[sample.masks[g]] = sample.labels[g]
    return label_map


def semantic_classes(dataset):
    """The names that a data set's semantic maps count: its own `semantic_classes` (scenes: stuff too), else `classes`."""
    names = tuple(getattr(dataset, "semantic_classes", dataset.classes))
    if len(names) > IGNORED:
        raise ValueError(f"{dataset.name} has {len(names)} classes; a map of bytes holds {IGNORED}, because 255 means ignored")
    return names


class SemanticMaps:
    """Another data set, seen as images with label maps and nothing else: `classes` are its semantic ones, `sample.semantic` is there."""

    def __init__(self, dataset):
        self.dataset, self.classes, self.name = dataset, semantic_classes(dataset), dataset.name

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        sample = self.dataset[index]
        return replace(without_objects(sample), semantic=semantic_map(sample))


def without_objects(sample):
    """The image alone, as a sample with no object and no map."""
    return Sample(sample.image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), image_id=sample.image_id, path=sample.path,
                  scale=sample.scale)
