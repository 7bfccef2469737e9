"""What slow and Fast R-CNN share: where their regions come from, and which of them the loss looks at.

Both take proposals that no network made. They are a function of the picture alone, so a model may find them itself, and because a picture
comes again every epoch (and its mirror image every other), it remembers the last few thousand.

Shapes here: images (N, 3, H, W) in [0, 1], sizes (N, 2) their true (H, W); proposals are a list of N arrays (P_i, 4).
"""
import hashlib

from numpyvision.boxes import iou, matching
from numpyvision.models.targets import split_truth
from numpyvision.proposals.selective_search import selective_search
from numpyvision.proposals.sliding_window import sliding_window

POSITIVE, NEGATIVE = 0.5, 0.3      # IoU with the truth from which on, and below which, a proposal teaches something (L16-S02)
REMEMBERED = 20000                 # pictures: 300 boxes of each are 100 MB
FINDERS = {"selective_search": lambda image, count: selective_search(image, max_boxes=count),
           "sliding_window": lambda image, count: sliding_window(image.shape[1:], dtype=image.dtype)[:count]}


class Proposer:
    """The first `count` boxes of each picture by the method `kind`, remembered by the picture's bytes, not by its name."""

    def __init__(self, kind="selective_search", count=300):
        if kind not in FINDERS:
            raise ValueError(f"proposals must be one of {', '.join(FINDERS)}, got {kind!r}")
        self.find, self.count, self.known = FINDERS[kind], count, {}

    def __call__(self, images, sizes):
        """-> [(P_i, 4)] in pixels of the batch's images; the padding is no part of a picture."""
        return [self.propose(image[:, :h, :w]) for image, (h, w) in zip(images, sizes, strict=True)]

    def propose(self, image):
        """(3, h, w) -> (P, 4), found once and remembered."""
        key = hashlib.blake2b(image.tobytes(), digest_size=16, salt=f"{image.shape[2]}".encode()).digest()
        boxes = self.known.get(key)
        if boxes is None:
            boxes = self.known[key] = self.find(image, self.count)
            boxes.flags.writeable = False
            if len(self.known) > REMEMBERED:
                del self.known[next(iter(self.known))]             # the oldest
        return boxes


def categorise(boxes, sample):
    """The lecture's three kinds (L16-S02): boxes (P, 4) -> labels (P,): 1 positive, 0 negative, -1 neutral.

    Positive: IoU >= 0.5 with some object. Negative: IoU < 0.3 with all of them. Neutral, on which the loss is silent: all between, and
    negatives in a crowd.
    """
    gt_boxes, _, ignored = split_truth(sample, boxes.dtype)
    _, labels = matching.match_boxes(iou.box_iou(gt_boxes, boxes), POSITIVE, NEGATIVE)
    return matching.ignore_inside(labels, boxes, ignored)


def without_neutral(proposals, samples):
    """The positive and the negative proposals of each image: what is neutral is never cropped, and never costs anything."""
    return [boxes[categorise(boxes, sample) >= 0] for boxes, sample in zip(proposals, samples, strict=True)]
