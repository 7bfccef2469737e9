"""Are these boxes? A message names the first bad row and what usually makes such a row."""
import numpy as np

from numpyvision import backend


def assert_is_boxes(boxes, image_size=None):
    """ValueError unless boxes is a floating (N, 4) array of finite (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2.

    With image_size = (H, W) they must also lie inside the image: 0 <= x <= W, 0 <= y <= H. No boxes, (0, 4), are boxes.
    """
    if not hasattr(boxes, "shape") or boxes.ndim != 2 or boxes.shape[1] != 4:
        got = f"{tuple(boxes.shape)}" if hasattr(boxes, "shape") else f"a {type(boxes).__name__}"
        hint = "; for no boxes use np.zeros((0, 4), np.float32)" if np.size(boxes) == 0 else (
            "; a single box needs boxes[None]" if np.shape(boxes) == (4,) else "")
        raise ValueError(f"boxes must be an (N, 4) array of (x1, y1, x2, y2), got {got}{hint}")
    if np.dtype(boxes.dtype).kind != "f":
        raise ValueError(f"boxes must be float32 or float64, got {boxes.dtype}: whole numbers would round every resize and delta")
    b = backend.to_numpy(boxes)
    x1, y1, x2, y2 = b.T
    _first_bad(b, ~np.isfinite(b).all(1), "is not finite", "exp() of a large dw or dh, or a division by a zero width")
    _first_bad(b, (x2 < x1) | (y2 < y1), "is reversed (x2 < x1 or y2 < y1)", _reversed_cause(b))
    if image_size is not None:
        height, width = image_size
        outside = (x1 < 0) | (y1 < 0) | (x2 > width) | (y2 > height)
        _first_bad(b, outside, f"leaves the image of H {height}, W {width}",
                   "a size given as (W, H) instead of (H, W), boxes not resized with their image, or clip_boxes not called")


def _first_bad(boxes, bad, fault, cause):
    if bad.any():
        row = int(np.argmax(bad))
        numbers = ", ".join(f"{v:g}" for v in boxes[row])
        raise ValueError(f"boxes[{row}] = ({numbers}) {fault}; {int(bad.sum())} of {len(boxes)} rows like it. Usual cause: {cause}")


def _reversed_cause(boxes):
    if len(boxes) and np.all(boxes[:, 2:] > 0):
        return 'boxes in (x, y, w, h): convert them with box_convert(boxes, "xywh", "xyxy")'
    return "a flip that mirrors x1 and x2 without exchanging them"
