"""The lecture's rows of Faster R-CNN (R), Mask R-CNN (M), keypoints (K) and heads of one's own (H)."""
import numpy as np
import whole_model
from lecture_rows import close, rng, row

from numpyvision import models, tree
from numpyvision.boxes import anchors, coder, convert, iou, keypoints, mask_crops, matching
from numpyvision.losses import classification
from numpyvision.models import regions
from numpyvision.models.colour_head import ColourHead
from numpyvision.models.keypoint_head import KeypointBranch
from numpyvision.models.mask_head import MaskBranch
from numpyvision.models.rpn import RPN, flatten_levels

FOUR = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg")
STRIDES = (4, 8, 16)


def losses_of(**settings):
    model, images, targets, sizes = whole_model.scene(**settings)
    return model, model.forward(images, targets, sizes, rng=rng())


@row("R01")
def four_losses_each_with_a_head_of_its_own():
    """A loss alone reaches its own head's last layer and no other's; none at all reaches nothing."""
    model, (losses, cache) = losses_of(masks=False)
    assert tuple(losses) == FOUR and all(value > 0 for value in losses.values())
    own = dict(zip(FOUR, ("rpn.head.objectness.w", "rpn.head.deltas.w", "box.classifier.w", "box.regressor.w"), strict=True))
    for name in FOUR:
        grads = tree.flatten(model.backward({name: 1.0}, cache)[1])
        assert [head for head in own.values() if (grads[head] != 0).any()] == [own[name]]
    assert not any(g.any() for g in tree.flatten(model.backward({}, cache)[1]).values())


@row("R02")
def from_anchor_to_proposal_to_object():
    """Half of the way in each stage, each with a reference of its own, ends on the object."""
    anchor, truth = np.array([[30., 30, 60, 60]]), np.array([[33.3, 20.1, 71.9, 64.2]])
    proposal = coder.decode_boxes(coder.encode_boxes(truth, anchor) / 2, anchor)
    assert 0 < iou.box_iou(anchor, truth)[0, 0] < iou.box_iou(proposal, truth)[0, 0] < 1
    close(coder.decode_boxes(coder.encode_boxes(truth, proposal), proposal), truth)
    assert abs(coder.decode_boxes(coder.encode_boxes(truth, proposal), anchor) - truth).max() > 1            # the wrong reference


@row("R03")
def anchors_stand_at_the_centres_of_the_cells():
    """The slide's 5 x 6 map has 30 centres; K = 9 kinds at each."""
    cell = anchors.cell_anchors((64, 128, 256), (0.5, 1, 2), np.float64)
    grid = anchors.grid_anchors((5, 6), 32, cell=cell)
    centres = ((grid[:, :2] + grid[:, 2:]) / 2).reshape(5, 6, 9, 2)
    assert len(grid) == 30 * 9
    for i, j in ((0, 0), (2, 5), (4, 1)):
        close(centres[i, j], np.tile([(j + 0.5) * 32, (i + 0.5) * 32], (9, 1)), 1e-4)
    head = models.build("faster_rcnn", dict(classes=["background", "dog"]), rng=rng()).rpn.head
    (logits, deltas), _ = head.forward([np.zeros((1, 48, 5, 6), np.float32)])
    assert logits[0].shape == (1, 6, 5, 6) and deltas[0].shape == (1, 4 * 6, 5, 6)                           # K and 4K maps: K = 6 here


@row("R04")
def anchors_are_positive_negative_or_neutral():
    """Columns are anchors. The second object's best anchor reaches only 0.4, and is positive all the same."""
    table = np.array([[0.7, 0.69, 0.3, 0.29, 0.1], [0.0, 0.1, 0.4, 0.2, 0.1]])
    matched, labels = matching.match_boxes(table, 0.7, 0.3, allow_low_quality=True)
    assert labels.tolist() == [1, -1, 1, 0, 0] and matched[[0, 2]].tolist() == [0, 1]
    assert matching.match_boxes(table, 0.7, 0.3)[1].tolist() == [1, -1, -1, 0, 0]                            # without that rule


@row("R05")
def the_second_stage_trains_as_fast_rcnn_does():
    """The same branch makes the same targets of the same boxes; the objects' own boxes are always among them."""
    model, images, targets, sizes = whole_model.scene()
    fast = models.build("fast_rcnn", {k: v for k, v in whole_model.SMALL.items() if k in (
        "classes", "widths", "blocks", "channels", "hidden", "roi_samples")}, rng=rng(), dtype=np.float64)
    assert type(fast.box) is type(model.box)
    given = whole_model.proposals(rng(1))
    for a, b in zip(fast.box.targets(given, targets, rng()), model.box.targets(given, targets, rng()), strict=True):
        assert (a == b).all()
    rois, labels, _ = model.box.targets([boxes[:0] for boxes in given], targets, rng())
    close(rois[labels > 0][:, 1:], whole_model.TRUTH)


@row("R06")
def at_test_time_the_best_proposals_after_nms():
    """Of one level here, where NMS sees all: sorted by objectness, no two of IoU above 0.7, at most so many, inside the image."""
    rpn = RPN(8, (8,), [(24, 40)], pre_nms=80, post_nms=20, rng=rng(6), dtype=np.float64)
    for p in dict(rpn.named_params()).values():
        p += 0.1 * rng(7).standard_normal(p.shape)
    P = [rng(8).standard_normal((1, 8, 8, 8))]
    boxes = rpn.forward(P, np.array([[60, 64]]), train=False)[0][0]
    scores = anchor_scores(rpn, P)
    assert 1 < len(boxes) <= 20 and (boxes >= 0).all() and (boxes <= [64, 60, 64, 60]).all()
    assert np.triu(iou.box_iou(boxes, boxes), 1).max() <= 0.7
    order = [scores[tuple(box)] for box in boxes.round(9)]
    assert order == sorted(order, reverse=True) and order[0] == max(scores.values())


def anchor_scores(rpn, P):
    """{decoded and clipped box: the best objectness of an anchor that gives it}."""
    (logits, deltas), _ = rpn.head.forward(P)
    logits, deltas = flatten_levels(logits, 1)[0, :, 0], flatten_levels(deltas, 4)[0]
    decoded = convert.clip_boxes(coder.decode_boxes(deltas, rpn.anchors(P)), (60, 64)).round(9)
    return {tuple(box): score for score, box in sorted(zip(logits, decoded, strict=True), key=lambda pair: pair[0])}


@row("R07")
def the_arrow_into_the_proposals():
    model, images, targets, sizes = whole_model.scene(masks=False)
    whole_model.lenient(model)
    for model.detach_proposals in (True, False):
        _, cache = model.forward(images, targets, sizes, rng=rng())
        grads = tree.flatten(model.backward({"loss_classifier": 1.0}, cache)[1])
        assert (grads["rpn.head.deltas.w"] != 0).any() == (not model.detach_proposals)
        assert (grads["fpn.output.0.w"] != 0).any(), "into the features it flows in any case"


@row("M01", "K03")
def a_mask_and_a_pose_for_every_box_in_one_forward():
    model, images, _, sizes = whole_model.scene(keypoints=True)
    for found, size in zip(model.predict(images, sizes, score_threshold=0.0), sizes, strict=True):
        D = len(found)
        assert D > 0 and found.masks.shape == (D, *size) and found.keypoints.shape == (D, 17, 3)
        y, x = np.mgrid[:size[0], :size[1]]
        for mask, (x1, y1, x2, y2) in zip(found.masks, found.boxes, strict=True):
            assert (x[mask] + 1 >= x1).all() and (x[mask] <= x2).all() and (y[mask] + 1 >= y1).all() and (y[mask] <= y2).all()


@row("M02")
def the_shapes_of_the_slide():
    """Region features 256 x 14 x 14, masks C x 28 x 28; C classes with 4 C numbers for their boxes."""
    C, P = 80, [np.zeros((1, 256, 2 ** k, 2 ** k), np.float32) for k in (5, 4, 3)]
    branch = MaskBranch(256, C, STRIDES, output_size=14, hidden=256, convs=4, rng=rng())
    rois = np.array([[0, 0, 0, 56, 56.]], np.float32)
    logits, _, cache = branch.forward(P, rois)
    assert branch.pool.forward(P, rois)[0].shape == (1, 256, 14, 14) and logits.shape == (1, C, 28, 28)
    box = models.build("mask_rcnn", dict(classes=["background", *map(str, range(C))]), rng=rng()).box
    assert box.classifier.params["w"].shape[1] == C + 1 and box.regressor.params["w"].shape[1] == 4 * C


@row("M03")
def classes_do_not_compete_for_a_pixel():
    model, (_, cache) = losses_of()
    head = cache.heads["mask"]
    shape, column = head.shape, head.column
    grads = model.heads["mask"].backward({"loss_mask": 1.0}, head)[1]
    learns = {k for k in range(shape[1]) if (grads["logits"]["w"][k] != 0).any()}
    assert learns == set(column.tolist())


@row("M04")
def a_target_is_the_objects_mask_cut_by_the_proposal():
    """The slide's four: a tight chair; a bed without the child that lies on it; a loose box whose chair fills the top 60 %; the child."""
    chair, child = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    chair[20:44, 10:38], child[60:74, 50:64] = True, True
    bed = np.zeros((100, 100), bool)
    bed[50:100, 40:100] = True
    bed &= ~child

    def share(mask, box):
        return mask_crops.crop_masks(mask[None], np.array([box], float), 28)[0]

    def target(mask, box):
        return share(mask, box) >= 0.5
    assert target(chair, [10, 20, 38, 44]).all()
    hole = target(bed, [40, 50, 100, 100])
    close(1 - share(bed, [40, 50, 100, 100]).mean(), 14 * 14 / (50 * 60), 1e-9)      # the polygons' areas
    assert not hole[10, 8] and hole[0, 0] and hole[27, 27]                  # (64.. 74, 50..64) is the child's
    loose = target(chair, [10, 20, 38, 60])                                 # 40 tall, of which the chair is the first 24
    assert loose[:16].all() and not loose[17:].any()
    assert target(child, [50, 60, 64, 74]).all()


@row("M05")
def very_good_results():
    """The shipped weights of our own training, on scenes that nobody has trained on: every second scene's masks are mostly right."""
    from pathlib import Path

    from numpyvision import runs
    from numpyvision.metrics import objects
    model, config = runs.load_weights(Path(__file__).parent.parent / "data" / "joint_rcnn_scenes.safetensors")
    dataset = runs.open_data("scenes", "val", 24)
    numbers, _ = objects.score_objects(runs.predictions(model, dataset, config["recipe"]["short_side"], progress=False), model.classes)
    assert numbers["masks"]["AP50"] > 0.5 and numbers["AP50"] > 0.5


@row("M06")
def four_losses_and_one():
    assert tuple(losses_of()[1][0]) == (*FOUR, "loss_mask")


@row("K01")
def seventeen_joints():
    names = keypoints.NAMES
    assert len(names) == 1 + 8 * 2 == 17 and names[0] == "nose"
    points = np.zeros((1, 17, 3))
    points[0, :, 0], points[0, :, 2] = np.arange(17), 2
    back = keypoints.flip_keypoints(points, 100)[0, :, 0]
    mirrored = [names[int(100 - x)] for x in back]
    swap = {"left": "right", "right": "left"}
    assert mirrored == [("_".join([swap.get(part, part) for part in name.split("_")])) for name in names]


@row("K02")
def one_pixel_on_and_a_softmax_over_all():
    """The region (10, 20, 66, 132) and the joint (38.5, 76): cell (28, 28) of 56 x 56."""
    region, joint = np.array([[10., 20, 66, 132]]), np.zeros((1, 17, 3))
    joint[0, 0], joint[0, 1] = (38.5, 76, 2), (38.5, 76, 0)                 # the second joint is not labelled
    cells = keypoints.keypoint_cells(joint, region, 56)
    assert cells[0, 0] == 28 * 56 + 28 and (cells[0, 1:] == -1).all()
    logits = rng(4).standard_normal((1, 56 * 56))
    loss = classification.softmax_cross_entropy_forward(logits, cells[0, :1], ignore_index=None)[0]
    close(loss, np.log(np.exp(logits).sum()) - logits[0, 28 * 56 + 28])
    P = [np.zeros((1, 256, 2 ** k, 2 ** k), np.float32) for k in (5, 4, 3)]
    branch = KeypointBranch(256, [1], STRIDES, output_size=14, hidden=64, convs=1, bilinear=True, rng=rng())
    assert branch.forward(P, np.array([[0, *region[0]]], np.float32))[0].shape == (1, 17, 56, 56)


@row("H01")
def a_head_of_your_own_and_no_change_elsewhere():
    heads = {"colour": ColourHead(8, STRIDES, rng=rng(), dtype=np.float64)}
    model, (losses, cache) = losses_of(heads=heads)
    assert tuple(losses) == (*FOUR, "loss_mask", "loss_colour")
    grads = tree.flatten(model.backward({"loss_colour": 1.0}, cache)[1])
    assert (grads["heads.colour.linear.w"] != 0).any() and (grads["backbone.stem.conv.w"] != 0).any()
    assert issubclass(ColourHead, regions.RegionHead) and "colour" not in open(models.mask_rcnn.__file__, encoding="utf-8").read().split()


@row("T03")
def the_overview_is_one_table_of_one_backbone():
    """What separates the three on paper: how often the backbone runs. Time and AP of trained ones: `numpyvision compare`."""
    from numpyvision.metrics import cost
    from numpyvision.models.fast_rcnn import FastRCNN
    from numpyvision.models.slow_rcnn import SlowRCNN
    shared = dict(classes=["background", "dog"], widths=[8, 8, 8, 8], blocks=[1, 1, 1, 1], channels=8, hidden=8)
    image, sizes = rng(5).random((1, 3, 64, 64)), np.array([[64, 64]])
    boxes = np.stack([np.arange(40.), np.arange(40.), np.arange(40.) + 20, np.arange(40.) + 24], axis=1)
    counts = []
    for kind in (SlowRCNN, FastRCNN):
        with cost.counting() as layers:
            kind(**shared, rng=rng(), dtype=np.float64).outputs(image, [boxes])
        counts.append(sum(layers))
    with cost.counting() as layers:
        models.build("faster_rcnn", shared, rng=rng(), dtype=np.float64).predict(image, sizes)
    assert counts[0] > 5 * counts[1] and sum(layers) > 0
