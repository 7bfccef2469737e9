"""`Sample`: one image and all the truth its data set offers. Every data set yields it, every transform, model and metric reads it.

Shapes here: G objects of the image, H W its size. Boxes are (x1, y1, x2, y2), absolute and half-open: pixel i covers [i, i + 1).
"""
from dataclasses import dataclass

import numpy as np


@dataclass
class Sample:
    """One image with its truth; truth that the data set does not offer is None. An image without objects has G = 0, never None."""

    image: np.ndarray                     # (3, H, W) float32 RGB in [0, 1]
    boxes: np.ndarray                     # (G, 4) float32 xyxy
    labels: np.ndarray                    # (G,) int64, 1..K; 0 is the background and labels no object
    masks: np.ndarray | None = None       # (G, H, W) bool, the visible part
    keypoints: np.ndarray | None = None   # (G, 17, 3) float32 (x, y, v): v 0 not labelled, 1 hidden, 2 visible
    iscrowd: np.ndarray | None = None     # (G,) bool, COCO; None: no object is a crowd
    difficult: np.ndarray | None = None   # (G,) bool, VOC
    areas: np.ndarray | None = None       # (G,) float64, COCO's `area`: of the mask where there is one, else of the box
    semantic: np.ndarray | None = None    # (H, W) uint8, index into `dataset.semantic_classes`, 255 = ignored
    panoptic: np.ndarray | None = None    # (H, W) int64 segment id, 0 = void
    segments: list[dict] | None = None    # [{id, category (semantic class index), isthing, instance (row of boxes, or None)}]
    image_id: int | str = 0
    path: str | None = None
    scale: float = 1.0                    # how much transforms have resized the image: divide predictions by it to go back

    def __len__(self):
        """G, the number of objects."""
        return len(self.boxes)

    def __bool__(self):
        """True, also for an image without objects (`__len__` alone would make it false)."""
        return True

    @property
    def size(self):
        """(H, W) of the image."""
        return self.image.shape[-2:]
