"""Pictures for the exercises about boxes and anchors: `NAME(figure, function)`; the function may be a student's.

What is drawn comes out of the function: a wrong function draws a wrong picture.
"""
import numpy as np

from numpyvision.exercises.pictures_losses import *  # noqa: F403  (one place to look for: the drawer finds a picture by its name here)
from numpyvision.exercises.pictures_targets import *  # noqa: F403

BLUE, ORANGE, GREEN, RED, GREY = "C0", "C1", "C2", "C3", "0.6"


def outline(ax, box, colour=BLUE, text="", fill=0.0, style="-", where="top"):
    """One box (x1, y1, x2, y2), with a word at its corner."""
    x1, y1, x2, y2 = (float(v) for v in box)
    ax.fill([x1, x2, x2, x1], [y1, y1, y2, y2], facecolor=(colour, fill) if fill else "none", edgecolor=colour, linestyle=style, lw=1.6)
    if text:
        ax.text(x1, y1 if where == "top" else y2, text, color=colour, ha="left", va="bottom" if where == "top" else "top", fontsize=8,
                bbox=dict(facecolor="white", edgecolor="none", alpha=0.8, pad=0.6))          # other boxes' lines run below it


def scene(ax, title, x, y):
    """An image: y runs down, a pixel is square."""
    ax.set(aspect="equal", xlim=x, ylim=(y[1], y[0]))
    ax.set_title(title, fontsize=9)
    ax.tick_params(labelsize=7)


def heap(seed=4):
    """Boxes as a detector gives them: three heaps, (12, 4), and scores (12,)."""
    rng = np.random.default_rng(seed)
    objects = np.array([[6., 8, 26, 30], [38, 4, 52, 34], [14, 36, 44, 52]])
    return np.repeat(objects, 4, axis=0) + rng.normal(0, 1.8, (12, 4)), np.round(rng.uniform(0.3, 0.99, 12), 2)


def box_convert(figure, function):
    left, right = figure.subplots(1, 2)
    box = np.array([[10., 20, 30, 60]])
    for ax, form in ((left, "xywh"), (right, "cxcywh")):
        a, b, w, h = function(box, "xyxy", form)[0]
        scene(ax, f'"{form}" = ({a:g}, {b:g}, {w:g}, {h:g})', (0, 45), (10, 70))
        outline(ax, box[0], fill=0.2, text="(10, 20, 30, 60)")
        ax.plot(a, b, "o", color=ORANGE)
        ends = ((a, a + w), (b, b + h)) if form == "xywh" else ((a - w / 2, a + w / 2), (b - h / 2, b + h / 2))
        ax.annotate("", (ends[0][1], 64), (ends[0][0], 64), arrowprops=dict(arrowstyle="<->", color=ORANGE))
        ax.annotate("", (36, ends[1][1]), (36, ends[1][0]), arrowprops=dict(arrowstyle="<->", color=ORANGE))


def clip_boxes(figure, function):
    ax = figure.subplots()
    boxes = np.array([[-12., 8, 20, 24], [30, -6, 52, 16], [40, 26, 78, 48], [66, 4, 74, 18]])
    scene(ax, "dashed: before, filled: clip_boxes(boxes, (40, 60)); the fourth lies outside and becomes a line", (-16, 82), (-10, 52))
    outline(ax, (0, 0, 60, 40), "k", "image, 40 x 60")
    for before, after in zip(boxes, function(boxes, (40, 60)), strict=True):
        outline(ax, before, GREY, style="--")
        outline(ax, after, BLUE, fill=0.3)


def box_iou(figure, function):
    """A box that slides over another, and the IoU that this gives."""
    still, x = np.array([[0., 0, 4, 4]]), np.linspace(-5, 5, 101)
    moving = np.stack([x, 0 * x + 1, x + 4, 0 * x + 5], 1)
    left, right = figure.subplots(1, 2)
    for box, colour in ((still[0], BLUE), (moving[70], ORANGE)):
        outline(left, box, colour, fill=0.4)
    scene(left, "the orange box slides past the blue one", (-5, 9), (-1, 6))
    right.plot(x, function(moving, still)[:, 0])
    right.set(xlabel="x1 of the orange box", ylabel="IoU", ylim=(0, 1))
    right.set_title("box_iou", fontsize=9)


def nms(figure, function):
    left, right = figure.subplots(1, 2)
    boxes, scores = heap()
    kept = function(boxes, scores, 0.5)
    answer = f"nms(boxes, scores, 0.5) = {list(map(int, kept))}"
    for ax, rows, title in ((left, range(len(boxes)), "12 boxes, 3 objects"), (right, kept, answer)):
        scene(ax, title, (0, 60), (0, 58))
        for i in rows:
            outline(ax, boxes[i], GREEN if i in kept else GREY, f"{scores[i]:.2f}" if i in kept else "")


def batched_nms(figure, function):
    left, right = figure.subplots(1, 2)
    dog, cat = np.array([8., 10, 40, 44]), np.array([12., 16, 38, 46])
    rng = np.random.default_rng(1)
    boxes, scores = np.concatenate([dog + rng.normal(0, 1.5, (4, 4)), cat + rng.normal(0, 1.5, (4, 4))]), rng.uniform(.4, .95, 8)
    for ax, groups, title in ((left, np.zeros(8, int), "all in one group: the cat is lost"),
                              (right, np.repeat([0, 1], 4), "dogs and cats apart: batched_nms")):
        kept = function(boxes, scores, groups, 0.5)
        scene(ax, title, (0, 50), (0, 54))
        for i in range(8):
            colour = (BLUE if i < 4 else ORANGE) if i in kept else GREY
            name = f"{'dog' if i < 4 else 'cat'} {scores[i]:.2f}"
            outline(ax, boxes[i], colour, name if i in kept else "", style="-" if i in kept else ":")


def encode_boxes(figure, function):
    ax = figure.subplots()
    reference, box = np.array([[40., 35, 60, 45]]), np.array([[40., 33, 80, 43]])
    dx, dy, dw, dh = function(box, reference)[0]
    scene(ax, f"encode_boxes: dx = {dx:.2f}, dy = {dy:.2f} (in widths and heights of the anchor), dw = {dw:.3f}, dh = {dh:.3f}",
          (30, 90), (28, 50))
    outline(ax, reference[0], GREY, "anchor, 20 x 10", style="--", where="bottom")
    outline(ax, box[0], BLUE, "box, 40 x 10", fill=0.15)
    ax.annotate("", (50 + 20 * dx, 40 + 10 * dy), (50, 40), arrowprops=dict(arrowstyle="->", color=ORANGE, lw=2))


def decode_boxes(figure, function):
    axes = figure.subplots(1, 3)
    reference = np.array([[40., 35, 60, 45]])
    for ax, k, name in zip(axes, (0, 2, 3), ("dx", "dw", "dh"), strict=True):
        scene(ax, f"{name}: -1 orange, 1 blue", (17, 83), (18, 62))
        for step in (-1, -0.5, 0, 0.5, 1):
            deltas = np.zeros((1, 4))
            deltas[0, k] = step
            colour = GREY if step == 0 else (BLUE if step > 0 else ORANGE)
            outline(ax, function(deltas, reference)[0], colour, style="--" if step == 0 else "-", fill=0.12)


def decode_boxes_backward(figure, function):
    """Downhill: deltas that learn, through this gradient alone, to reach a box."""
    from numpyvision.ops import box_transform
    left, right = figure.subplots(1, 2)
    reference, goal, deltas, losses = np.array([[20., 20, 40, 50]]), np.array([[45., 10, 85, 40]]), np.zeros((1, 4)), []
    scene(left, "orange: on the way, step by step", (10, 95), (0, 60))
    for step in range(60):
        boxes, cache = box_transform.decode_boxes_forward(deltas, reference)
        if step in (3, 6, 10, 20, 59):
            outline(left, boxes[0], ORANGE)
        losses.append(float(((boxes - goal) ** 2).mean()))
        ddeltas, _ = function((boxes - goal) / 2, cache)
        deltas = deltas - 2e-4 * ddeltas
    outline(left, reference[0], GREY, "anchor", style="--")
    outline(left, goal[0], GREEN, "goal")
    right.semilogy(losses)
    right.set(xlabel="step")
    right.set_title("mean squared distance of the corners", fontsize=9)


def cell_anchors(figure, function):
    left, right = figure.subplots(1, 2)
    anchors = function((32, 64), (0.5, 1.0, 2.0))
    scene(left, "sizes 32 and 64, ratios 0.5, 1, 2", (-50, 50), (-50, 50))
    for i, box in enumerate(anchors):
        outline(left, box, BLUE if i < 3 else ORANGE)
    left.plot(0, 0, "k+")
    w, h = anchors[:, 2] - anchors[:, 0], anchors[:, 3] - anchors[:, 1]
    right.bar(range(len(anchors)), w * h, color=[BLUE if i < 3 else ORANGE for i in range(len(anchors))])
    right.set_xticks(range(len(anchors)), [f"{b / a:.2g}" for a, b in zip(w, h, strict=True)])
    right.set(xlabel="height / width of anchor 0, 1, ...")
    right.set_title("area: the same for all ratios of a size", fontsize=9)


def grid_anchors(figure, function):
    ax = figure.subplots()
    cell = np.array([[-14., -7, 14, 7], [-7, -14, 7, 14]])
    anchors = function((3, 6), 16, cell=cell)
    title = "3 x 6 cells of stride 16; numbers: the row of each cell's first anchor; orange: anchors 0, 1 and 26, 27"
    scene(ax, title, (-16, 112), (-18, 66))
    for k in range(7):
        ax.axvline(16 * k, color="0.85", lw=0.8)
    for k in range(4):
        ax.axhline(16 * k, color="0.85", lw=0.8)
    for i in range(0, len(anchors), 2):
        x, y = (anchors[i, :2] + anchors[i, 2:]) / 2
        ax.text(x, y, str(i), ha="center", va="center", fontsize=7)
    for i in (0, 1, 26, 27):
        outline(ax, anchors[i], ORANGE)


def match_boxes(figure, function):
    from numpyvision.boxes import anchors as anchor_boxes
    from numpyvision.boxes import iou
    truth = np.array([[10., 10, 52, 40], [66, 26, 84, 58]])
    anchors = anchor_boxes.grid_anchors((5, 7), 13, cell=anchor_boxes.cell_anchors((34,), (0.7, 1.6), np.float64))
    overlaps = iou.box_iou(truth, anchors)
    for ax, low in zip(figure.subplots(1, 2), (False, True), strict=True):
        _, labels = function(overlaps, 0.6, 0.3, low)
        scene(ax, f"allow_low_quality={low}: {(labels == 1).sum()} positive, {(labels == -1).sum()} neutral", (-8, 100), (-10, 75))
        for box in truth:
            outline(ax, box, "k", fill=0.08)
        for label, colour in ((0, "0.85"), (-1, ORANGE), (1, GREEN)):
            centres = (anchors[labels == label, :2] + anchors[labels == label, 2:]) / 2
            ax.plot(*(centres + np.where(np.arange(len(anchors))[labels == label, None] % 2, 1.2, -1.2)).T, "o", color=colour, ms=3)
            for box in anchors[labels == label] if label == 1 else ():
                outline(ax, box, colour)


def sample_labels(figure, function):
    labels = np.random.default_rng(0).permutation([1] * 12 + [0] * 228 + [-1] * 60)
    order = np.argsort(-labels, kind="stable")
    for ax, seed in zip(figure.subplots(2, 1), (1, 2), strict=True):
        chosen = function(labels, 32, 0.5, np.random.default_rng(seed))
        ax.imshow(np.where(np.isin(order, chosen), 3, labels[order] + 1)[None], aspect="auto", interpolation="nearest", vmin=0, vmax=3,
                  cmap="RdYlBu_r")
        ax.set(yticks=[], xlabel="" if seed == 1 else "anchors: 12 positive, then negative, neutral at the end; red: chosen")
        positives, negatives = (labels[chosen] == 1).sum(), (labels[chosen] == 0).sum()
        ax.set_title(f"rng of seed {seed}: {positives} positives and {negatives} negatives of 300", fontsize=9)


def assign_levels(figure, function):
    ax = figure.subplots()
    side = 2 ** np.linspace(4, 10, 120)
    w, h = np.meshgrid(side, side)
    zero = np.zeros(w.size)
    levels = function(np.stack([zero, zero, w.ravel(), h.ravel()], 1), 2, 5).reshape(w.shape)
    shown = ax.contourf(side, side, levels, levels=[1.5, 2.5, 3.5, 4.5, 5.5], cmap="viridis")
    figure.colorbar(shown, ax=ax, ticks=[2, 3, 4, 5], label="level")
    ax.plot(224, 224, "wo")
    ax.text(240, 236, "224 x 224", color="w", fontsize=8)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set(xlabel="width", ylabel="height")
    ax.set_title("assign_levels: only the area counts, not the shape", fontsize=9)
