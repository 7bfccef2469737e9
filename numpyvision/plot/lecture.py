"""The drawing board of the lecture's figures: one pair of axes counted in cells, arrays as boards of numbers, arrows and captions.

A figure is 12 inches wide whatever it shows, with lettering that can be read from the last row. y points down, so that row i of a board
at corner (x, y) is y + i. Everything drawn is computed from arrays by the operations themselves.
"""
import numpy as np

from numpyvision.plot import style

INCHES = 12
HUES = ("#2f7ed8", "#e6194b", "#2ca25f", "#f58231", "#911eb4", "#00a5a5", "#9a6324", "#5a4fcf", "#b5179e")
TITLE, LABEL, NUMBER, NOTE = 21, 15, 17, 13


def canvas(width, height, title, note=None):
    """Axes of width x height units without a frame, y down: a title at the top left, a grey note at the bottom left."""
    import matplotlib.pyplot as plt
    figure = plt.figure(figsize=(INCHES, INCHES * height / width))
    ax = figure.add_axes([0, 0, 1, 1])
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    ax.axis("off")
    figure.text(0.03, 1 - 0.35 / figure.get_figheight(), title, fontsize=TITLE, color=style.INK, weight="bold", va="top")
    if note:
        figure.text(0.03, 0.22 / figure.get_figheight(), note, fontsize=NOTE, color="#555d70", va="bottom", linespacing=1.45)
    return ax


def inset(ax, x, y, width, height):
    """Axes of their own in the rectangle (x, y, width, height) of a canvas: for a curve or an image beside the boards."""
    total_w, total_h = ax.get_xlim()[1], ax.get_ylim()[0]
    return ax.figure.add_axes([x / total_w, 1 - (y + height) / total_h, width / total_w, height / total_h])


def tint(color, strength=0.3):
    """A colour mixed with white: strength 0 is white, 1 the colour."""
    from matplotlib.colors import to_rgb
    return tuple(1 - strength * (1 - np.array(to_rgb(color))))


def blend(weights, hues=HUES):
    """One colour from many by weights (n,), as paint: negative weights count nothing."""
    from matplotlib.colors import to_rgb
    w = np.maximum(np.asarray(weights, float), 0)
    return tuple(np.clip(w @ np.array([to_rgb(h) for h in hues[:len(w)]]) / max(w.sum(), 1e-9), 0, 1))


def board(ax, values, x, y, colors=None, cell=1.0, width=None, size=NUMBER, fmt="{:g}", bold=()):
    """A small array as cells with their numbers (or any text) in them. values (H, W), None, nan or "" leaves a cell empty.

    x, y: the board's top left corner; colors (H, W) of colours or None; cell, width: height and width of a cell; bold: cells (i, j).
    """
    from matplotlib.patches import Rectangle
    H, W, width = len(values), len(values[0]), width or cell
    for i in range(H):
        for j in range(W):
            color = "white" if colors is None or colors[i][j] is None else colors[i][j]
            ax.add_patch(Rectangle((x + j * width, y + i * cell), width, cell, facecolor=color, edgecolor="#8a91a5", linewidth=1.0))
            value = values[i][j]
            if value is None or isinstance(value, str) and not value or isinstance(value, float) and np.isnan(value):
                continue
            text = fmt.format(value + 0.0) if isinstance(value, int | float | np.number) else str(value)
            ax.text(x + (j + 0.5) * width, y + (i + 0.5) * cell, text, ha="center", va="center", fontsize=size, color=style.INK,
                    weight="bold" if (i, j) in bold else "normal")
    frame(ax, x, y, x + W * width, y + H * cell, style.INK, linewidth=1.6)


def frame(ax, x1, y1, x2, y2, color, linewidth=2.0, **more):
    """The outline of a rectangle."""
    from matplotlib.patches import Rectangle
    patch = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=linewidth, **more)
    ax.add_patch(patch)
    return patch


def arrow(ax, start, end, text=None, color=style.INK, linewidth=2.0, size=NOTE, above=0.25, curve=0.0):
    """An arrow from start to end (x, y), with a text above its middle."""
    from matplotlib.patches import FancyArrowPatch
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, color=color, linewidth=linewidth, shrinkA=0, shrinkB=0,
                                 connectionstyle=f"arc3,rad={curve}", zorder=4))
    if text:
        ax.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 - above, text, ha="center", va="bottom", fontsize=size, color=color)


def label(ax, x, y, text, size=LABEL, color=style.INK, ha="center", va="center", **more):
    """A text."""
    return ax.text(x, y, text, fontsize=size, color=color, ha=ha, va=va, **more)


def dots(ax, x, y, filled=True, size=60, color=style.INK, **more):
    """Points: filled, or rings."""
    ax.scatter(x, y, s=size, color=color if filled else "white", edgecolors=color, linewidths=1.6, **{"zorder": 5, **more})


def bracket(ax, x, y, height, left=True, width=0.16):
    """One side of the brackets of a matrix."""
    inner = x + width if left else x - width
    ax.plot([inner, x, x, inner], [y, y, y + height, y + height], color=style.INK, linewidth=2.0, solid_capstyle="butt")


def matrix(ax, entries, x, y, cell=1.0, size=NUMBER, color_of=None, width=None):
    """A matrix in brackets, entries (H, W) without boxes -> its right edge. width: of a column; color_of(entry): its text's colour."""
    entries, width = np.atleast_2d(np.asarray(entries, dtype=object)), width or cell
    H, W = entries.shape
    for i in range(H):
        for j in range(W):
            entry = entries[i, j]
            color = color_of(entry) if color_of else style.INK
            ax.text(x + 0.25 + (j + 0.5) * width, y + (i + 0.5) * cell, str(entry), ha="center", va="center", fontsize=size, color=color,
                    style="normal" if str(entry) == "0" else "italic")
    bracket(ax, x, y, H * cell)
    bracket(ax, x + 0.5 + W * width, y, H * cell, left=False)
    return x + 0.5 + W * width
