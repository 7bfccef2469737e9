"""Pictures for the exercises about losses: a loss or its gradient over the logit; `NAME(figure, function)`."""
import numpy as np

Z = np.linspace(-6, 6, 241)


def _curve(ax, x, values, label, **style):
    ax.plot(x, values, label=label, **style)


def _finish(ax, xlabel, title):
    ax.axhline(0, color="0.8", lw=0.8, zorder=0)
    ax.set_xlabel(xlabel)
    ax.set_title(title, fontsize=9)
    ax.legend(fontsize=8)


def smooth_l1(figure, function):
    ax, d = figure.subplots(), np.linspace(-2, 2, 201)
    for beta in (0, 1 / 9, 0.5, 1.0):
        _curve(ax, d, [function(np.array([v]), np.zeros(1), beta=beta)[0] for v in d], f"beta = {beta:.3g}")
    _finish(ax, "pred - target", "smooth_l1_forward: a parabola to |d| = beta, then a straight line")


def smooth_l1_slope(figure, function):
    from numpyvision.losses import regression
    ax, d = figure.subplots(), np.linspace(-2, 2, 201)
    for beta in (1 / 9, 0.5, 1.0):
        _, cache = regression.smooth_l1_forward(d, np.zeros_like(d), beta=beta, normalizer=1)
        _curve(ax, d, function(1.0, cache), f"beta = {beta:.3g}")
    _finish(ax, "pred - target", "smooth_l1_backward: never steeper than 1, however far off")


def sigmoid_bce(figure, function):
    ax = figure.subplots()
    for target in (1.0, 0.5, 0.0):
        _curve(ax, Z, [function(np.array([z]), np.array([target]))[0] for z in Z], f"target {target:g}")
    _finish(ax, "logit", "sigmoid_bce_forward: nearly free when right, a straight line when wrong")


def sigmoid_bce_slope(figure, function):
    from numpyvision.losses import classification
    ax = figure.subplots()
    for target in (1.0, 0.5, 0.0):
        _, cache = classification.sigmoid_bce_forward(Z, np.full_like(Z, target), normalizer=1)
        _curve(ax, Z, function(1.0, cache), f"target {target:g}")
    _finish(ax, "logit", "sigmoid_bce_backward: probability minus target")


def focal(figure, function):
    p = np.linspace(0.01, 0.99, 99)
    logits = np.log(p / (1 - p))
    ax = figure.subplots()
    for gamma in (0.0, 0.5, 1.0, 2.0, 5.0):
        _curve(ax, p, [2 * function(np.array([z]), np.ones(1), None, 0.5, gamma)[0] for z in logits], f"gamma {gamma:g}")
    _finish(ax, "probability given to the truth", "sigmoid_focal_loss_forward (alpha = 0.5, doubled): the figure of the paper")


def focal_slope(figure, function):
    from numpyvision.losses import focal as loss
    ax = figure.subplots()
    for gamma in (0.0, 2.0, 5.0):
        _, cache = loss.sigmoid_focal_loss_forward(Z, np.zeros_like(Z), None, 0.5, gamma, 1)
        _curve(ax, Z, 2 * function(1.0, cache), f"gamma {gamma:g}")
    _finish(ax, "logit of an anchor that is background", "sigmoid_focal_loss_backward: easy background (left) no longer pulls")


def softmax_cross_entropy(figure, function):
    """The loss of two pixels' worth of three classes, while one logit grows."""
    ax = figure.subplots()
    for label in (0, 1):
        _curve(ax, Z, [function(np.array([[z, 0.0, 0.0]]), np.array([label]))[0] for z in Z], f"the true class is {label}")
    ax.plot(0, np.log(3), "ko", ms=4)
    ax.annotate("log 3: all three alike", (0, np.log(3)), (-4.8, 1.7), fontsize=8, arrowprops=dict(arrowstyle="-", color="0.5"))
    _finish(ax, "logit of class 0 (those of 1 and 2 are 0)", "softmax_cross_entropy_forward")


def softmax_slope(figure, function):
    from numpyvision.losses import classification
    labels = np.zeros((1, 5, 9), np.int64)
    labels[0, 1:4, 2:7], labels[0, :, 8] = 1, 255
    logits = np.zeros((1, 2, 5, 9))
    logits[0, 1, :, :5] = 2.0
    _, cache = classification.softmax_cross_entropy_forward(logits, labels)
    axes = figure.subplots(1, 3)
    axes[0].imshow(np.where(labels[0] == 255, np.nan, labels[0]), cmap="viridis")
    axes[1].imshow(logits[0, 1], cmap="viridis")
    shown = axes[2].imshow(function(1.0, cache)[0, 1], cmap="RdBu_r", vmin=-0.025, vmax=0.025)
    figure.colorbar(shown, ax=axes[2], shrink=0.6)
    for ax, title in zip(axes, ("truth (white: ignored)", "logit of class 1", "its gradient: 0 where ignored"), strict=True):
        ax.set_title(title, fontsize=9)
        ax.set(xticks=[], yticks=[])


def _predictions():
    """One image, 24 anchors, 10 of them sampled, 4 positive."""
    rng = np.random.default_rng(2)
    anchor = np.sort(rng.permutation(24)[:10])
    labels = np.zeros(10, np.int64)
    labels[[1, 4, 6, 9]] = 1
    return rng.normal(0, 1.5, (1, 24)), rng.normal(0, 0.4, (1, 24, 4)), np.zeros(10, np.int64), anchor, labels, np.zeros((4, 4))


def rpn_losses(figure, function):
    """How both losses change while all logits, or all deltas, are scaled."""
    left, right = figure.subplots(1, 2)
    logits, deltas, *chosen = _predictions()
    scale = np.linspace(-1.5, 2.5, 81)
    left.plot(scale, [function(s * logits, deltas, *chosen)[0][0] for s in scale])
    right.plot(scale, [function(logits, s * deltas, *chosen)[0][1] for s in scale], color="C1")
    left.set_title("loss_objectness", fontsize=9)
    left.set_xlabel("all logits times this")
    right.set_title("loss_rpn_box_reg (its targets are 0)", fontsize=9)
    right.set_xlabel("all deltas times this")


def rpn_losses_back(figure, function):
    from numpyvision.losses import rpn
    logits, deltas, image, anchor, labels, gt_deltas = _predictions()
    _, cache = rpn.rpn_losses_forward(logits, deltas, image, anchor, labels, gt_deltas)
    dlogits, ddeltas, *_ = function((1.0, 1.0), cache)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.6))
    for label, colour in ((1, "C2"), (0, "0.5")):
        rows = anchor[labels == label]
        top.bar(rows, dlogits[0, rows], color=colour, label=("negative", "positive")[label])
    others = np.setdiff1d(np.arange(24), anchor)
    top.plot(others, dlogits[0, others], "k.", ms=3, label="not sampled")
    top.legend(fontsize=7, ncols=3)
    top.set_title("dlogits: below 0 where the logit should rise, above 0 where it should fall", fontsize=9)
    bottom.imshow(ddeltas[0].T, aspect="auto", cmap="RdBu_r", vmin=-0.1, vmax=0.1)
    bottom.set_yticks(range(4), ["dx", "dy", "dw", "dh"], fontsize=8)
    bottom.set_xlabel("anchor")
    bottom.set_title("ddeltas: at the positives alone", fontsize=9)
