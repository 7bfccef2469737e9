"""Why did the detector say this, and why did it miss that? Every stage of `predict(trace=True)` tells a Trace what it had in hand.

    anchors -> top-k by logit -> decode, clip -> NMS -> best few = proposals -> class probabilities, boxes -> threshold -> NMS -> best few

The stages tell the arrays that they themselves go on with, so a trace cannot say another thing than what happened. `why` follows a
detection back to its anchor. `explain_missing` asks at every stage, from the last to the first, whether some box still lay on the object:
the last stage that had one is where it was lost. Boxes are in pixels of the batch's images; level 0 is the finest.

Shapes here, of one image: T anchors, B boxes kept by top-k, R proposals, K foreground classes, M candidates above the score threshold.
"""
import dataclasses

import numpy as np

from numpyvision.boxes import coder, convert, iou, nms

FITTING_CELLS = 2.5, 20          # a crop of 7 x 7 bins that is fewer cells across is a blur, and of more cells it skips over features

CAUSES = {                       # what to change; in the order in which an object travels
    "no_anchor": "give `anchor_sizes` or `aspect_ratios` that fit it, or an image size at which it fits",
    "rpn_regression": "train the RPN longer, or look at its box loss",
    "topk": "raise `pre_nms`, or train: the objectness of its anchors is too low",
    "clipped": "it lies outside the image's true size: look at the padding, or at the truth",
    "small_proposal": "it is under a pixel: enlarge the image",
    "rpn_nms": "raise the RPN's `nms_threshold`: another object is close",
    "post_nms": "raise `post_nms`, or train: the objectness of its boxes is too low",
    "wrong_level": "change `canonical_size`, or the strides: its crop does not suit its size",
    "box_regression": "train the box branch longer: it moves a good proposal off the object",
    "wrong_class": "look whether the two classes are alike, and whether the truth is right",
    "score_threshold": "lower `score_threshold`, or train: it is not sure enough",
    "small_box": "it is under a pixel: enlarge the image",
    "final_nms": "raise `nms_threshold`: another object of its class is close",
    "max_detections": "raise `max_detections`",
    "found": "nothing",
}


@dataclasses.dataclass
class Explanation:
    """`cause`, one of CAUSES; `text`, which print shows; `facts`, the numbers in it by name."""

    cause: str
    text: str
    facts: dict

    def __str__(self):
        return self.text


class Trace(dict):
    """What every stage had in hand for one image, by names such as trace["rpn.logits"]; `print(trace)` lists them with their shapes."""

    def __init__(self, classes):
        super().__init__()
        self.classes = tuple(classes)

    def __repr__(self):
        return "\n".join(f"{name:<22}{getattr(v, 'shape', v)}" for name, v in self.items())

    # ------------------------------------------------------------------------------------------------ told by the stages
    def tell_rpn(self, rpn, size, anchors, per_level, logits, deltas, best, decoded, clipped, big, kept, level):
        """best (B,) of T; decoded, clipped (B, 4); big: the rows of B that are not too small; kept: rows of `big` after NMS."""
        order = np.split(logits, np.cumsum(per_level)[:-1])
        self |= {
            "rpn.size": tuple(size.tolist()), "rpn.pre_nms": rpn.pre_nms, "rpn.post_nms": rpn.post_nms,
            "rpn.nms_threshold": rpn.nms_threshold,
            "rpn.anchors": anchors, "rpn.level": np.repeat(np.arange(len(per_level)), per_level),
            "rpn.logits": logits, "rpn.deltas": deltas,
            "rpn.rank": np.concatenate([np.argsort(np.argsort(-part, kind="stable")) for part in order]),      # in its level, 0 the best
            "rpn.kept_by_topk": best, "rpn.decoded": decoded, "rpn.clipped": clipped, "rpn.small": ~np.isin(np.arange(len(best)), big),
            "rpn.suppressed_by": _suppressed_by(clipped, big, kept, rpn.nms_threshold, level),
            "rpn.kept_by_nms": big[kept], "rpn.chosen": big[kept[:rpn.post_nms]], "rpn.proposals": clipped[big[kept[:rpn.post_nms]]]}

    def tell_final(self, box, proposals, probs, decoded, region, column, candidates, big, kept, settings):
        """probs (R, K + 1); decoded (R, K, 4); region, column, candidates: those above the threshold; big, kept as above."""
        score_threshold, nms_threshold, max_detections = settings
        level, strides = box.pool.levels(convert.boxes_to_rois([proposals])), np.array([1 / a.spatial_scale for a in box.pool.aligns])
        self |= {
            "final.score_threshold": score_threshold, "final.nms_threshold": nms_threshold, "final.max_detections": max_detections,
            "roi.level": level, "roi.cells": np.sqrt(convert.box_area(proposals))[:, None] / strides,          # (R, L): at every level
            "roi.class_probs": probs, "roi.decoded": decoded,
            "final.region": region, "final.label": column + 1, "final.boxes": candidates, "final.scores": probs[region, column + 1],
            "final.small": ~np.isin(np.arange(len(region)), big),
            "final.suppressed_by": _suppressed_by(candidates, big, kept, nms_threshold, column),
            "final.kept_by_nms": big[kept], "final.kept": big[kept[:max_detections]]}

    # ------------------------------------------------------------------------------------------------ asked by the reader
    def why(self, candidate):
        """From a candidate, a row of final.boxes (of a detection: `more["candidate"]`), back to its anchor."""
        region = int(self["final.region"][candidate])
        row = int(self["rpn.chosen"][region])
        anchor, label = int(self["rpn.kept_by_topk"][row]), int(self["final.label"][candidate])
        facts = dict(
            anchor=anchor, anchor_box=self["rpn.anchors"][anchor], anchor_level=int(self["rpn.level"][anchor]),
            objectness=float(self["rpn.logits"][anchor]), objectness_rank=int(self["rpn.rank"][anchor]), proposal=region,
            proposal_box=self["rpn.proposals"][region], level=int(self["roi.level"][region]), cells=self._cells(region),
            class_probs=self["roi.class_probs"][region], label=label, score=float(self["final.scores"][candidate]),
            box=self["final.boxes"][candidate], score_threshold=self["final.score_threshold"],
            rpn_suppressed=np.flatnonzero(self["rpn.suppressed_by"] == row),
            final_suppressed=np.flatnonzero(self["final.suppressed_by"] == candidate))
        ranked = np.argsort(-facts["class_probs"], kind="stable")[:3]
        probs = ", ".join(f"{self.classes[k]} {facts['class_probs'][k]:.2f}" for k in ranked)
        return Explanation("found", "\n".join([
            f"{self.classes[label]} {facts['score']:.2f} at {_show(facts['box'])}",
            f"  anchor {anchor} of level {facts['anchor_level']}: {_show(facts['anchor_box'])}",
            f"  objectness logit {facts['objectness']:.2f}, number {facts['objectness_rank'] + 1} of its level; "
            f"{self['rpn.pre_nms']} go on",
            f"  proposal {region}: {_show(facts['proposal_box'])}; at NMS it dropped {len(facts['rpn_suppressed'])} others",
            f"  cut from level {facts['level']}, where it is {facts['cells']:.1f} cells across",
            f"  class probabilities: {probs}; the threshold is {facts['score_threshold']}",
            f"  at the final NMS it dropped {len(facts['final_suppressed'])} others"]), facts)

    def explain_missing(self, gt_box, gt_label, iou_threshold=0.5):
        """Where the object was lost: gt_box (4,), gt_label 1..K -> Explanation. A box lies on the object from IoU >= iou_threshold on.

        Of two objects of a class that overlap by more than that, one box lies on both: ask with a higher threshold.
        """
        if not 1 <= gt_label < len(self.classes):
            raise ValueError(f"gt_label must be in 1..{len(self.classes) - 1}, got {gt_label}; 0 is the background, which nobody misses")
        gt = np.reshape(gt_box, (1, 4)).astype(self["rpn.anchors"].dtype)

        def on_it(boxes):
            return np.flatnonzero(iou.box_iou(gt, boxes)[0] >= iou_threshold)
        cause, facts = self._lost_at_the_end(on_it, int(gt_label)) or self._lost_in_stage_2(on_it) or self._lost_in_rpn(on_it, gt)
        name = self.classes[gt_label]
        text = f"{name} at {_show(gt[0])}: " + ("found" if cause == "found" else f"lost by {cause}") + f". {facts.pop('text')}"
        return Explanation(cause, text + ("" if cause == "found" else f"\n  To change: {CAUSES[cause]}."), facts)

    # ------------------------------------------------------------------------------------------------ from the last stage to the first
    def _lost_at_the_end(self, on_it, label):
        """Boxes of its class on it: how far did they come? None where the second stage has no such box."""
        H, W = self["rpn.size"]
        regions = on_it(convert.clip_boxes(self["roi.decoded"][:, label - 1], (H, W)))
        if not len(regions):
            return None
        of_class = np.flatnonzero((self["final.label"] == label) & np.isin(self["final.region"], regions))
        suppressed, small = np.flatnonzero(self["final.suppressed_by"] >= 0), np.flatnonzero(self["final.small"])
        for cause, rows in (("found", self["final.kept"]), ("max_detections", self["final.kept_by_nms"]), ("final_nms", suppressed),
                            ("small_box", small)):
            reached = of_class[np.isin(of_class, rows)]
            if len(reached):
                return self._candidate(cause, int(reached[self["final.scores"][reached].argmax()]))
        return self._too_low(regions, label)

    def _candidate(self, cause, c):
        """The fate of a candidate above the score threshold."""
        facts = dict(candidate=c, region=int(self["final.region"][c]), score=float(self["final.scores"][c]), box=self["final.boxes"][c])
        if cause == "found":
            facts["text"] = f"It is detection {np.flatnonzero(self['final.kept'] == c)[0]}, of score {facts['score']:.2f}."
        elif cause == "max_detections":
            facts["rank"] = int(np.flatnonzero(self["final.kept_by_nms"] == c)[0])
            facts["text"] = (f"Its box of score {facts['score']:.2f} is number {facts['rank'] + 1} of the image, and "
                             f"{self['final.max_detections']} are reported.")
        elif cause == "final_nms":
            by = facts["suppressed_by"] = int(self["final.suppressed_by"][c])
            facts["iou"] = float(iou.box_iou(self["final.boxes"][c:c + 1], self["final.boxes"][by:by + 1])[0, 0])
            facts["text"] = (f"Its box of score {facts['score']:.2f} was dropped by candidate {by} at {_show(self['final.boxes'][by])}, "
                             f"score {self['final.scores'][by]:.2f}, IoU {facts['iou']:.2f} > {self['final.nms_threshold']}.")
        else:
            facts["text"] = f"Its box {_show(facts['box'])} is under a pixel wide or high."
        return cause, facts

    def _too_low(self, regions, label):
        """The second stage has boxes on it, but none is sure enough of the class."""
        probs, threshold = self["roi.class_probs"], self["final.score_threshold"]
        region = int(regions[probs[regions, label].argmax()])
        other = 1 + int(probs[region, 1:].argmax())
        facts = dict(region=region, level=int(self["roi.level"][region]), class_probs=probs[region],
                     probability=float(probs[region, label]))
        said = f"Its best region has probability {facts['probability']:.3f} for {self.classes[label]}, and {threshold} is asked for"
        if self._better_level(region) is not None:
            return "wrong_level", facts | self._level_facts(region, said)
        if other != label and probs[region, other] > threshold:
            mistaken = f"{said}; it is held for {self.classes[other]} ({probs[region, other]:.3f})."
            return "wrong_class", facts | dict(other=other, text=mistaken)
        return "score_threshold", facts | dict(text=f"{said}; background has {probs[region, 0]:.3f}.")

    def _lost_in_stage_2(self, on_it):
        """A proposal lay on it, and its box was moved away. None where no proposal did."""
        regions = on_it(self["rpn.proposals"])
        if not len(regions):
            return None
        region = int(regions[0])                                                       # the surest of them
        facts = dict(region=region, proposal_box=self["rpn.proposals"][region], level=int(self["roi.level"][region]))
        said = f"Proposal {region}, {_show(facts['proposal_box'])}, lay on it, and the second stage moved it away"
        if self._better_level(region) is not None:
            return "wrong_level", facts | self._level_facts(region, said)
        return "box_regression", facts | dict(text=f"{said}.")

    def _lost_in_rpn(self, on_it, gt):
        """No proposal lay on it."""
        best, kept = self["rpn.kept_by_topk"], self["rpn.kept_by_nms"]
        rows = on_it(self["rpn.clipped"])
        for cause, reached in (("post_nms", kept), ("rpn_nms", np.flatnonzero(self["rpn.suppressed_by"] >= 0)),
                               ("small_proposal", np.flatnonzero(self["rpn.small"]))):
            reached = rows[np.isin(rows, reached)]
            if len(reached):
                return self._row(cause, int(reached[self["rpn.logits"][best[reached]].argmax()]))
        rows = on_it(self["rpn.decoded"])
        if len(rows):
            return self._row("clipped", int(rows[0]))
        logits, everywhere = self["rpn.logits"], coder.decode_boxes(self["rpn.deltas"], self["rpn.anchors"])   # also what top-k dropped
        anchors = on_it(convert.clip_boxes(everywhere, self["rpn.size"]))
        if len(anchors):
            a = int(anchors[logits[anchors].argmax()])
            facts = dict(anchor=a, level=int(self["rpn.level"][a]), rank=int(self["rpn.rank"][a]), objectness=float(logits[a]))
            return "topk", facts | dict(text=f"Its best anchor {a} is number {facts['rank'] + 1} of level {facts['level']} (logit "
                                             f"{facts['objectness']:.2f}), and {self['rpn.pre_nms']} go on.")
        overlap = iou.box_iou(gt, self["rpn.anchors"])[0]
        a = int(overlap.argmax())
        facts = dict(anchor=a, anchor_box=self["rpn.anchors"][a], level=int(self["rpn.level"][a]), iou=float(overlap[a]))
        if on_it(self["rpn.anchors"]).size:
            moved = f"Anchor {a} lay on it (IoU {facts['iou']:.2f}), and the RPN moved it to {_show(everywhere[a])}."
            return "rpn_regression", facts | dict(moved_to=everywhere[a], text=moved)
        return "no_anchor", facts | dict(text=f"The best anchor, {_show(facts['anchor_box'])} of level {facts['level']}, has IoU "
                                              f"{facts['iou']:.2f} with it, and no delta brought one there.")

    def _row(self, cause, row):
        """The fate of a box that top-k kept."""
        a, box = int(self["rpn.kept_by_topk"][row]), self["rpn.clipped"][row]
        facts = dict(anchor=a, row=row, box=box, objectness=float(self["rpn.logits"][a]))
        said = f"Anchor {a} was moved to {_show(box)}, logit {facts['objectness']:.2f}"
        if cause == "post_nms":
            facts["rank"] = int(np.flatnonzero(self["rpn.kept_by_nms"] == row)[0])
            facts["text"] = f"{said}: number {facts['rank'] + 1} of the image, and {self['rpn.post_nms']} become proposals."
        elif cause == "rpn_nms":
            by = facts["suppressed_by"] = int(self["rpn.suppressed_by"][row])
            facts["iou"] = float(iou.box_iou(box[None], self["rpn.clipped"][by:by + 1])[0, 0])
            surer = self["rpn.logits"][self["rpn.kept_by_topk"][by]]
            facts["text"] = (f"{said}, and dropped by {_show(self['rpn.clipped'][by])}, logit {surer:.2f}, IoU {facts['iou']:.2f} > "
                             f"{self['rpn.nms_threshold']}.")
        elif cause == "small_proposal":
            facts["text"] = f"{said}, under a pixel wide or high."
        else:
            H, W = self["rpn.size"]
            facts["text"] = f"{said}: all that the image of {H} x {W} leaves of {_show(self['rpn.decoded'][row])}."
        return cause, facts

    # ------------------------------------------------------------------------------------------------ levels
    def _cells(self, region):
        return float(self["roi.cells"][region, self["roi.level"][region]])

    def _better_level(self, region):
        """A level from which the crop would be of a fitting number of cells, where its own is not; else None."""
        few, many = FITTING_CELLS
        fits = np.flatnonzero((self["roi.cells"][region] >= few) & (self["roi.cells"][region] <= many))
        return None if few <= self._cells(region) <= many or not len(fits) else int(fits[0])

    def _level_facts(self, region, said):
        better, level = self._better_level(region), int(self["roi.level"][region])
        return dict(better_level=better, cells=self._cells(region), text=(
            f"{said}; it was cut from level {level}, where it is {self._cells(region):.1f} cells across, and on level {better} it would be "
            f"{self['roi.cells'][region, better]:.1f}."))


def _suppressed_by(boxes, big, kept, threshold, groups):
    """nms.suppressed_by over the rows `big` of boxes, said in rows of boxes: (N,), -1 for kept and for small ones."""
    by, said = nms.suppressed_by(boxes[big], kept, threshold, groups[big]), np.full(len(boxes), -1, np.int64)
    said[big] = np.where(by >= 0, big[by], -1) if len(big) else by
    return said


def _show(box):
    return "(" + ", ".join(f"{v:.1f}" for v in box) + ")"
