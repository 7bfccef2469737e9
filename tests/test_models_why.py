"""`why` and `explain_missing`: a detector that is right about everything, and one thing broken at a time; the cause must be named."""
import types

import numpy as np
import pytest
import whole_model

from numpyvision.boxes import coder, iou
from numpyvision.boxes.detections import Detections
from numpyvision.models.faster_rcnn import FasterRCNN
from numpyvision.models.roi_heads import BOX_WEIGHTS
from numpyvision.models.rpn import unflatten_levels
from numpyvision.models.why import CAUSES

SMALL = dict(classes=["background", "cat", "dog"], widths=[8, 8, 8, 8], blocks=[1, 1, 1, 1], channels=8, anchor_sizes=[[12], [24], [40]],
             hidden=8, pre_nms=200, post_nms=50)
CAT, DOG = (8.0, 8.0, 32.0, 32.0), (37.0, 34.0, 61.0, 62.0)
BESIDE = (24.0, 8.0, 48.0, 32.0)                                   # IoU 0.2 with CAT
CLOSE = (13.0, 8.0, 37.0, 32.0)                                    # IoU 0.66: the RPN's NMS keeps both, the last one does not
CLOSER = (11.0, 8.0, 35.0, 32.0)                                   # IoU 0.78: nor does the RPN's
SMALL_CAT = (40.0, 10.0, 52.0, 22.0)


class Detector:
    """A FasterRCNN whose two heads know the truth: objects [(box, label)]. What is broken is an attribute."""

    def __init__(self, objects=((CAT, 1), (DOG, 2)), **settings):
        self.boxes, self.labels = np.array([b for b, _ in objects]), np.array([k for _, k in objects])
        self.model = FasterRCNN(**SMALL | settings, rng=np.random.default_rng(0), dtype=np.float64)
        self.size, self.options = (64, 64), {}
        self.reach, self.sees = 0.3, 0.5                           # from this IoU on, an anchor moves; and a region sees what it is
        self.objectness = np.linspace(6, 5, len(objects))          # logit of an anchor right on each object, less for those beside
        self.rpn_shift, self.box_shift = np.zeros(len(objects)), np.zeros(len(objects))        # in pixels to the right
        self.says, self.sure = self.labels.copy(), np.linspace(5, 4, len(objects))
        self.blind = lambda cells: False
        self.model.rpn.head = types.SimpleNamespace(forward=self.rpn_head)
        self.model.box.forward = self.box_head

    def nearest(self, boxes):
        overlap = iou.box_iou(boxes, self.boxes)
        return overlap.argmax(axis=1), overlap.max(axis=1)

    def moved(self, shift):
        return self.boxes + np.stack([shift, 0 * shift, shift, 0 * shift], axis=1)

    def rpn_head(self, P, train=True):
        anchors = self.model.rpn.anchors(P)
        nearest, overlap = self.nearest(anchors)
        logits = np.where(overlap > 0, self.objectness[nearest] - 5 * (1 - overlap), -5) + 1e-6 * np.arange(len(anchors))
        deltas = coder.encode_boxes(self.moved(self.rpn_shift)[nearest], anchors) * (overlap >= self.reach)[:, None]
        shapes = [p.shape for p in P]
        return (unflatten_levels(logits[None, :, None], shapes, [3] * 3), unflatten_levels(deltas[None], shapes, [12] * 3)), None

    def box_head(self, P, rois, labels=None, gt_deltas=None, train=True):
        nearest, overlap = self.nearest(rois[:, 1:])
        cells = np.sqrt((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])) / np.array([4, 8, 16])[self.model.box.pool.levels(rois)]
        sees = (overlap >= self.sees) & ~np.array([self.blind(c) for c in cells], bool)
        logits, deltas = np.zeros((len(rois), 3)), np.zeros((len(rois), 2, 4))
        logits[:, 0] = np.where(sees, 0, 9)
        logits[np.flatnonzero(sees), self.says[nearest[sees]]] = self.sure[nearest[sees]]
        deltas[sees] = coder.encode_boxes(self.moved(self.box_shift)[nearest[sees]], rois[sees, 1:], BOX_WEIGHTS)[:, None]
        return (logits, deltas), {}, None

    def predict(self):
        found, traces = self.model.predict(np.zeros((1, 3, 64, 64)), np.array([self.size]), trace=True, **self.options)
        assert found[0].trace is traces[0]
        return found[0]


def plant(cause, gt=CAT, label=1, objects=((CAT, 1), (DOG, 2)), threshold=0.5, settings=None, facts=None, **broken):
    return cause, gt, label, objects, threshold, settings or {}, facts or (lambda f, d: True), broken


TWO_CATS, CLOSE_CATS, CLOSER_CATS = ((CAT, 1), (BESIDE, 1)), ((CAT, 1), (CLOSE, 1)), ((CAT, 1), (CLOSER, 1))
TINY = (20.3, 20.2, 21.0, 20.9)
suppressor = lambda stage, box: lambda f, d: np.allclose(d.trace[stage][f["suppressed_by"]], box, atol=1e-6)

PLANTS = {
    "nothing is wrong": plant("found", facts=lambda f, d: f["score"] > 0.9),
    "nothing is wrong with the other": plant("found", DOG, 2),
    "the threshold is too high": plant("score_threshold", options=dict(score_threshold=0.999), facts=lambda f, d: f["probability"] > 0.9),
    "the class is not sure enough": plant("score_threshold", sure=np.array([1.0, 4]), options=dict(score_threshold=0.6),
                                         facts=lambda f, d: abs(f["probability"] - 0.576) < 1e-3),
    "the cat looks like a dog": plant("wrong_class", says=np.array([2, 2]), facts=lambda f, d: f["other"] == 2),
    "the dog looks like a cat": plant("wrong_class", DOG, 2, says=np.array([1, 1]), facts=lambda f, d: f["other"] == 1),
    "a cat hides another at the end": plant("final_nms", CLOSE, objects=CLOSE_CATS, threshold=0.7, facts=suppressor("final.boxes", CAT)),
    "the last NMS is too strict": plant("final_nms", BESIDE, objects=TWO_CATS, options=dict(nms_threshold=0.1),
                                        facts=lambda f, d: abs(f["iou"] - 0.2) < 1e-6),
    "a cat hides another in the RPN": plant("rpn_nms", CLOSER, objects=CLOSER_CATS, threshold=0.8, facts=suppressor("rpn.clipped", CAT)),
    "the RPN's NMS is too strict": plant("rpn_nms", BESIDE, 2, objects=((CAT, 1), (BESIDE, 2)), rpn=dict(nms_threshold=0.1),
                                         facts=suppressor("rpn.clipped", CAT)),
    "room for one box a level": plant("topk", BESIDE, objects=TWO_CATS, settings=dict(pre_nms=1), facts=lambda f, d: f["level"] == 1),
    "the RPN overlooks it": plant("topk", objectness=np.array([-9.0, 5]), settings=dict(pre_nms=5), facts=lambda f, d: f["rank"] >= 5),
    "room for one proposal": plant("post_nms", DOG, 2, settings=dict(post_nms=1), facts=lambda f, d: f["rank"] >= 1),
    "the RPN prefers everything else": plant("post_nms", objectness=np.array([-20.0, 5]), settings=dict(pre_nms=9999),
                                             facts=lambda f, d: f["rank"] >= 50),
    "room for one detection": plant("max_detections", DOG, 2, options=dict(max_detections=1), facts=lambda f, d: f["rank"] == 1),
    "no anchor so small": plant("no_anchor", TINY, objects=((TINY, 1), (DOG, 2)), facts=lambda f, d: f["level"] == 0),
    "no anchor so long": plant("no_anchor", (2, 30, 62, 34), objects=(((2.0, 30.0, 62.0, 34.0), 1), (DOG, 2))),
    "no anchor so large": plant("no_anchor", (1, 1, 63, 63), objects=(((1.0, 1.0, 63.0, 63.0), 1),), reach=0.5,
                                facts=lambda f, d: f["level"] == 2),
    "no anchor of that size left": plant("no_anchor", SMALL_CAT, objects=((SMALL_CAT, 1),),
                                         settings=dict(anchor_sizes=[[40], [40], [40]]), reach=0.3),
    "the RPN moves it away": plant("rpn_regression", rpn_shift=np.array([20.0, 0]), facts=lambda f, d: abs(f["moved_to"][0] - 28) < 1e-6),
    "the second stage moves it away": plant("box_regression", box_shift=np.array([20.0, 0])),
    "half of it outside the image": plant("clipped", DOG, 2, size=(64, 45), facts=lambda f, d: abs(f["box"][2] - 45) < 1e-6),
    "all of it outside the image": plant("clipped", DOG, 2, size=(30, 64)),
    "the RPN makes it smaller than a pixel": plant("small_proposal", TINY, objects=((TINY, 1),), reach=1e-9,
                                                   facts=lambda f, d: np.allclose(f["box"], TINY)),
    "the second stage makes it smaller than a pixel": plant("small_box", TINY, objects=((TINY, 1),), sees=1e-9),
    "cut from a level where it is a dot": plant("wrong_level", SMALL_CAT, objects=((SMALL_CAT, 1),), pool=dict(canonical_size=4),
                                                blind=lambda cells: cells < 1.5,
                                                facts=lambda f, d: (f["level"], f["better_level"]) == (2, 0)),
    "moved away from where it is a dot": plant("wrong_level", SMALL_CAT, objects=((SMALL_CAT, 1),), pool=dict(canonical_size=4),
                                               box_shift=np.array([12.0]), facts=lambda f, d: abs(f["cells"] - 0.75) < 1e-6),
}


def detector_of(objects, settings, broken):
    d, broken = Detector(objects, **settings), dict(broken)
    for name, target in (("rpn", d.model.rpn), ("pool", d.model.box.pool)):
        vars(target).update(broken.pop(name, {}))
    assert set(broken) <= set(vars(d)), "a plant that breaks nothing"
    vars(d).update(broken)
    return d


@pytest.mark.parametrize("name", PLANTS)
def test_names_the_cause(name):
    cause, gt, label, objects, threshold, settings, facts, broken = PLANTS[name]
    found = detector_of(objects, settings, broken).predict()
    said = found.explain_missing(gt, label, threshold)
    assert said.cause == cause, said
    assert facts(said.facts, found), said.facts
    hit = (found.labels == label) & (iou.box_iou(np.array([gt], float), found.boxes)[0] >= threshold)
    assert hit.any() == (cause == "found") and str(said).startswith(SMALL["classes"][label])


def world_is_whole(cause, gt, label, objects, threshold, *_):
    """Not so where the object itself is what no anchor fits, or two are too close for any detector of this setting."""
    return cause not in ("no_anchor", "small_proposal", "small_box") and threshold == 0.5


@pytest.mark.parametrize("name", [name for name in PLANTS if world_is_whole(*PLANTS[name])])
def test_what_is_not_broken_is_found(name):
    """The same world before anything is broken: what is broken is the cause then, and not the world."""
    _, gt, label, objects, threshold, *_ = PLANTS[name]
    assert Detector(objects).predict().explain_missing(gt, label, threshold).cause == "found"


def test_at_least_twenty_failures_and_every_cause_among_them():
    causes = [plant[0] for plant in PLANTS.values()]
    assert len(causes) - causes.count("found") >= 20 and set(causes) == set(CAUSES)


def test_why_follows_a_detection_to_its_anchor():
    found = Detector().predict()
    facts = found.why(0).facts
    t = found.trace
    np.testing.assert_array_equal(found.boxes[0], facts["box"])
    np.testing.assert_array_equal(coder.decode_boxes(t["rpn.deltas"][facts["anchor"]], facts["anchor_box"]), facts["proposal_box"])
    assert facts["score"] == found.scores[0] == facts["class_probs"][found.labels[0]] and facts["objectness"] == t["rpn.logits"].max()
    assert facts["objectness_rank"] == 0 and facts["anchor_level"] == 1 and len(facts["rpn_suppressed"]) > 0
    assert found[1:].why(0).facts["label"] == found.labels[1], "rows may be chosen, and every one still knows its own way"
    assert str(found.why(0)).splitlines()[0].startswith("cat 0.9")


def test_a_trace_changes_nothing_and_every_stage_shrinks_the_one_before():
    model, images, _, sizes = whole_model.scene(keypoints=True)
    plain, (found, traces) = model.predict(images, sizes), model.predict(images, sizes, trace=True)
    for a, b, t in zip(plain, found, traces, strict=True):
        for field in ("boxes", "labels", "scores", "masks", "keypoints"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
        np.testing.assert_array_equal(t["final.boxes"][t["final.kept"]], b.boxes)
        np.testing.assert_array_equal(t["rpn.clipped"][t["rpn.chosen"]], t["rpn.proposals"])
        kept = (t["rpn.suppressed_by"] < 0) & ~t["rpn.small"]
        assert sorted(t["rpn.kept_by_nms"]) == np.flatnonzero(kept).tolist()
        counts = [len(t[n]) for n in ("rpn.anchors", "rpn.kept_by_topk", "rpn.kept_by_nms", "rpn.proposals")]
        assert counts == sorted(counts, reverse=True) and len(t["roi.class_probs"]) == counts[-1]
        assert [b.why(i).facts["label"] for i in range(len(b))] == b.labels.tolist()
        assert "rpn.anchors" in repr(t)


def test_found_if_and_only_if_a_detection_of_its_class_lies_on_it():
    model, images, _, sizes = whole_model.scene()
    rng = np.random.default_rng(5)
    found, _ = model.predict(images, sizes, score_threshold=0.3, nms_threshold=0.3, max_detections=9, trace=True)
    corner = rng.uniform(-5, 50, (150, 2))
    causes = set()
    for d in found:
        for box in [*np.concatenate([corner, corner + rng.uniform(5, 40, (150, 2))], axis=1), *d.boxes]:
            for label in (1, 2):
                hit = (iou.box_iou(box[None], d.boxes[d.labels == label]) >= 0.5).any()
                cause = d.explain_missing(box, label).cause
                assert (cause == "found") == hit
                causes.add(cause)
    assert len(causes) >= 7, "a wide enough world to mean something"


@pytest.mark.parametrize("empty", ["anchors", "proposals", "candidates"])
def test_a_stage_with_nothing_in_hand(empty):
    d = Detector()
    if empty == "candidates":
        d.options = dict(score_threshold=1.0)
    else:
        setattr(d.model.rpn, {"anchors": "pre_nms", "proposals": "post_nms"}[empty], 0)
    found = d.predict()
    assert len(found) == 0
    assert found.explain_missing(CAT, 1).cause == {"anchors": "topk", "proposals": "post_nms", "candidates": "score_threshold"}[empty]


def test_complains():
    with pytest.raises(ValueError, match="predict with trace=True"):
        Detections.empty().explain_missing(CAT, 1)
    with pytest.raises(ValueError, match="0 is the background"):
        Detector().predict().explain_missing(CAT, 0)
