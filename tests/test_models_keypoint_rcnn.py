"""The keypoint branch: one softmax a joint over the cells of its map, what is left out of it, and finding the joint again."""
import numpy as np
import pytest
import whole_model
from whole_model import TRUTH

from numpyvision import tree
from numpyvision.boxes.detections import Detections
from numpyvision.losses import classification
from numpyvision.models import keypoint_head, regions
from numpyvision.models.keypoint_head import KeypointBranch, decode_keypoints
from numpyvision.models.mask_rcnn import LOSSES, MaskRCNN

STRIDES = (4, 8, 16)
NAMES = (*LOSSES[:4], "loss_keypoint")


def alone(**settings):
    return whole_model.scene(masks=False, keypoints=True, **settings)


def branch(size=28, **settings):
    return KeypointBranch(8, (1,), STRIDES, size, 8, 1, rng=np.random.default_rng(0), dtype=np.float64, **settings)


def cut_by(boxes, labels, sample):
    return regions.positive_regions(np.concatenate([np.zeros((len(boxes), 1)), boxes], axis=1), np.array(labels), [sample])


# ------------------------------------------------------------------------------------------------ the whole
@pytest.mark.parametrize("off", [None, *NAMES])
def test_gradient_of_everything_with_each_loss_on_and_off(off):
    rng = np.random.default_rng(2)
    assert whole_model.relative_error(*alone(), {name: 0.0 if name == off else rng.uniform(0.5, 2) for name in NAMES}) < 1e-6


def test_five_losses_by_name_and_joint_with_masks_six():
    model, images, targets, sizes = alone()
    losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
    assert tuple(losses) == NAMES and losses["loss_keypoint"] > 0
    _, none = model.backward({}, cache)
    assert all((g == 0).all() for g in tree.flatten(none).values())
    joint = whole_model.scene(keypoints=True)
    assert tuple(joint[0].forward(*joint[1:], rng=np.random.default_rng(0))[0]) == (*LOSSES, "loss_keypoint")


def test_k03_one_forward_gives_boxes_masks_and_keypoints():
    model, images, _, sizes = whole_model.scene(keypoints=True)
    for d, (H, W) in zip(model.predict(images, sizes, score_threshold=0.0), sizes, strict=True):
        assert len(d) and d.masks.shape == (len(d), H, W) and d.keypoints.shape == (len(d), 17, 3)
        assert d.more["keypoint_probs"].shape == d.more["keypoint_logits"].shape == (len(d), 17)
        person = d.labels == 1
        assert (d.keypoints[~person] == 0).all() and (d.keypoints[person][..., 2] > 0).all()
        inside = (d.keypoints[..., :2] >= d.boxes[:, None, :2]) & (d.keypoints[..., :2] <= d.boxes[:, None, 2:])
        assert inside[person].all()


def test_no_person_trains_with_a_loss_of_zero_and_finds_nobody():
    model, images, targets, sizes = alone()
    targets[0].labels[:] = 2
    targets[0].keypoints[:] = 0
    losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
    _, grads = model.backward(dict.fromkeys(NAMES, 1.0), cache)
    assert losses["loss_keypoint"] == 0 and all((g == 0).all() for g in tree.flatten(grads["heads"]).values())
    found = model.predict(images, sizes, score_threshold=1.0)
    assert [d.keypoints.shape for d in found] == [(0, 17, 3)] * 2


def test_without_persons_there_is_nothing_to_build():
    with pytest.raises(ValueError, match="'person', which is not among cat"):
        MaskRCNN(["background", "cat"], keypoints=True, rng=np.random.default_rng(0))


# ------------------------------------------------------------------------------------------------ the loss
def test_k02_the_papers_shapes_and_one_cell_on():
    head = branch(14, bilinear=True)
    P = [np.random.default_rng(0).standard_normal((1, 8, n, n)) for n in (40, 20, 10)]
    rois = np.array([[0, 10, 20, 66, 132.]])
    sample = whole_model.sample(np.random.default_rng(0), [rois[0, 1:]], [1])
    sample.keypoints[0] = [38.5, 76, 2]
    where, cells = head.targets(cut_by(rois[:, 1:], [1], sample))
    logits, losses, _ = head.forward(P, where, cells)
    assert logits.shape == (1, 17, 56, 56) and (cells == 28 * 56 + 28).all()
    rows = logits.reshape(17, 56 * 56)                                  # cross-entropy over 3136 classes, by hand
    by_hand = np.mean(np.log(np.exp(rows).sum(axis=1)) - rows[:, 28 * 56 + 28])
    assert losses["loss_keypoint"] == pytest.approx(by_hand)


def test_k02_invisible_joints_and_joints_outside_the_proposal_get_no_gradient():
    head, sample = branch(4), whole_model.sample(np.random.default_rng(0), TRUTH[:1], [1])
    sample.keypoints[0] = whole_model.pose_of(TRUTH[0], (0.5, 0.5))
    sample.keypoints[0, 3:8, 2] = 0                                     # not labelled
    sample.keypoints[0, 8:10, :2] += 500                                # outside
    sample.keypoints[0, 10, 2] = 1                                      # hidden, yet labelled
    rois, cells = head.targets(cut_by(TRUTH[:1], [1], sample))
    known = cells[0] >= 0
    assert (~known).nonzero()[0].tolist() == [3, 4, 5, 6, 7, 8, 9]
    P = [np.random.default_rng(1).standard_normal((1, 8, n, n)) for n in (16, 8, 4)]
    logits, losses, cache = head.forward(P, rois, cells)
    assert losses["loss_keypoint"] == pytest.approx(classification.softmax_cross_entropy_forward(
        logits.reshape(17, 64)[known], cells[0, known])[0])
    reached = {}
    head.logits.backward = lambda dout, cache: reached.update(dout=dout) or (np.zeros_like(cache.x), {"w": 0, "b": 0})
    head.backward({"loss_keypoint": 2.0}, cache)
    assert (reached["dout"][0, ~known] == 0).all() and (reached["dout"][0, known] != 0).all()
    np.testing.assert_allclose(reached["dout"].sum(axis=(2, 3)), 0, atol=1e-12)      # softmax less one-hot


def test_only_persons_with_a_joint_inside_are_seen():
    head, sample = branch(4), whole_model.sample(np.random.default_rng(0), TRUTH, [1, 2, 1])
    sample.keypoints[2] = 0
    found = cut_by(TRUTH, [1, 2, 1], sample)
    assert head.wanted(found.labels).tolist() == [0, 2]
    rois, cells = head.targets(found[head.wanted(found.labels)])
    assert rois[:, 1:].tolist() == TRUTH[:1].tolist() and cells.shape == (1, 17)
    P = [np.zeros((1, 8, n, n)) for n in (16, 8, 4)]
    logits, losses, cache = head.forward(P, rois[:0], cells[:0])
    assert losses["loss_keypoint"] == 0 and all((d == 0).all() for d in head.backward({"loss_keypoint": 1.0}, cache)[0])


# ------------------------------------------------------------------------------------------------ decoding
def test_a_joint_is_found_to_the_pixel_and_within_its_box():
    """A smooth bump whose middle lies between cells: the maximum of the fine map is nearer to it than the cell's centre."""
    box, M = np.array([[20., 10., 140., 170.]]), 28                     # cells of 4.3 x 5.7 pixels
    rng = np.random.default_rng(0)
    xy = box[0, :2] + rng.uniform(0.1, 0.9, (17, 2)) * (box[0, 2:] - box[0, :2])
    centres = [(np.arange(M) + 0.5) / M * (far - near) + near for near, far in zip(box[0, :2], box[0, 2:], strict=True)]
    bump = -(((centres[0][None, None] - xy[:, 0, None, None]) / 12) ** 2 + ((centres[1][None, :, None] - xy[:, 1, None, None]) / 12) ** 2)
    found, probs, logits = decode_keypoints(bump[None], box)
    assert abs(found[0] - xy).max() < 1.5 and found.shape == (1, 17, 2)
    assert (abs(logits) < 0.1).all() and (probs > 0).all() and (probs < 1).all()


def test_probability_and_logit_are_two_things():
    """A constant added to the map changes the logit and not the probability; a factor changes both."""
    maps = np.random.default_rng(0).standard_normal((2, 17, 8, 8))
    boxes = np.array([[0., 0., 8., 8.], [5., 5., 40., 30.]])
    xy, probs, logits = decode_keypoints(maps, boxes)
    again, same, higher = decode_keypoints(maps + 7, boxes)
    np.testing.assert_allclose(again, xy), np.testing.assert_allclose(same, probs), np.testing.assert_allclose(higher, logits + 7)
    np.testing.assert_allclose(probs[0], classification.softmax(maps[0].reshape(17, 64)).max(axis=1))    # a box of 8 pixels: no resizing
    np.testing.assert_allclose(logits[0], maps[0].max(axis=(1, 2)))
    d = Detections(boxes, np.array([1, 1]), np.array([0.9, 0.8]))
    said = branch(4).decode(maps * [[[[0.1]]], [[[20.]]]], d, (50, 50))
    assert set(said) == {"keypoints", "keypoint_probs", "keypoint_logits"}
    assert (said["keypoints"][..., 2] == np.where(said["keypoint_probs"] >= keypoint_head.SURE, 2, 1)).all()
    assert (said["keypoints"][0, :, 2] == 1).all() and (said["keypoints"][1, :, 2] == 2).any()


def test_small_boxes_are_not_brought_to_fewer_cells_than_the_map_has():
    maps = np.full((1, 17, 8, 8), -5.)
    maps[:, :, 6, 1] = 5
    xy, probs, _ = decode_keypoints(maps, np.array([[0., 0., 4., 2.]]))
    np.testing.assert_allclose(xy, np.broadcast_to([1.5 / 8 * 4, 6.5 / 8 * 2], (1, 17, 2)))
    assert (probs > 0.9).all()
