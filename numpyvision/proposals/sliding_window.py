"""The plainest proposals: boxes of a few sizes and shapes on a regular grid, whatever the picture shows (L16-S01's other extreme)."""
import numpy as np

from numpyvision.boxes import anchors
from numpyvision.check import arguments


def sliding_window(image_size, sizes=(16, 32, 64, 128), aspect_ratios=(0.5, 1.0, 2.0), overlap=0.5, dtype=np.float32):
    """Boxes that lie wholly inside an image of size (H, W) -> (P, 4) xyxy, largest area first, then by row and column.

    A window of size s and ratio r is s sqrt(r) high and s / sqrt(r) wide, as anchors are. Neighbouring windows share at least `overlap` of
    their side, and the outermost touch the image's edges. A window larger than the image is left out; if all are, P = 0.
    """
    H, W = arguments.int_pair("image_size", image_size, 1)
    arguments.require(0 <= overlap < 1, f"overlap must be in [0, 1), got {overlap}; at 1 the window would never move")
    cells = anchors.cell_anchors(sizes, aspect_ratios)
    shapes = sorted({(float(x2 - x1), float(y2 - y1)) for x1, y1, x2, y2 in cells}, key=lambda wh: (-wh[0] * wh[1], wh))
    found = [np.zeros((0, 4))]
    for w, h in shapes:
        if w <= W and h <= H:
            y, x = np.meshgrid(_starts(H - h, h * (1 - overlap)), _starts(W - w, w * (1 - overlap)), indexing="ij")
            found.append(np.stack([x, y, x + w, y + h], axis=-1).reshape(-1, 4))                   # (rows * columns, 4)
    return np.concatenate(found).astype(dtype)


def _starts(room, step):
    """Equal steps of at most `step` from 0 to room, both ends included."""
    return np.linspace(0, room, 1 + int(np.ceil(room / step - 1e-9)))
