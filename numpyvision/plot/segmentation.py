"""Pictures of a label map against the truth: image, truth, prediction, and where they differ.

Shapes here: H W the size; label maps (H, W) of class indices, 255 = ignored.
"""
import numpy as np

from numpyvision.plot import masks, style

COLUMNS = ("image", "truth", "prediction", "errors")


def paint(labels, classes=None):
    """A label map in the colours of its classes, ignored pixels white: (H, W) -> (3, H, W) in [0, 1]."""
    labels = np.asarray(labels)
    picture = np.ones((3, *labels.shape))
    for k in present(labels):
        picture[:, labels == k] = np.array(masks.semantic_color(k, classes))[:, None]
    return picture


def present(*maps):
    """The classes that occur in any of the maps, in order, without the ignored."""
    return sorted({int(k) for labels in maps for k in np.unique(labels)} - {style.IGNORED})


def draw_labels(labels, classes=None, ax=None):
    """A label map, no legend."""
    ax = style.image_axes(ax, np.shape(labels))
    style.show_image(paint(labels, classes), ax)
    return ax


def draw_overlay(image, labels, classes=None, ax=None, opacity=0.55):
    """A label map over its image, with a legend if `classes` (names) are given."""
    ax = style.image_axes(ax, np.shape(labels))
    style.show_image((1 - opacity) * np.asarray(image) + opacity * paint(labels, classes), ax)
    if classes is not None:
        masks.legend(ax, [(classes[k], masks.semantic_color(k, classes)) for k in present(labels)])
    return ax


def pale(image):
    """A background to draw on: the image in light grey, its darkest pixel at 0.6 and its brightest white. (3, H, W) -> (H, W)."""
    grey = np.asarray(image).mean(axis=0)
    span = grey.max() - grey.min()
    return 0.6 + 0.4 * (grey - grey.min()) / span if span > 0 else np.ones(grey.shape)


def draw_errors(truth, prediction, image=None, ax=None):
    """Wrong pixels in red over the paled image (or over white); right ones keep the grey of the image, ignored ones are white."""
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    ax = style.image_axes(ax, truth.shape)
    grey = np.ones(truth.shape) if image is None else pale(image)
    picture = np.repeat(grey[None], 3, axis=0)
    known = truth != style.IGNORED
    picture[:, ~known] = 1
    import matplotlib.colors as colors
    picture[:, known & (truth != prediction)] = np.array(colors.to_rgb(style.POSITIVE))[:, None]
    style.show_image(picture, ax)
    return ax


def draw_comparison(sample, prediction, classes=None, axes=None):
    """One row of four: image, truth, prediction, errors. axes: four of them, or None for a new figure. Returns the axes."""
    axes = style.grid(4, 4, (2.6, 2.7), COLUMNS)[1] if axes is None else axes
    height, width = sample.size
    for ax in axes:
        style.image_axes(ax, (height, width))
    style.show_image(sample.image, axes[0])
    draw_labels(sample.semantic, classes, axes[1])
    draw_labels(prediction, classes, axes[2])
    draw_errors(sample.semantic, prediction, sample.image, axes[3])
    known = sample.semantic != style.IGNORED
    right = (sample.semantic == prediction)[known].mean() if known.any() else float("nan")
    axes[3].set_xlabel(f"{100 * right:.1f} % of the pixels right", fontsize=8, color=style.GREY)
    return axes


def draw_page(samples, predictions, classes=None, path=None):
    """A row of four for every sample, and one legend below for all of them. Saved at `path`, or returned open if it is None."""
    figure, axes = style.grid(4 * len(samples), 4, (2.6, 2.75), COLUMNS)
    for row, (sample, prediction) in enumerate(zip(samples, predictions, strict=True)):
        draw_comparison(sample, prediction, classes, axes[4 * row:4 * row + 4])
    if classes is not None and samples:
        shown = present(*(s.semantic for s in samples), *predictions)
        entries = [(classes[k], masks.semantic_color(k, classes)) for k in shown]
        from matplotlib.patches import Patch
        figure.legend(handles=[Patch(color=color, label=name) for name, color in entries], loc="outside lower center",
                      ncols=min(6, len(entries)), fontsize=9, frameon=False, handlelength=1, handleheight=1)
    return style.save(figure, path)
