"""Which pyramid level does a box belong to? Large boxes are cropped from coarse levels, small ones from fine levels."""
import numpy as np

from numpyvision import backend
from numpyvision.boxes import convert


def assign_levels(boxes, min_level, max_level, canonical_size=224, canonical_level=4):
    """Pyramid level of every box (level l has stride 2^l).

    boxes (N, 4) xyxy in image pixels -> (N,) int64 in [min_level, max_level]. A box of canonical_size^2 pixels goes to canonical_level;
    half the side, one level finer. An empty or reversed box goes to the finest level.
    """
    convert.require_boxes("boxes", boxes)
    if min_level > max_level:
        raise ValueError(f"min_level must be <= max_level, got {min_level} and {max_level}")
    xp = backend.get_array_module(boxes)
    # FPN Eq. (1): k = floor(4 + log2(sqrt(wh) / 224)); + 1e-8 so that a zero-area box lands on the finest level
    k = xp.floor(canonical_level + xp.log2(xp.sqrt(convert.box_area(boxes)) / canonical_size + 1e-8))
    return xp.clip(k, min_level, max_level).astype(np.int64)
