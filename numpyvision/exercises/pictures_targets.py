"""Pictures for the exercises about mask and keypoint targets and metrics: `NAME(figure, function)`."""
import numpy as np


def _bare(ax, title):
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])


def _disc():
    y, x = np.mgrid[:40, :56] + 0.5
    return (np.hypot(x - 24, y - 20) < 13) & ~(np.hypot(x - 32, y - 14) < 6)


def crop_masks(figure, function):
    """The same object through three proposals, the last of which reaches over the border."""
    mask, boxes = _disc(), np.array([[11., 7, 38, 33], [18, 4, 46, 40], [-6, -4, 26, 24]])
    axes = figure.subplots(1, 4)
    axes[0].imshow(mask, cmap="gray", extent=(0, 56, 40, 0))
    _bare(axes[0], "mask and proposals")
    axes[0].set(xlim=(-8, 56), ylim=(42, -6))
    for i, (ax, box) in enumerate(zip(axes[1:], boxes, strict=True)):
        x1, y1, x2, y2 = box
        axes[0].plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=f"C{i}")
        ax.imshow(function(mask[None], box[None], 14)[0], vmin=0, vmax=1, cmap="gray")
        _bare(ax, "crop_masks, 14 x 14")
        for side in ax.spines.values():
            side.set(color=f"C{i}", linewidth=3)


def paste_masks(figure, function):
    from numpyvision.boxes import mask_crops
    box = np.array([[11.4, 6.2, 38.7, 33.5]])
    probs = mask_crops.crop_masks(_disc()[None], box, 14)
    axes = figure.subplots(1, 3)
    for ax, picture, title in zip(axes, (probs[0], function(probs, box, (40, 56))[0], _disc()),
                                  ("14 x 14 probabilities", "paste_masks", "the mask they were made of"), strict=True):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
        _bare(ax, title)


def _person():
    """(17, 3) joints of a waving person, in COCO's order, in an image 60 wide and 80 high."""
    xy = [(30, 12), (32, 10), (28, 10), (35, 12), (25, 12), (39, 24), (21, 24), (48, 16), (15, 35), (52, 5), (13, 46), (36, 46), (24, 46),
          (37, 60), (23, 60), (38, 74), (22, 74)]
    return np.array([(x, y, 2) for x, y in xy], float)


BONES = ((0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14),
         (14, 16))


def _draw_person(ax, joints, width=60):
    """Left joints blue, right ones orange."""
    for a, b in BONES:
        ax.plot(joints[[a, b], 0], joints[[a, b], 1], color="0.7", lw=1.5, zorder=0)
    for j, (x, y, v) in enumerate(joints):
        if v > 0:
            ax.plot(x, y, "o", color="k" if j == 0 else ("C0" if j % 2 else "C1"), ms=4)
    ax.set(aspect="equal", xlim=(0, width), ylim=(80, 0))


def keypoint_cells(figure, function):
    left, right = figure.subplots(1, 2)
    person, box, S = _person(), np.array([[10., 2, 50, 78]]), 14
    cells = function(person[None], box, S)[0]
    _draw_person(left, person)
    x1, y1, x2, y2 = box[0]
    left.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], "C2")
    _bare(left, "joints and a proposal; a hand sticks out")
    picture = np.full(S * S, np.nan)
    for j, cell in enumerate(cells):
        if cell >= 0:
            picture[cell] = j
    right.imshow(picture.reshape(S, S), cmap="tab20", vmin=0, vmax=19)
    for cell in np.unique(cells[cells >= 0]):
        joints = ",".join(map(str, np.flatnonzero(cells == cell)))
        right.text(cell % S, cell // S, joints, ha="center", va="center", fontsize=6)
    right.set_xticks(np.arange(S + 1) - 0.5, [])
    right.set_yticks(np.arange(S + 1) - 0.5, [])
    right.grid(color="0.9")
    right.set_title(f"the cells that are on: {(cells >= 0).sum()} of 17 joints", fontsize=9)


def flip_keypoints(figure, function):
    left, right = figure.subplots(1, 2)
    person = _person()
    _draw_person(left, person)
    _draw_person(right, function(person[None], 60)[0])
    _bare(left, "waves with the left hand (blue)")
    _bare(right, "in the mirror: with the right hand (orange)")


def oks(figure, function):
    """How OKS falls with the distance, for joints that people mark more and less precisely."""
    ax, d = figure.subplots(), np.linspace(0, 40, 81)
    for j, name in ((1, "an eye"), (9, "a wrist"), (11, "a hip")):
        truth = np.zeros((1, 17, 3))
        truth[0, j] = 50, 50, 2
        found = np.repeat(truth, len(d), axis=0)
        found[:, j, 0] += d
        ax.plot(d, function(found, truth, np.array([1e4]), np.array([[0., 0, 100, 100]]))[:, 0], label=name)
    ax.set(xlabel="pixels off, of a person of 100 x 100", ylabel="oks", ylim=(0, 1))
    ax.set_title("oks of one labelled joint", fontsize=9)
    ax.legend(fontsize=8)


def match_voc(figure, function):
    ax = figure.subplots()
    similarity = np.array([[.8, .1, 0], [.7, .6, 0], [.2, .9, 0], [.3, .2, .1], [0, .1, .75]])
    verdict = function(similarity, np.array([False, False, True]), 0.5)
    ax.imshow(similarity, cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
    for d, g in np.ndindex(*similarity.shape):
        ax.text(g, d, f"{similarity[d, g]:.1f}", ha="center", va="center", fontsize=9)
    words = {1: ("hit", "C2"), 0: ("mistake", "C3"), -1: ("counts neither way", "0.5")}
    for d, v in enumerate(verdict):
        text, colour = words.get(int(v), (f"{v}?", "k"))
        ax.text(2.6, d, text, color=colour, va="center", fontsize=10)
    ax.set_xticks(range(3), ["object 0", "object 1", "object 2, ignored"])
    ax.set_yticks(range(5), [f"detection {d}" for d in range(5)])
    ax.set(xlim=(-0.5, 3.6))
    ax.set_title("match_voc: similarity of five detections, best score first, at threshold 0.5", fontsize=9)


def _ranking():
    rng = np.random.default_rng(5)
    return rng.random(40) < np.linspace(0.95, 0.2, 40)


def precision_recall(figure, function):
    left, right = figure.subplots(1, 2)
    tp = _ranking()
    precision, recall = function(tp, ~tp, 30)
    left.plot(np.arange(1, 41), precision, label="precision")
    left.plot(np.arange(1, 41), recall, label="recall")
    left.plot(np.arange(1, 41)[tp], np.full(tp.sum(), 1.04), "C2|", label="hits")
    left.set(xlabel="detections looked at", ylim=(0, 1.1))
    left.legend(fontsize=7)
    right.plot(recall, precision, "o-", ms=3)
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.05))
    right.set_title("one curve, and its saw teeth", fontsize=9)


def average_precision(figure, function):
    from numpyvision.metrics import detection
    tp = _ranking()
    precision, recall = detection.precision_recall(tp, ~tp, 30)
    envelope = detection.envelope(precision)
    left, right = figure.subplots(1, 2)
    left.plot(recall, precision, "o-", color="0.6", ms=3)
    left.step(np.append(0, recall), np.append(envelope[0], envelope), where="pre", color="C0")
    left.fill_between(np.append(0, recall), np.append(envelope[0], envelope), step="pre", alpha=0.2)
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.05))
    left.set_title("blue: the envelope; AP is the area below", fontsize=9)
    values = [function(precision, recall, points) for points in ("all", 11, 101)]
    bars = right.bar(["all", "11 points", "101 points"], values)
    right.bar_label(bars, [f"{v:.4f}" for v in values])
    right.set(ylim=(0, 1))
    right.set_title("average_precision by the three rules", fontsize=9)


def _maps():
    """Two label maps (24, 32): sky 0, grass 1, a cow 2 that is found a little too large, shifted and with a hole."""
    truth = np.zeros((24, 32), np.int64)
    truth[13:] = 1
    found = truth.copy()
    truth[8:18, 8:22], found[9:20, 10:24], found[12:15, 13:16] = 2, 2, 1
    truth[:, 30:] = 255
    return truth, found


def confusion_counts(figure, function):
    truth, found = _maps()
    axes = figure.subplots(1, 3)
    axes[0].imshow(np.where(truth == 255, np.nan, truth), cmap="viridis", vmin=0, vmax=2)
    axes[1].imshow(found, cmap="viridis", vmin=0, vmax=2)
    _bare(axes[0], "truth (white: ignored)")
    _bare(axes[1], "prediction")
    table = function(truth, found, 3)
    axes[2].imshow(table, cmap="Blues", vmax=1.6 * table.max())
    for i, j in np.ndindex(3, 3):
        axes[2].text(j, i, str(table[i, j]), ha="center", va="center", fontsize=9)
    names = ["sky", "grass", "cow"]
    axes[2].set_xticks(range(3), names, fontsize=8)
    axes[2].set_yticks(range(3), names, fontsize=8)
    axes[2].set(xlabel="predicted", ylabel="true")


def mean_iou(figure, function):
    """Mean IoU beside pixel accuracy, while a small object is lost bit by bit."""
    from numpyvision.metrics import segmentation
    ax, shares = figure.subplots(), np.arange(11) / 10
    truth = np.zeros((100, 100), np.int64)
    truth[45:55, 45:55] = 1
    means, accuracies = [], []
    for share in shares:
        found = truth.copy()
        found[45:55, 45:45 + round(10 * share)] = 0
        table = segmentation.confusion_counts(truth, found, 2)
        means.append(function(table))
        accuracies.append(np.trace(table) / table.sum())
    ax.plot(shares, means, label="mean_iou")
    ax.plot(shares, accuracies, label="pixel accuracy")
    ax.set(xlabel="share of the object that is missed (it covers 1% of the image)", ylim=(0, 1.05))
    ax.set_title("pixel accuracy hardly notices, mean IoU does", fontsize=9)
    ax.legend(fontsize=8)
