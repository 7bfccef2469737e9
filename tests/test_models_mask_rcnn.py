"""Mask R-CNN: five losses, targets cut by the proposal, one class's channel that learns, masks pasted back, and a head of one's own."""
import numpy as np
import pytest
import whole_model
from whole_model import SIZES, TRUTH

from numpyvision import check, tree
from numpyvision.boxes import mask_crops
from numpyvision.models import build, regions
from numpyvision.models.colour_head import ColourHead
from numpyvision.models.mask_head import MaskBranch
from numpyvision.models.mask_rcnn import LOSSES, MaskRCNN

STRIDES = (4, 8, 16)


@pytest.fixture
def scene():
    return whole_model.scene()


def cut_by(boxes, labels, sample):
    """Regions of image 0 with these boxes, matched as the box branch does."""
    rois = np.concatenate([np.zeros((len(boxes), 1)), boxes], axis=1)
    return regions.positive_regions(rois, np.array(labels), [sample])


# ------------------------------------------------------------------------------------------------ the whole
@pytest.mark.parametrize("off", [None, *LOSSES])
def test_gradient_of_everything_with_each_loss_on_and_off(scene, off):
    rng = np.random.default_rng(2)
    assert whole_model.relative_error(*scene, {name: 0.0 if name == off else rng.uniform(0.5, 2) for name in LOSSES}) < 1e-6


def test_gradient_of_joint_instances_and_poses_with_a_third_head():
    """L16-K03: one forward, six losses and the user's own."""
    heads = {"colour": ColourHead(8, STRIDES, rng=np.random.default_rng(3), dtype=np.float64)}
    rng = np.random.default_rng(2)
    weights = {name: rng.uniform(0.5, 2) for name in (*LOSSES, "loss_keypoint", "loss_colour")}
    assert whole_model.relative_error(*whole_model.scene(keypoints=True, heads=heads), weights) < 1e-6


def test_gradient_with_proposals_that_move_under_every_head():
    """L16-R07. The colour head has no `backward_to_regions`: its loss, left out here, takes them as constants."""
    rng = np.random.default_rng(2)
    weights = {name: rng.uniform(0.5, 2) for name in (*LOSSES, "loss_keypoint")}
    heads = {"colour": ColourHead(8, STRIDES, rng=np.random.default_rng(3), dtype=np.float64)}
    world = whole_model.scene(keypoints=True, heads=heads, detach_proposals=False)
    whole_model.lenient(world[0])
    assert whole_model.relative_error(*world, weights | {"loss_colour": 0.0}, eps=1e-7) < 1e-6


@pytest.mark.parametrize("name", ["loss_mask", "loss_keypoint", "loss_colour"])
def test_a_head_moves_the_proposals_only_where_they_are_attached(name):
    heads = {"colour": ColourHead(8, STRIDES, rng=np.random.default_rng(3), dtype=np.float64)}
    model, images, targets, sizes = whole_model.scene(keypoints=True, heads=heads)
    whole_model.lenient(model)
    for model.detach_proposals in (True, False):
        _, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
        _, grads = model.backward({name: 1.0}, cache)
        assert (grads["rpn"]["head"]["deltas"]["w"] != 0).any() == (not model.detach_proposals and name != "loss_colour")


def test_heads_say_which_regions_they_chose():
    rois = np.array([[0, 1, 1, 5, 5], [0, 2, 2, 6, 6], [0, 2, 2, 6, 6], [1, 2, 2, 6, 6.0]])
    assert regions.rows_among(rois[[1, 3]], rois).tolist() == [1, 3] and regions.rows_among(rois, rois).tolist() == [0, 1, 2, 3]
    assert regions.rows_among(rois[:0], rois).tolist() == []
    with pytest.raises(ValueError, match="in their order.*was the box enlarged"):
        regions.rows_among(rois[[3, 0]], rois)


def test_five_losses_by_name_and_a_zero_weight_leaves_no_trace(scene):
    """L16-M06."""
    model, images, targets, sizes = scene
    losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
    assert tuple(losses) == LOSSES and all(np.isfinite(v) and v > 0 for v in losses.values())
    _, none = model.backward({}, cache)
    assert all((g == 0).all() for g in tree.flatten(none).values())
    _, mask = model.backward({"loss_mask": 1.0}, cache)
    flat = tree.flatten(mask)
    assert (flat["heads.mask.logits.w"] != 0).any() and (flat["backbone.stem.conv.w"] != 0).any()
    assert all((g == 0).all() for name, g in flat.items() if name.startswith(("box.", "rpn.")))


def test_without_heads_it_is_faster_rcnn():
    model, images, targets, sizes = whole_model.scene(masks=False)
    losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
    assert tuple(losses) == LOSSES[:4]
    _, grads = model.backward(dict.fromkeys(losses, 1.0), cache)
    assert set(tree.flatten(grads)) == set(dict(model.named_params()))
    assert model.predict(images, sizes, score_threshold=0)[0].masks is None


def test_backward_is_pure_and_a_batch_without_any_object_trains(scene):
    model, images, _, sizes = scene
    rng = np.random.default_rng(0)
    empty = [whole_model.sample(rng, [], []) for _ in range(2)]
    losses, cache = model.forward(images, empty, sizes, rng=rng)
    assert losses["loss_mask"] == 0
    twice = [tree.flatten(model.backward(dict.fromkeys(LOSSES, 1.0), cache)[1]) for _ in range(2)]
    assert all(np.isfinite(g).all() and np.array_equal(g, twice[1][name]) for name, g in twice[0].items())
    assert all((g == 0).all() for name, g in twice[0].items() if name.startswith("heads."))


def test_float32_stays_float32():
    model, images, targets, sizes = whole_model.scene(dtype=np.float32, keypoints=True)
    losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
    dimages, grads = model.backward(dict.fromkeys(losses, 1.0), cache)
    assert {g.dtype for g in tree.flatten(grads).values()} | {dimages.dtype} == {np.dtype(np.float32)}
    found = model.predict(images, sizes, score_threshold=0.0)[0]
    assert {a.dtype for a in (found.boxes, found.scores, found.keypoints, *found.more.values())} == {np.dtype(np.float32)}
    assert found.masks.dtype == bool


@pytest.mark.parametrize("name, arguments", [("mask_rcnn", {}), ("keypoint_rcnn", dict(masks=False, keypoints=True))])
def test_config_builds_the_same_model_again(name, arguments):
    model = MaskRCNN(**whole_model.SMALL | arguments, rng=np.random.default_rng(0))
    again = build(name, model.config(), rng=np.random.default_rng(5))
    assert {n: p.shape for n, p in again.named_params()} == {n: p.shape for n, p in model.named_params()}


# ------------------------------------------------------------------------------------------------ the branch
def test_m02_the_papers_shapes():
    branch = MaskBranch(256, 80, STRIDES, output_size=14, hidden=256, convs=4, rng=np.random.default_rng(0))
    P = [np.zeros((1, 256, n, n), np.float32) for n in (16, 8, 4)]
    logits, losses, _ = branch.forward(P, np.array([[0, 3, 3, 40, 50]], np.float32), train=False)
    assert logits.shape == (1, 80, 28, 28) and losses == {} and [c.params["w"].shape for c in branch.convs] == [(256, 256, 3, 3)] * 4


def test_m03_only_the_true_classs_channel_learns(scene):
    model, _, targets, _ = scene
    branch, rng = model.heads["mask"], np.random.default_rng(0)
    P = [rng.standard_normal((1, 8, n, n)) for n in (16, 8, 4)]
    rois, truth = branch.targets(cut_by(TRUTH, [1, 2, 1], targets[0]))
    logits, losses, cache = branch.forward(P, rois, truth)
    masks = truth[1]
    z = logits[[0, 1, 2], [0, 1, 0]]                                    # the mean over regions and cells, by hand
    assert losses["loss_mask"] == pytest.approx(np.mean(np.logaddexp(0, z) - z * masks))
    reached = {}
    branch.logits.backward = lambda dout, cache: reached.update(dout=dout) or (np.zeros_like(cache.x), {"w": 0, "b": 0})
    branch.backward({"loss_mask": 1.0}, cache)
    d = reached["dout"]
    assert (d[[0, 1, 2], [1, 0, 1]] == 0).all() and (d[[0, 1, 2], [0, 1, 0]] != 0).all()


def test_m04_targets_are_cut_by_the_proposal_not_by_the_objects_box(scene):
    model, _, targets, _ = scene
    branch, moved = model.heads["mask"], TRUTH + [4, 4, 4, 4]
    rois, (column, masks) = branch.targets(cut_by(moved, [1, 2, 1], targets[0]))
    assert rois[:, 1:].tolist() == moved.tolist() and column.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(masks, mask_crops.crop_masks(targets[0].masks, moved, 6) >= 0.5)
    assert (masks != (mask_crops.crop_masks(targets[0].masks, TRUTH, 6) >= 0.5)).any()
    branch.soft_targets = True
    np.testing.assert_allclose(branch.targets(cut_by(moved, [1, 2, 1], targets[0]))[1][1],
                               mask_crops.crop_masks(targets[0].masks, moved, 6))


def test_the_upsampling_step_keeps_the_law():
    rng = np.random.default_rng(0)
    up = MaskBranch(4, 2, STRIDES, 3, 5, 1, rng=rng, dtype=np.float64).upsample
    contract = check.check_layer(up, rng.standard_normal((2, 5, 3, 4)), rng=rng)
    assert contract.ok, contract


# ------------------------------------------------------------------------------------------------ which object a region belongs to
def test_regions_know_their_objects_past_crowds_and_difficult_ones(scene):
    model, images, targets, sizes = scene
    sample = targets[0]
    sample.iscrowd = np.array([True, False, False])
    found = cut_by(TRUTH[[2, 1]] + 1, [1, 2], sample)
    assert found.rows.tolist() == [2, 1] and [row for _, row in found.objects()] == [2, 1]
    np.testing.assert_array_equal(found.read("masks")[0], sample.masks[2])
    losses, _ = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
    assert np.isfinite(losses["loss_mask"])


def test_regions_are_the_box_branchs_positives_and_agree_with_its_targets(scene):
    model, _, targets, _ = scene
    rois, labels, _ = model.box.targets(whole_model.proposals(np.random.default_rng(3)), targets, np.random.default_rng(0))
    found = regions.positive_regions(rois, labels, targets)
    assert len(found) == (labels > 0).sum() >= 3 and (found.rois[:, 0] == 0).all()
    assert all(sample.labels[row] == label for (sample, row), label in zip(found.objects(), found.labels, strict=True))


def test_truth_that_is_not_there_is_named(scene):
    model, images, targets, sizes = scene
    targets[0].masks = None
    with pytest.raises(ValueError, match="learns from sample.masks, and image 0 has none"):
        model.forward(images, targets, sizes, rng=np.random.default_rng(0))


# ------------------------------------------------------------------------------------------------ prediction
def test_predicts_the_chosen_classs_mask_inside_its_box(scene):
    model, images, _, sizes = scene
    found = model.predict(images, sizes, score_threshold=0.0)
    assert len(found) == 2
    for d, (H, W) in zip(found, sizes, strict=True):
        assert len(d) and d.masks.shape == (len(d), H, W) and d.more["mask_probs"].shape == (len(d), 6, 6)
        np.testing.assert_array_equal(d.masks, mask_crops.paste_masks(d.more["mask_probs"], d.boxes, (H, W)))
        y, x = np.mgrid[:H, :W] + 0.5
        for mask, (x1, y1, x2, y2) in zip(d.masks, d.boxes, strict=True):
            assert not mask[(x < x1) | (x >= x2) | (y < y1) | (y >= y2)].any()
    logits = np.array([[[[-900.]], [[900.]]]])
    d = found[0][:1]
    d.labels[:] = 2
    assert model.heads["mask"].decode(logits, d, (64, 64))["mask_probs"] == 1
    d.labels[:] = 1
    assert model.heads["mask"].decode(logits, d, (64, 64))["mask_probs"] == 0


def test_nothing_found_has_no_masks(scene):
    model, images, _, sizes = scene
    found = model.predict(images, sizes, score_threshold=1.0)
    assert [len(d) for d in found] == [0, 0] and found[1].masks.shape == (0, 64, 60)


# ------------------------------------------------------------------------------------------------ L16-H01: a head of your own
def test_h01_a_head_of_your_own_trains_and_reports():
    """Nothing but `heads=` changes; the head's own loss falls when the model follows its gradient."""
    head = ColourHead(8, STRIDES, rng=np.random.default_rng(3), dtype=np.float64)
    model, images, targets, sizes = whole_model.scene(heads={"colour": head})
    targets[0].image[:, :, :32], targets[0].image[:, :, 32:] = 0.2, 0.9
    images[0] = targets[0].image
    history = []
    for _ in range(30):
        losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0), proposals=whole_model.proposals(
            np.random.default_rng(1)))
        history.append(losses["loss_colour"])
        _, grads = model.backward({"loss_colour": 1.0}, cache)
        flat = tree.flatten(grads)
        for name, p in model.named_params():
            p -= 0.02 * flat[name]
    assert set(losses) == {*LOSSES, "loss_colour"} and history[-1] < 0.3 * history[0]
    found = model.predict(images, SIZES, score_threshold=0.0)[0]
    assert found.more["colours"].shape == (len(found), 3) and found[:2].more["colours"].shape == (2, 3)


def test_two_heads_cannot_share_a_loss_name():
    head = lambda: ColourHead(8, STRIDES, rng=np.random.default_rng(3), dtype=np.float64)
    model, images, targets, sizes = whole_model.scene(heads={"a": head(), "b": head()})
    with pytest.raises(ValueError, match="the head 'b' names its loss 'loss_colour'"):
        model.forward(images, targets, sizes, rng=np.random.default_rng(0))
