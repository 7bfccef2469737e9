"""Pictures of anchors: where they lie, and which of them the matching made positive."""
import numpy as np

from numpyvision.plot import boxes as box_pictures
from numpyvision.plot import style

POSITIVE, NEUTRAL = "#3cb44b", "#f5a623"


def draw_anchors(anchors, image_size, image=None, labels=None, gt_boxes=None, ax=None):
    """Anchors (M, 4) over an image of size (H, W), which they may leave: the picture grows to hold those drawn.

    Without labels: a dot at every centre, and all anchors of the one nearest to the middle. With labels (M,) as match_boxes gives them:
    the positive ones (1), and the neutral ones (-1) thin and dashed; negative ones (0) are only counted, for they are nearly all.
    """
    anchors, (H, W) = np.asarray(anchors), image_size
    ax = style.image_axes(ax, image_size)
    if image is not None:
        style.show_image(image, ax, alpha=0.75)
    box_pictures.draw_rectangles([(0, 0, W, H)], [style.GREY], ax, linewidth=1)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2                                                      # (M, 2)
    if labels is None:
        nearest = centers[np.linalg.norm(centers - (W / 2, H / 2), axis=1).argmin()] if len(anchors) else 0
        shown = [np.flatnonzero((np.abs(centers - nearest) < 1e-3).all(1))]
        ax.scatter(*np.unique(centers, axis=0).T, s=4, color=style.INK, zorder=3)
        box_pictures.draw_rectangles(anchors[shown[0]], [style.class_color(a + 1) for a in range(len(shown[0]))], ax)
        ax.set_title(f"{len(anchors)} anchors, {len(shown[0])} a place", fontsize=10, color=style.INK)
    else:
        shown = [np.flatnonzero(np.asarray(labels) == value) for value in (1, -1)]
        box_pictures.draw_rectangles(anchors[shown[1]], [NEUTRAL] * len(shown[1]), ax, linewidth=0.8, linestyle="--")
        box_pictures.draw_rectangles(anchors[shown[0]], [POSITIVE] * len(shown[0]), ax)
        counts = len(shown[0]), int((np.asarray(labels) == 0).sum()), len(shown[1])
        ax.set_title("{} positive, {} negative, {} neutral".format(*counts), fontsize=10, color=style.INK)
    if gt_boxes is not None:
        box_pictures.draw_rectangles(gt_boxes, [style.PAPER] * len(gt_boxes), ax, linewidth=2)
    corners = np.concatenate([anchors[np.concatenate(shown)], [[0, 0, W, H]]])
    low, high = corners[:, :2].min(0) - 2, corners[:, 2:].max(0) + 2
    ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    return ax
