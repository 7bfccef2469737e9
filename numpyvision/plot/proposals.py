"""Pictures of proposals: the hierarchy of selective search from coarse to fine, and recall against the number of boxes.

Shapes here: image (3, H, W); regions (H, W), the number of the region that owns each pixel.
"""
import numpy as np

from numpyvision.plot import boxes as box_pictures
from numpyvision.plot import style


def draw_regions(image, regions, ax=None):
    """Every region in the mean colour of its pixels, white lines between them."""
    _, flat = np.unique(regions, return_inverse=True)
    flat = flat.reshape(-1)
    mean = np.stack([np.bincount(flat, channel.ravel()) for channel in image]) / np.bincount(flat)  # (3, regions)
    picture = mean[:, flat].reshape(image.shape)
    edge = np.zeros(regions.shape, bool)
    edge[:, 1:] |= regions[:, 1:] != regions[:, :-1]
    edge[1:] |= regions[1:] != regions[:-1]
    ax = style.image_axes(ax, regions.shape)
    style.show_image(np.where(edge, 1.0, picture), ax)
    ax.set_title(f"{mean.shape[1]} region{'s' * (mean.shape[1] != 1)}", fontsize=10, color=style.INK)
    return ax


def draw_boxes(image, proposals, gt_boxes=(), ax=None):
    """The image under its proposals (P, 4), thin, and the truth (G, 4), thick."""
    ax = style.image_axes(ax, image.shape[1:])
    style.show_image(image, ax, alpha=0.6)
    box_pictures.draw_rectangles(proposals, [style.NEGATIVE] * len(proposals), ax, linewidth=0.5)
    box_pictures.draw_rectangles(gt_boxes, [style.POSITIVE] * len(gt_boxes), ax, linewidth=2)
    style.bare(ax, image.shape[1:])
    ax.set_title(f"{len(proposals)} boxes", fontsize=10, color=style.INK)
    return ax


def draw_hierarchy(image, levels, proposals=None, path=None):
    """The image, its regions from coarse to fine, and with proposals (P, 4) the image under all of them.

    levels: maps (H, W), such as [hierarchy.at(n) for n in (3, 8, 20, 60)] -> figure; saved to path if one is given.
    """
    count = 1 + len(levels) + (proposals is not None)
    figure, axes = style.grid(count, min(count, 6), (2.2, 2.4))
    style.show_image(image, axes[0])
    axes[0].set_title("the image", fontsize=10, color=style.INK)
    for ax, regions in zip(axes[1:], levels, strict=False):
        draw_regions(image, regions, ax)
    if proposals is not None:
        draw_boxes(image, proposals, ax=axes[-1])
    return style.save(figure, path)


def plot_recall(counts, recalls, ax=None):
    """Recall against the number of proposals: counts (n,), recalls {name: (n,)}, one line a name."""
    ax = style.new_axes(ax)
    for k, (name, recall) in enumerate(recalls.items()):
        ax.plot(counts, recall, color=style.class_color(k + 1), label=name, linewidth=1.8)
    ax.set_xscale("log")
    ax.set(ylim=(0, 1.02), xlabel="boxes an image", ylabel="objects covered (IoU >= 0.5)")
    style.plain(ax)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return ax
