"""Faster R-CNN as a whole: one directional derivative finds a lost branch, and the losses have their names and switches."""
import numpy as np
import pytest
import whole_model

from numpyvision import tree
from numpyvision.boxes import coder
from numpyvision.data.sample import Sample
from numpyvision.models import build
from numpyvision.models.faster_rcnn import LOSSES, FasterRCNN
from numpyvision.models.rpn import flatten_levels, highest, unflatten_levels

SMALL = dict(classes=["background", "cat", "dog"], widths=[8, 8, 16, 16], blocks=[1, 1, 1, 1], channels=8, anchor_sizes=[[12], [24], [40]],
             hidden=12, rpn_samples=16, roi_samples=8, pre_nms=30, post_nms=12)


def sample(rng, boxes, labels):
    return Sample(image=rng.random((3, 64, 64)), boxes=np.array(boxes, np.float64).reshape(-1, 4), labels=np.array(labels, np.int64))


@pytest.fixture
def scene():
    """A model in float64 and a batch of two images: three objects, and none at all."""
    rng = np.random.default_rng(0)
    model = FasterRCNN(**SMALL, rng=rng, dtype=np.float64)
    for p in dict(model.named_params()).values():              # biases and gammas off their round starting values
        p += 0.05 * rng.standard_normal(p.shape)
    targets = [sample(rng, [[5.2, 8.1, 30.3, 33.7], [35.1, 30.2, 61.4, 60.8], [2.1, 40.3, 14.6, 52.2]], [1, 2, 1]), sample(rng, [], [])]
    return model, np.stack([t.image for t in targets]), targets, np.array([[64, 64], [64, 60]])


def proposals(rng):
    truth = np.array([[5.2, 8.1, 30.3, 33.7], [35.1, 30.2, 61.4, 60.8]])
    return [np.concatenate([truth + rng.uniform(-3, 3, truth.shape), [[10.3, 2.2, 50.1, 20.7]]]), np.array([[3.3, 4.4, 30.2, 41.9]])]


@pytest.mark.parametrize("off", [None, *LOSSES])
def test_gradient_of_everything_with_each_loss_on_and_off(scene, off):
    """(L(v + e d) - L(v - e d)) / 2e against <gradient, d>, over all parameters and all pixels at once, weights at random."""
    rng = np.random.default_rng(1)
    assert whole_model.relative_error(*scene, {name: 0.0 if name == off else rng.uniform(0.5, 2) for name in LOSSES}) < 1e-6


@pytest.mark.parametrize("off", [None, *LOSSES])
def test_gradient_of_everything_with_proposals_that_move(scene, off):
    """L16-R07: no proposal is held here; which are chosen is the same on both sides of so small a step."""
    rng, model = np.random.default_rng(1), whole_model.lenient(scene[0])
    model.detach_proposals = False
    assert whole_model.relative_error(*scene, {name: 0.0 if name == off else rng.uniform(0.5, 2) for name in LOSSES}, eps=1e-7) < 1e-6


@pytest.mark.parametrize("name", ["loss_classifier", "loss_box_reg"])
def test_stage_2_moves_the_proposals_only_where_they_are_attached(scene, name):
    """L16-R07."""
    model, images, targets, sizes = scene
    whole_model.lenient(model)
    for detached in (True, False):
        model.detach_proposals = detached
        _, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
        _, grads = model.backward({name: 1.0}, cache)
        head = tree.flatten(grads["rpn"]["head"])
        moved = {n: bool((g != 0).any()) for n, g in head.items()}
        assert moved["deltas.w"] == moved["deltas.b"] == moved["conv.w"] == (not detached)
        assert not moved["objectness.w"], "which proposals are chosen has no slope"
    fixed = model.forward(images, targets, sizes, rng=np.random.default_rng(0), proposals=proposals(np.random.default_rng(1)))[1]
    assert (model.backward({name: 1.0}, fixed)[1]["rpn"]["head"]["deltas"]["w"] == 0).all(), "given proposals are not the RPN's to move"


def test_four_losses_by_name_and_a_zero_weight_leaves_no_trace(scene):
    model, images, targets, sizes = scene
    losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
    assert tuple(losses) == LOSSES and all(np.isfinite(v) and v > 0 for v in losses.values())
    _, none = model.backward({}, cache)
    assert all((g == 0).all() for g in tree.flatten(none).values())
    _, box = model.backward({"loss_box_reg": 1.0}, cache)
    flat = tree.flatten(box)
    assert (flat["box.classifier.w"] == 0).all() and (flat["rpn.head.conv.w"] == 0).all() and (flat["box.regressor.w"] != 0).any()


def test_only_the_true_class_learns_its_box(scene):
    """L16-F07, and L16-S04: background regions have no box target."""
    model, images, targets, sizes = scene
    targets = [targets[0], targets[1]]
    for t in targets:
        t.labels[:] = 2
    _, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0), proposals=proposals(np.random.default_rng(1)))
    _, grads = model.backward({"loss_box_reg": 1.0}, cache)
    w = grads["box"]["regressor"]["w"].reshape(-1, 2, 4)
    assert (w[:, 0] == 0).all() and (w[:, 1] != 0).any()


def test_every_object_has_a_positive_anchor(scene):
    """L16-R04."""
    model, images, targets, sizes = scene
    P, _ = model.fpn.forward(model.backbone.forward(images)[0])
    anchors = model.rpn.anchors(P)
    image, anchor, labels, deltas = model.rpn.targets(anchors, targets, np.random.default_rng(0))
    positive = labels == 1
    reached = coder.decode_boxes(deltas, anchors[anchor[positive]])                          # L16-R02: the targets lead to the truth
    for box in targets[0].boxes:
        assert abs(reached - box).max(axis=1).min() < 1e-9
    assert (image[positive] == 0).all() and (image == 1).any()                               # the empty image gives negatives only


def test_anchors_are_the_callers_own(scene):
    """They are laid out once for all batches of one size; who writes into his writes into nobody else's."""
    model, images, _, _ = scene
    P, _ = model.fpn.forward(model.backbone.forward(images)[0])
    anchors = model.rpn.anchors(P)
    again = anchors.copy()
    anchors[:] = 0
    np.testing.assert_array_equal(model.rpn.anchors(P), again)


def test_proposals_are_sorted_apart_and_inside(scene):
    """L16-R06."""
    from numpyvision.boxes import iou
    model, images, targets, sizes = scene
    P, _ = model.fpn.forward(model.backbone.forward(images)[0])
    found, losses, _ = model.rpn.forward(P, sizes, train=False)
    assert losses == {} and all(0 < len(f) <= SMALL["post_nms"] for f in found)
    for boxes, (H, W) in zip(found, sizes, strict=True):
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2] <= W).all() and (boxes[:, 3] <= H).all()
        overlap = iou.box_iou(boxes, boxes) - np.eye(len(boxes))
        assert overlap.max() < 1                                                             # no box twice


def test_levels_flatten_in_the_order_of_the_anchors():
    maps = [np.arange(2 * 6 * 2 * 3.).reshape(2, 6, 2, 3), np.arange(2 * 6 * 1 * 1.).reshape(2, 6, 1, 1)]
    flat = flatten_levels(maps, 2)                                                           # 3 anchors a cell, 2 values each
    assert flat.shape == (2, 3 * 6 + 3, 2)
    assert flat[1, (1 * 3 + 2) * 3 + 1].tolist() == [maps[0][1, 2, 1, 2], maps[0][1, 3, 1, 2]]     # row 1, column 2, anchor 1
    for m, back in zip(maps, unflatten_levels(flat, [m.shape for m in maps], [6, 6]), strict=True):
        np.testing.assert_array_equal(m, back)


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("post_nms", [12, 0])
def test_a_batch_without_any_object_trains(scene, detached, post_nms):
    """Nor without any proposal."""
    model, images, _, sizes = scene
    model.detach_proposals, model.rpn.post_nms = detached, post_nms
    rng = np.random.default_rng(0)
    empty = [sample(rng, [], []), sample(rng, [], [])]
    losses, cache = model.forward(images, empty, sizes, rng=rng)
    assert losses["loss_box_reg"] == 0 and losses["loss_rpn_box_reg"] == 0
    dimages, grads = model.backward(dict.fromkeys(LOSSES, 1.0), cache)
    assert all(np.isfinite(g).all() for g in tree.flatten(grads).values()) and np.isfinite(dimages).all()


def test_config_builds_the_same_model_again(scene):
    model = scene[0]
    assert FasterRCNN(**SMALL, rng=np.random.default_rng(5)).detach_proposals
    model = FasterRCNN(**SMALL, detach_proposals=False, rng=np.random.default_rng(5))
    again = build("faster_rcnn", model.config(), rng=np.random.default_rng(5), dtype=np.float64)
    assert not again.detach_proposals
    assert {n: p.shape for n, p in again.named_params()} == {n: p.shape for n, p in model.named_params()}
    with pytest.raises(ValueError, match="no model is called 'yolo'; there are classifier, .*faster_rcnn"):
        build("yolo", {}, rng=np.random.default_rng(0))


def test_predicts_boxes_inside_their_own_image(scene):
    model, images, _, sizes = scene
    found = model.predict(images, sizes, score_threshold=0.0)
    assert len(found) == 2
    for d, (H, W) in zip(found, sizes, strict=True):
        assert len(d) and (d.boxes[:, 2] <= W).all() and (d.boxes[:, 3] <= H).all() and set(d.labels) <= {1, 2}
        assert (np.diff(d.scores) <= 0).all()


def test_a_batch_without_images_is_refused(scene):
    model, images, _, sizes = scene
    with pytest.raises(ValueError, match="a batch needs at least one image, got none"):
        model.predict(images[:0], sizes[:0])


@pytest.mark.parametrize("detached", [True, False])
def test_float32_stays_float32(scene, detached):
    """An int64 image size that meets a float32 box would make float64 of it, and every step slower from there."""
    _, images, targets, sizes = scene
    model = FasterRCNN(**SMALL, detach_proposals=detached, rng=np.random.default_rng(0))
    _, cache = model.forward(images.astype(np.float32), targets, sizes, rng=np.random.default_rng(0))
    dimages, grads = model.backward(dict.fromkeys(LOSSES, 1.0), cache)
    assert {g.dtype for g in tree.flatten(grads).values()} | {dimages.dtype} == {np.dtype(np.float32)}
    found = model.predict(images.astype(np.float32), sizes, score_threshold=0.0)
    assert {d.boxes.dtype for d in found} | {d.scores.dtype for d in found} == {np.dtype(np.float32)}


@pytest.mark.parametrize("spoil", ["nothing", "ties", "NaN", "all NaN"])
def test_the_highest_scores_are_those_of_a_whole_sort(spoil):
    scores = np.random.default_rng(0).standard_normal(500).astype(np.float32)
    spoilt = np.where(np.arange(500) % 3, np.nan, scores)
    scores = {"nothing": scores, "ties": scores.round(), "NaN": spoilt, "all NaN": scores * np.nan}[spoil]
    for n in (0, 1, 100, 499, 500, 600):
        np.testing.assert_array_equal(highest(scores, n), np.argsort(-scores, kind="stable")[:n])
