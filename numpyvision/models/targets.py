"""What a detector takes from a `Sample` to learn from."""
import numpy as np


def unsure_objects(sample):
    """(G,) bool: a COCO crowd ("many people here") and a VOC "difficult" object are no objects to find."""
    unsure = np.zeros(len(sample.labels), bool)
    for flags in (sample.iscrowd, sample.difficult):
        if flags is not None:
            unsure = unsure | flags
    return unsure


def split_truth(sample, dtype):
    """The objects to find, and the regions about which nothing is known.

    -> gt_boxes (G, 4), gt_labels (G,), ignored (M, 4). A prediction on a crowd or on a difficult object is no mistake either: they are
    regions whose negatives stay out of the loss.
    """
    unsure, boxes = unsure_objects(sample), sample.boxes.astype(dtype)
    return boxes[~unsure], sample.labels[~unsure], boxes[unsure]
