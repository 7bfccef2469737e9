"""Anchors: boxes of a few sizes and shapes, laid over every cell of a feature map, from which a detector starts (L16-R03).

Shapes here: A anchors a cell, (H, W) size of the feature map. Order is y, x, a: row H*W*A = ((y * W) + x) * A + a, the order of
predictions (N, A*4, H, W) after transpose(0, 2, 3, 1).
"""
import numpy as np


def cell_anchors(sizes, aspect_ratios, dtype=np.float32):
    """The anchors of one cell, centred at (0, 0).

    sizes: sides of the square of equal area, in pixels; aspect_ratios: height / width -> (A, 4) with A = len(sizes) * len(aspect_ratios),
    sizes in the outer loop. All ratios of one size have the same area: w = size / sqrt(ratio), h = size * sqrt(ratio).
    """
    sizes, roots = np.asarray(sizes, dtype=np.float64).reshape(-1), np.sqrt(np.asarray(aspect_ratios, dtype=np.float64).reshape(-1))
    if not ((sizes > 0).all() and (roots > 0).all()):
        raise ValueError(f"sizes and aspect_ratios must be positive, got {sizes.tolist()} and {np.square(roots).tolist()}")
    w = (sizes[:, None] / roots).reshape(-1)                               # (A,)
    h = (sizes[:, None] * roots).reshape(-1)                               # (A,)
    return (np.stack([-w, -h, w, h], axis=1) / 2).astype(dtype)


def grid_centers(feature_size, stride, offset=0.5, dtype=np.float32):
    """Image position of every cell's centre: feature_size (H, W) -> (H*W, 2) = (x, y), row by row.

    stride: pixels a cell, one number or (vertical, horizontal). Cell (i, j) lies at ((j + offset) * stride, (i + offset) * stride):
    with pixel i covering [i, i + 1), a cell of s pixels has its middle at (j + 0.5) s, as on the slide. Faster R-CNN used offset 0.
    """
    (H, W), (sy, sx) = feature_size, np.broadcast_to(stride, 2)
    y, x = (np.arange(H) + offset) * sy, (np.arange(W) + offset) * sx
    y, x = np.meshgrid(y, x, indexing="ij")
    return np.stack([x.reshape(-1), y.reshape(-1)], axis=1).astype(dtype)


def grid_anchors(feature_size, stride, offset=0.5, *, cell):
    """All anchors of one feature map: every cell's centre plus every anchor of `cell` (A, 4), from cell_anchors -> (H*W*A, 4).

    Anchors reach over the image's border; training keeps those too, as is usual today (the paper left them out). dtype of `cell`.
    """
    if cell.ndim != 2 or cell.shape[1] != 4:
        raise ValueError(f"cell must be (A, 4), the anchors of one cell as cell_anchors gives them, got {cell.shape}")
    centers = grid_centers(feature_size, stride, offset, dtype=cell.dtype)
    anchors = np.tile(centers, 2)[:, None] + cell                          # (H*W, 1, 4) + (A, 4) -> (H*W, A, 4)
    return anchors.reshape(-1, 4)
