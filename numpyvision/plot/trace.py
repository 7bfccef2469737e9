"""A detector's work on one image, stage by stage, from the trace of `predict(trace=True)`.

    figure = draw_stages(image, traces[0])            six pictures, from the anchors that went on to what is reported
    draw_stage(image, traces[0], "proposals", ax)     one of them

Shapes here: image (3, H, W) in [0, 1]; trace: a dict by names as `models/why.py` has them; boxes (n, 4) xyxy.
"""
import numpy as np

from numpyvision.plot import boxes as box_pictures
from numpyvision.plot import style

STAGES = {
    "topk": "anchors of the highest logits",
    "decoded": "moved by their deltas, clipped",
    "rpn_nms": "kept by NMS; dropped grey",
    "proposals": "proposals",
    "candidates": "sure enough of a class",
    "detections": "kept by NMS; dropped grey",
}
FEW = 20                                              # boxes in a picture; of more, the surest


def draw_stage(image, trace, stage, ax=None):
    """The boxes that one of STAGES had in hand, over the paled image; at most FEW, the surest, and the title says of how many.

    A colour is a class from "candidates" on, and before it the level: of the anchor, from "proposals" on of the crop.
    """
    if stage not in STAGES:
        raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
    boxes, colors, dropped = stage_boxes(trace, stage)
    ax = style.image_axes(ax, image.shape[1:])
    style.show_image(0.45 * image + 0.55, ax)
    box_pictures.draw_rectangles(dropped, [style.GREY] * len(dropped), ax, linewidth=0.6, linestyle=":")
    box_pictures.draw_rectangles(boxes[:FEW][::-1], colors[:FEW][::-1], ax, linewidth=1)                  # the surest on top
    if stage == "detections":
        kept = trace["final.kept"]
        texts = [box_pictures.tag_text(k, s, trace.classes)
                 for k, s in zip(trace["final.label"][kept], trace["final.scores"][kept], strict=True)]
        box_pictures.draw_tags(boxes[:FEW], texts[:FEW], colors[:FEW], image.shape[1:], ax)
    style.bare(ax, image.shape[1:])
    count = f"{len(boxes)}" if len(boxes) <= FEW else f"{FEW} of {len(boxes)}"
    ax.set_title(f"{STAGES[stage]}: {count}", fontsize=9, color=style.INK)
    return ax


def draw_stages(image, trace):
    """All STAGES in the order of the work -> a figure."""
    figure, axes = style.grid(len(STAGES), 3, (3.4, 3.4 * image.shape[1] / image.shape[2] + 0.3))
    for stage, ax in zip(STAGES, axes, strict=True):
        draw_stage(image, trace, stage, ax)
    return figure


def stage_boxes(trace, stage):
    """-> boxes (n, 4) the surest first, a colour for each, and the boxes (m, 4) that the first FEW of them dropped at NMS."""
    none = np.zeros((0, 4))
    if stage in ("topk", "decoded"):
        rows = np.argsort(-trace["rpn.logits"][trace["rpn.kept_by_topk"]], kind="stable")
        anchors = trace["rpn.kept_by_topk"][rows]
        boxes = trace["rpn.anchors"][anchors] if stage == "topk" else trace["rpn.clipped"][rows]
        return boxes, by_level(trace["rpn.level"][anchors]), none
    if stage == "rpn_nms":
        rows = trace["rpn.kept_by_nms"]
        level = trace["rpn.level"][trace["rpn.kept_by_topk"][rows]]
        return trace["rpn.clipped"][rows], by_level(level), trace["rpn.clipped"][np.isin(trace["rpn.suppressed_by"], rows[:FEW])]
    if stage == "proposals":
        return trace["rpn.proposals"], by_level(trace["roi.level"]), none
    rows, dropped = np.argsort(-trace["final.scores"], kind="stable"), none
    if stage == "detections":
        rows, dropped = trace["final.kept"], trace["final.boxes"][np.isin(trace["final.suppressed_by"], trace["final.kept"][:FEW])]
    return trace["final.boxes"][rows], [style.class_color(k) for k in trace["final.label"][rows]], dropped


def by_level(level):
    """A colour for each level, 0 the finest."""
    return [style.class_color(l + 1) for l in level]
