"""What a detector says about one image."""
import dataclasses

import numpy as np


@dataclasses.dataclass
class Detections:
    """D found objects of one image: `boxes` (D, 4) xyxy, `labels` (D,) in 1..K, `scores` (D,), all NumPy, usually best score first.

    `len(d)`, `d[mask]`, `d[indices]`, `d[:10]` and `d[3]` (still a Detections, of one row) choose rows of all fields alike.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def __post_init__(self):
        D = len(self.scores)
        if self.boxes.shape != (D, 4) or self.labels.shape != (D,) or self.scores.shape != (D,):
            raise ValueError(f"Detections needs boxes (D, 4), labels (D,), scores (D,), "
                             f"got {self.boxes.shape}, {self.labels.shape}, {self.scores.shape}")

    @classmethod
    def empty(cls):
        """An image in which nothing was found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros((0,), np.int64), np.zeros((0,), np.float32))

    def __len__(self):
        return len(self.scores)

    def __getitem__(self, index):
        if isinstance(index, (int, np.integer)):
            index = [range(len(self))[index]]                      # one row, and IndexError past the end, which ends a `for` loop
        return dataclasses.replace(self, **{f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)})

    def scaled(self, factor):
        """The same detections with boxes times factor: `1 / sample.scale` maps them back to the photograph as it was."""
        return dataclasses.replace(self, boxes=self.boxes * self.boxes.dtype.type(factor))
