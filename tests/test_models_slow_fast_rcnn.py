"""Slow and Fast R-CNN as wholes: one directional derivative each, the same network, proposals from outside."""
import numpy as np
import pytest
import whole_model

from numpyvision import tree
from numpyvision.models import build
from numpyvision.models.fast_rcnn import LOSSES
from numpyvision.models.region_proposals import Proposer
from numpyvision.proposals.selective_search import selective_search

SMALL = dict(classes=["background", "person", "dog"], widths=[8, 8, 16, 16], blocks=[1, 1, 1, 1], channels=8, hidden=12, roi_samples=12)
KINDS = {"slow": ("slow_rcnn", {}), "fast": ("fast_rcnn", {}), "pool": ("fast_rcnn", {"crop": "pool"})}


def make(kind, dtype=np.float64, **settings):
    """model, images, targets, sizes; biases and gammas off their round values."""
    rng, (name, arguments) = np.random.default_rng(2), KINDS[kind]
    model = build(name, SMALL | arguments | settings, rng=rng, dtype=dtype)
    for p in dict(model.named_params()).values():
        p += (0.05 * rng.standard_normal(p.shape)).astype(dtype)
    targets = [whole_model.sample(rng, whole_model.TRUTH, [1, 2, 1]), whole_model.sample(rng, [], [])]
    return model, np.stack([t.image for t in targets]).astype(dtype), targets, whole_model.SIZES


@pytest.mark.parametrize("off", [None, *LOSSES])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_everything_with_each_loss_on_and_off(kind, off):
    rng = np.random.default_rng(1)
    weights = {name: 0.0 if name == off else rng.uniform(0.5, 2) for name in LOSSES}
    assert whole_model.relative_error(*make(kind), weights) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_losses_by_name_and_a_zero_weight_leaves_no_trace(kind):
    model, *batch = make(kind)
    losses, cache = model.forward(*batch, rng=np.random.default_rng(0))
    assert tuple(losses) == LOSSES and all(np.isfinite(v) and v > 0 for v in losses.values())
    dimages, grads = model.backward({}, cache)
    assert all((g == 0).all() for g in tree.flatten(grads).values()) and (dimages == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_object_and_no_proposal_train(kind):
    model, images, targets, sizes = make(kind)
    for given in ([np.zeros((0, 4))] * 2, None):
        losses, cache = model.forward(images, [targets[1]] * 2, sizes, rng=np.random.default_rng(0), proposals=given)
        dimages, grads = model.backward(dict.fromkeys(LOSSES, 1.0), cache)
        assert losses["loss_box_reg"] == 0 and np.isfinite(dimages).all()
        assert set(tree.flatten(grads)) == set(dict(model.named_params()))
        assert all(np.isfinite(g).all() for g in tree.flatten(grads).values())
    found = model.predict(images, sizes, proposals=[np.zeros((0, 4))] * 2)
    assert [len(d) for d in found] == [0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_float32_and_boxes_inside(kind):
    model, images, targets, sizes = make(kind, np.float32)
    _, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
    dimages, grads = model.backward(dict.fromkeys(LOSSES, 1.0), cache)
    assert {g.dtype for g in tree.flatten(grads).values()} | {dimages.dtype} == {np.dtype(np.float32)}
    for d, (H, W) in zip(model.predict(images, sizes, score_threshold=0.0), sizes, strict=True):
        assert len(d) and d.boxes.min() >= 0 and d.boxes[:, 2].max() <= W and d.boxes[:, 3].max() <= H
        assert d.boxes.dtype == d.scores.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_config_builds_the_same_model_again(kind):
    model = make(kind)[0]
    again = build(KINDS[kind][0], model.config(), rng=np.random.default_rng(5), dtype=np.float64)
    assert again.config() == model.config()
    assert {n: p.shape for n, p in again.named_params()} == {n: p.shape for n, p in model.named_params()}


def test_slow_is_fast_where_the_region_is_the_whole_image():
    """One region, the image itself of the crop's size: cropping before and after the CNN is the same. So are the weights' names."""
    (slow, images, *_), (fast, *_) = make("slow"), make("fast")
    for (name, a), (other, b) in zip(slow.named_params(), fast.named_params(), strict=True):
        assert name == other and (a == b).all()
    region = [np.array([[0., 0, 32, 32]])]
    for one, other in zip(slow.outputs(images[:1, :, :32, :32], region), fast.outputs(images[:1, :, :32, :32], region), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_pool_snaps_the_box_and_align_does_not():
    """L16-F05, in the whole model: a hundredth of a pixel is nothing to RoI Pool."""
    for kind, moves in (("fast", True), ("pool", False)):
        model, images, *_ = make(kind)
        here, there = (model.outputs(images[:1], [np.array([[20., 16, 40, 44]]) + step])[0] for step in (0.01, 0.02))
        assert (here != there).any() == moves


def test_proposals_are_found_once_in_the_picture_without_its_padding():
    calls, rng = [], np.random.default_rng(0)
    propose = Proposer(count=7)
    find = propose.find
    propose.find = lambda image, count: calls.append(image.shape) or find(image, count)
    images = rng.random((2, 3, 32, 32))
    first, again = (propose(images, np.array([[32, 32], [32, 20]])) for _ in range(2))
    assert calls == [(3, 32, 32), (3, 32, 20)] and all(a is b for a, b in zip(first, again, strict=True))
    np.testing.assert_array_equal(first[1], selective_search(images[1, :, :, :20], max_boxes=7))
    propose(images[:1, :, :, ::-1], np.array([[32, 32]]))
    assert len(calls) == 3                                                 # a mirror image is another picture
    with pytest.raises(ValueError, match="read-only"):
        first[0][0] = 0


def test_a_grid_of_windows_instead():
    model, images, targets, sizes = make("fast", proposals="sliding_window", num_proposals=40)
    assert [len(p) for p in model.propose(images, sizes)] == [40, 40]
    assert all(np.isfinite(v) for v in model.forward(images, targets, sizes, rng=np.random.default_rng(0))[0].values())


def test_errors():
    for kind, settings, message in (("fast", {"crop": "cut"}, '"align" or "pool"'), ("slow", {"crop_size": 40}, "multiple of .* 16"),
                                    ("fast", {"proposals": "edge_boxes"}, "selective_search, sliding_window")):
        with pytest.raises(ValueError, match=message):
            make(kind, **settings)
