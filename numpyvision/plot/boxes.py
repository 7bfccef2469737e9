"""Pictures of objects: boxes with readable labels, masks, keypoints; truth beside prediction; a page of samples.

Shapes here: G objects, boxes (G, 4) xyxy, masks (G, H, W) bool, keypoints (G, 17, 3) = (x, y, v). Image pixel i covers [i, i + 1).
"""
import numpy as np

from numpyvision.plot import masks as mask_pictures
from numpyvision.plot import style

# COCO's 17 joints, the limbs between them: head, arms, trunk, legs
LIMBS = ((0, 1), (0, 2), (1, 3), (2, 4), (5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (5, 11), (6, 12), (11, 12),
         (11, 13), (13, 15), (12, 14), (14, 16))
CROWD = 21               # from so many objects on (a trace shows 20), tags would hide what they name, and colours alone tell classes apart
LETTER = 0.62            # width of an average letter over the font's size: wide enough for the estimate to err on the safe side


def draw_boxes(image, boxes, labels=None, scores=None, classes=None, masks=None, keypoints=None, ax=None):
    """An image with its objects. Labels are named by `classes` if given, tags never hang over the image's edge.

    image (3, H, W) in [0, 1]; boxes (G, 4); labels (G,); scores (G,); masks (G, H, W); keypoints (G, J, 3). G = 0 shows the image alone.
    """
    boxes, G = np.reshape(boxes, (-1, 4)), len(np.reshape(boxes, (-1, 4)))
    ax = style.image_axes(ax, image.shape[1:])
    style.show_image(image, ax)
    colors = object_colors(np.ones(G, int) if labels is None else labels, classes)
    if masks is not None:
        mask_pictures.draw_masks(masks, colors, ax)
    draw_rectangles(boxes, colors, ax)
    if keypoints is not None:
        for joints in keypoints:
            draw_joints(joints, ax)
    texts = [tag_text(None if labels is None else labels[g], None if scores is None else scores[g], classes) for g in range(G)]
    draw_tags(boxes, texts, colors, image.shape[1:], ax)
    style.bare(ax, image.shape[1:])
    return ax


def object_colors(labels, classes=None):
    """A colour a class; an object, where there is one class besides the background, so that neighbours are told apart."""
    return [style.class_color(k) for k in (range(1, len(labels) + 1) if classes is not None and len(classes) == 2 else labels)]


def draw_rectangles(boxes, colors, ax, linewidth=None, **options):
    """One rectangle a box, over a wider dark one, so that it shows on a background of its own colour too. Thinner in small axes."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke
    linewidth = linewidth or float(np.clip(points(ax).min() / 150, 0.8, 1.6))
    shadow = [Stroke(linewidth=linewidth + 1.2, foreground=style.INK, alpha=0.45), Normal()]
    for (x1, y1, x2, y2), color in zip(boxes, colors, strict=True):
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=linewidth, path_effects=shadow,
                               **options))


def points(ax):
    """Width and height of the axes in points (1/72 inch), the unit of fonts and lines."""
    return 72 * np.array([ax.bbox.width, ax.bbox.height]) / ax.figure.dpi


def tag_text(label, score, classes):
    """"cat 0.93", or as much of it as is known."""
    name = "" if label is None else str(label) if classes is None else str(classes[int(label)])
    return f"{name} {score:.2f}".strip() if score is not None else name


def draw_tags(boxes, texts, colors, size, ax):
    """The name of each box at a corner of it, inside the image, clear of the other tags where there is room; none in a crowd."""
    if len(boxes) >= CROWD:
        return
    H, W = size
    scale = max(np.array([W, H]) / points(ax))                             # image pixels a point
    fontsize = float(np.clip(points(ax).min() / 26, 5, 9) * np.clip(12 / max(len(boxes), 1), 0.8, 1))
    taken = []
    for box, text, color in zip(boxes, texts, colors, strict=True):
        if text:
            width, height = (LETTER * len(text) + 0.5) * fontsize * scale, 1.5 * fontsize * scale
            x, y = place_tag(box, width, height, size, taken)
            taken.append((x, y, x + width, y + height))
            ax.text(x + width / 2, y + height / 2, text, fontsize=fontsize, color=style.text_color(color),
                    ha="center", va="center_baseline",
                    bbox={"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": "none", "alpha": 0.9})


def place_tag(box, width, height, size, taken):
    """Top left corner of a tag for `box`: the first of six places at its corners that meets no taken one, moved into the image.

    taken: [(x1, y1, x2, y2)] of earlier tags. Where every place is taken, the one with the least overlap.
    """
    x1, y1, x2, y2 = box
    places = [(x1, y1 - height), (x2 - width, y1 - height), (x1, y2), (x2 - width, y2), (x1, y1), (x2 - width, y2 - height)]
    clip = lambda value, room: float(min(max(value, 0), max(room, 0)))
    places = [(clip(x, size[1] - width), clip(y, size[0] - height)) for x, y in places]

    def overlap(place):
        x, y = place
        return sum(max(0, min(x + width, b[2]) - max(x, b[0])) * max(0, min(y + height, b[3]) - max(y, b[1])) for b in taken)
    return min(places, key=overlap)                                        # min keeps the first of equals


def draw_joints(joints, ax, limbs=LIMBS):
    """A person's keypoints (J, 3): seen joints filled, hidden ones hollow, unlabelled ones absent, limbs between labelled joints."""
    joints = np.asarray(joints)
    labelled, seen = joints[:, 2] > 0, joints[:, 2] == 2
    for i, j in limbs if len(joints) == 17 else ():
        if labelled[i] and labelled[j]:
            ax.plot(joints[[i, j], 0], joints[[i, j], 1], color=style.PAPER, linewidth=1.4, alpha=0.8, solid_capstyle="round")
    ax.scatter(*joints[labelled & seen, :2].T, s=9, color="#ffd23f", edgecolors=style.INK, linewidths=0.5, zorder=3)
    ax.scatter(*joints[labelled & ~seen, :2].T, s=9, facecolors="none", edgecolors="#ffd23f", linewidths=0.8, zorder=3)


def draw_sample(sample, classes=None, ax=None):
    """A sample's image with all the truth about its objects. Crowd regions are named "crowd ...", difficult objects "... ?"."""
    names = None if classes is None else list(classes)
    ax = draw_boxes(sample.image, np.zeros((0, 4)), ax=ax)
    texts = [tag_text(k, None, names) for k in sample.labels]
    if sample.iscrowd is not None:
        texts = [f"crowd {t}" if c else t for t, c in zip(texts, sample.iscrowd, strict=True)]
    if sample.difficult is not None:
        texts = [f"{t} ?" if d else t for t, d in zip(texts, sample.difficult, strict=True)]
    colors = object_colors(sample.labels, classes)
    if sample.masks is not None:
        mask_pictures.draw_masks(sample.masks, colors, ax)
    draw_rectangles(sample.boxes, colors, ax)
    for joints in sample.keypoints if sample.keypoints is not None else ():
        draw_joints(joints, ax)
    draw_tags(sample.boxes, texts, colors, sample.size, ax)
    style.bare(ax, sample.size)
    return ax


def draw_page(samples, classes, columns=4, path=None):
    """Samples with their truth, in rows of `columns` -> figure (saved to `path` and closed, if given)."""
    samples = list(samples)
    figure, axes = style.grid(len(samples), columns, cell_of(samples, 2.6))
    for sample, ax in zip(samples, axes, strict=True):
        draw_sample(sample, classes, ax)
        ax.set_title(str(sample.image_id), fontsize=7, color=style.GREY, pad=2)
    return style.save(figure, path)


def draw_truth_and_predictions(samples, detections, classes, path=None, min_score=0.5):
    """Truth beside prediction, one or two pairs a row -> figure (saved to `path` and closed, if given).

    detections: one a sample, with boxes (D, 4), labels (D,), scores (D,) and perhaps masks, keypoints; those under min_score are left out.
    """
    samples, pairs = list(samples), 1 if len(samples) < 4 else 2
    titles = ["truth", "prediction"] * pairs
    figure, axes = style.grid(2 * len(samples), 2 * pairs, cell_of(samples, 3), titles)
    for sample, found, truth_ax, ax in zip(samples, detections, axes[::2], axes[1::2], strict=True):
        draw_sample(sample, classes, truth_ax)
        kept = np.flatnonzero(np.asarray(found.scores) >= min_score)
        more = {name: np.asarray(rows)[kept] for name in ("masks", "keypoints") if (rows := getattr(found, name, None)) is not None}
        draw_boxes(sample.image, found.boxes[kept], found.labels[kept], found.scores[kept], classes, ax=ax, **more)
    return style.save(figure, path)


def cell_of(samples, width):
    """(width, height) in inches of a cell that suits most of the images, with room for a title."""
    ratios = [s.size[0] / s.size[1] for s in samples]
    return width, width * float(np.clip(np.median(ratios) if ratios else 1, 0.3, 2)) + 0.22
