"""Pictures of label maps: instance masks, semantic classes, panoptic segments.

Shapes here: G objects of an image, H W its size, RGBA in [0, 1].
"""
import numpy as np

from numpyvision.plot import style

# stuff by name in the colours of nature; every other class has the colour of its label, as its boxes have
NATURE = {"sky": "#a8d5f2", "grass": "#9ccc65", "water": "#4a90c4", "sea": "#4a90c4", "trees": "#3d7a45", "road": "#9e9e9e",
          "sand": "#e8d6a0", "wall": "#d7ccc8", "floor": "#bcaaa4"}


def semantic_color(label, classes=None):
    """Colour of semantic class `label`: (r, g, b)."""
    import matplotlib.colors as colors
    name = None if classes is None else classes[label]
    return colors.to_rgb(NATURE[name]) if name in NATURE else style.class_color(label)


def shade(color, count):
    """The colour of the object number `count` of its class (0, 1, ...): the second is darker than the first, the fifth like it again."""
    return tuple((1 - 0.2 * (count % 4)) * np.array(color))


def outline(mask):
    """The pixels of a mask with a neighbour (up, down, left, right) outside it: (H, W) bool -> (H, W) bool."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def mask_layer(masks, colors, opacity=0.45):
    """One picture to lay over an image: every mask tinted, its outline solid. masks (G, H, W), colors (G, 3) -> (H, W, 4) RGBA."""
    layer = np.zeros((*np.shape(masks)[1:], 4))
    for mask, color in zip(np.asarray(masks, bool), colors, strict=True):
        layer[mask] = (*color, opacity)
        layer[outline(mask)] = (*color, 1)
    return layer


def draw_masks(masks, colors, ax):
    """Lay masks (G, H, W) bool over the image that `ax` already shows, those of one colour in shades of it. Nothing for G = 0."""
    if len(masks):
        H, W = masks[0].shape
        colors = [shade(color, colors[:g].count(color)) for g, color in enumerate(colors)]
        ax.imshow(mask_layer(masks, colors), extent=(0, W, H, 0), interpolation="nearest")
    return ax


def draw_semantic(sample, classes=None, ax=None):
    """The class of every pixel as a colour, with a legend if `classes` (names) are given. Ignored pixels (255) are white."""
    labels = np.asarray(sample.semantic)
    ax = style.image_axes(ax, labels.shape)
    present = [int(k) for k in np.unique(labels) if k != style.IGNORED]
    picture = np.ones((3, *labels.shape))
    for k in present:
        picture[:, labels == k] = np.array(semantic_color(k, classes))[:, None]
    style.show_image(picture, ax)
    if classes is not None:
        legend(ax, [(classes[k], semantic_color(k, classes)) for k in present])
    return ax


def draw_panoptic(sample, classes=None, ax=None):
    """Every segment by its class's colour, things in shades of it, with a white line between neighbours. Void is white."""
    ids = np.asarray(sample.panoptic)
    ax = style.image_axes(ax, ids.shape)
    picture, seen = np.ones((3, *ids.shape)), {}
    for segment in sample.segments:
        k = segment["category"]
        color = shade(semantic_color(k, classes), seen.get(k, 0) if segment["isthing"] else 0)
        picture[:, ids == segment["id"]] = np.array(color)[:, None]
        seen[k] = seen.get(k, 0) + 1
    border = np.zeros(ids.shape, bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    picture[:, border] = 1
    style.show_image(picture, ax)
    if classes is not None:
        names = [f"{classes[k]} x {n}" if n > 1 else classes[k] for k, n in seen.items()]
        legend(ax, [(name, semantic_color(k, classes)) for name, k in zip(names, seen, strict=True)])
    return ax


def legend(ax, entries):
    """Names and colours under the axes: entries [(name, color)]."""
    from matplotlib.patches import Patch
    handles = [Patch(color=color, label=name) for name, color in entries]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=min(4, max(1, len(handles))), fontsize=7,
              frameon=False, handlelength=1, handleheight=1, columnspacing=1)
