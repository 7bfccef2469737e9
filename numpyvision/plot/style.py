"""What all pictures share: colours by class, axes that are made when none is given, and an image shown in box coordinates.

Nothing here changes matplotlib's global settings, and matplotlib is imported only inside functions.
"""
import numpy as np

INK, GREY, PALE, PAPER = "#1b1f2a", "#7a8194", "#d9dce4", "#ffffff"
POSITIVE, NEGATIVE = "#d1495b", "#2e6fb7"        # of signed numbers: red above zero, blue below
# Twelve hues that stay apart on photographs, on white, and side by side; label 1 takes the first.
PALETTE = ("#e6194b", "#2f7ed8", "#f58231", "#3cb44b", "#911eb4", "#00a5a5", "#f032e6",
           "#9a6324", "#7cb518", "#5a4fcf", "#ffb000", "#b5179e")
IGNORED = 255


def class_color(label):
    """The colour of class `label` (1..K): an (r, g, b) tuple in [0, 1]. Beyond the palette, hues a golden angle apart. 0 is grey."""
    import matplotlib.colors as colors
    label = int(label)
    if label == 0:
        return colors.to_rgb(GREY)
    if label <= len(PALETTE):
        return colors.to_rgb(PALETTE[label - 1])
    return tuple(map(float, colors.hsv_to_rgb([0.618034 * label % 1, 0.75, 0.85])))


def text_color(color):
    """Black or white, whichever reads better on this (r, g, b)."""
    return INK if np.dot(color, (0.299, 0.587, 0.114)) > 0.62 else PAPER


def new_axes(ax, figsize=(5, 4)):
    """The axes given, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt
    return plt.subplots(figsize=figsize, layout="constrained")[1]


def image_axes(ax, size, width=4.5):
    """Axes for an image of size (H, W): the one given, or a new figure in the image's proportion with room for a title."""
    return new_axes(ax, (width, width * min(max(size[0] / size[1], 0.3), 2.5) + 0.3))


def show_image(image, ax, alpha=None):
    """Show (3, H, W) or (H, W) so that pixel i covers [i, i + 1), as boxes have it; without ticks. Values are clipped to [0, 1]."""
    image = np.clip(image, 0, 1)
    H, W = image.shape[-2:]
    pixels = image.transpose(1, 2, 0) if image.ndim == 3 else image                                      # (H, W, 3)
    ax.imshow(pixels, extent=(0, W, H, 0), cmap="gray", vmin=0, vmax=1, interpolation="nearest", alpha=alpha)
    bare(ax, (H, W))


def bare(ax, size):
    """Axes of an image of size (H, W): its limits, y downwards, no ticks, no frame."""
    ax.set(xlim=(0, size[1]), ylim=(size[0], 0), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


def plain(ax):
    """Axes of a curve: two spines, a faint grid behind the lines."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(colors=GREY, labelcolor=INK, labelsize=8)
    ax.grid(color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)


def grid(count, columns, cell, titles=()):
    """A figure of `count` axes in rows of `columns`, each of cell = (width, height) inches; titles stand over the first row.

    -> figure, list of `count` axes; places of the last row that stay empty are removed.
    """
    import matplotlib.pyplot as plt
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(cell[0] * columns, cell[1] * rows), layout="constrained", squeeze=False)
    axes = list(axes.flat)
    for ax in axes[count:]:
        ax.remove()
    for ax, title in zip(axes[:count], titles, strict=False):
        ax.set_title(title, fontsize=10, color=INK)
    return figure, axes[:count]


def save(figure, path):
    """Write the figure to a file and close it. path None: leave it open, for a notebook to show. Returns the figure."""
    if path is not None:
        import matplotlib.pyplot as plt
        figure.savefig(path, dpi=130, facecolor=PAPER)
        plt.close(figure)
    return figure
