"""What a detector says about one image."""
import dataclasses

import numpy as np

from numpyvision.boxes import mask_crops


@dataclasses.dataclass
class Detections:
    """D found objects of one image: `boxes` (D, 4) xyxy, `labels` (D,) in 1..K, `scores` (D,), all NumPy, usually best score first.

    Where the detector has the branch for it, also `masks` (D, H, W) bool and `keypoints` (D, J, 3) = (x, y, v), v 2 where the detector is
    sure of the joint, 1 where it guesses, 0 where there is none; None otherwise. `more` holds further rows an object by name: mask_probs
    (D, M, M), keypoint_probs (D, J), keypoint_logits (D, J), and what heads of the user's own say. `trace` is how they came about, stage
    by stage (`models/why.py`), of `predict(..., trace=True)`.

    `len(d)`, `d[mask]`, `d[indices]`, `d[:10]` and `d[3]` (still a Detections, of one row) choose rows of all fields alike.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    more: dict = dataclasses.field(default_factory=dict)
    trace: object = dataclasses.field(default=None, repr=False, compare=False)

    def __post_init__(self):
        D = len(self.scores)
        if self.boxes.shape != (D, 4) or self.labels.shape != (D,) or self.scores.shape != (D,):
            raise ValueError(f"Detections needs boxes (D, 4), labels (D,), scores (D,), "
                             f"got {self.boxes.shape}, {self.labels.shape}, {self.scores.shape}")
        for name, rows in {"masks": self.masks, "keypoints": self.keypoints, **self.more}.items():
            if rows is not None and len(rows) != D:
                raise ValueError(f"{name} must have one row for each of the {D} detections, got {np.shape(rows)}")

    @classmethod
    def empty(cls):
        """An image in which nothing was found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros((0,), np.int64), np.zeros((0,), np.float32))

    def __len__(self):
        return len(self.scores)

    def __getitem__(self, index):
        if isinstance(index, (int, np.integer)):
            index = [range(len(self))[index]]                      # one row, and IndexError past the end, which ends a `for` loop
        choose = lambda rows: None if rows is None else rows[index]
        more = {name: choose(rows) for name, rows in self.more.items()}
        fields = ("boxes", "labels", "scores", "masks", "keypoints")
        return dataclasses.replace(self, **{name: choose(getattr(self, name)) for name in fields}, more=more)

    def why(self, i):
        """How the i-th detection came about, from its anchor to its score -> an Explanation to print."""
        return self._traced().why(int(self.more["candidate"][i]))

    def explain_missing(self, gt_box, gt_label, iou_threshold=0.5):
        """Where the object of this box and label was lost -> an Explanation to print, whose `cause` is one word."""
        return self._traced().explain_missing(gt_box, gt_label, iou_threshold)

    def _traced(self):
        if self.trace is None:
            raise ValueError("these detections do not know how they came about; predict with trace=True")
        return self.trace

    def with_rows(self, **rows):
        """The same detections with these fields: `masks` and `keypoints` by their names, any other one into `more`."""
        own = {name: rows.pop(name) for name in ("masks", "keypoints") if name in rows}
        return dataclasses.replace(self, **own, more={**self.more, **rows})

    def scaled(self, factor, size=None):
        """The same detections with coordinates times factor: `1 / sample.scale` maps them back to the photograph as it was.

        Masks are pasted anew from their `mask_probs`, into an image of `size` (H, W), which they need.
        """
        kind = self.boxes.dtype.type
        moved = dataclasses.replace(self, boxes=self.boxes * kind(factor))
        if self.keypoints is not None:
            moved.keypoints = self.keypoints * np.array([factor, factor, 1], self.keypoints.dtype)
        if self.masks is not None and (factor != 1 or size not in (None, self.masks.shape[1:])):
            if size is None or "mask_probs" not in self.more:
                raise ValueError("masks are scaled by pasting them anew: give the size (H, W) of the image, and keep more['mask_probs']")
            moved.masks = mask_crops.paste_masks(self.more["mask_probs"], moved.boxes, size)
        return moved
