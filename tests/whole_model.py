"""One directional derivative of a whole detector, and a small world to take it in. Used by the tests of the detectors."""
import numpy as np

from numpyvision import tree
from numpyvision.boxes import keypoints
from numpyvision.data.sample import Sample
from numpyvision.models.mask_rcnn import MaskRCNN

SMALL = dict(classes=["background", "person", "dog"], widths=[8, 8, 16, 16], blocks=[1, 1, 1, 1], channels=8,
             anchor_sizes=[[12], [24], [40]],
             hidden=12, rpn_samples=16, roi_samples=16, pre_nms=30, post_nms=12, mask_size=6, mask_convs=1, keypoint_size=8,
             keypoint_convs=1, head_channels=16)
TRUTH = np.array([[5.2, 8.1, 30.3, 33.7], [35.1, 30.2, 61.4, 60.8], [2.1, 40.3, 14.6, 52.2]])
SIZES = np.array([[64, 64], [64, 60]])


def sample(rng, boxes, labels):
    """An image of noise; an object's mask is the ellipse in its box, its joints are anywhere in it, some hidden, some not labelled."""
    boxes, labels = np.array(boxes, np.float64).reshape(-1, 4), np.array(labels, np.int64)
    y, x = np.mgrid[:64, :64] + 0.5
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    masks = np.array([((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1 for (cx, cy), (a, b) in zip(centre, half, strict=True)])
    xy = boxes[:, None, :2] + rng.random((len(boxes), 17, 2)) * 2 * half[:, None]
    v = rng.integers(0, 3, (len(boxes), 17, 1)) * (labels == 1)[:, None, None]
    return Sample(image=rng.random((3, 64, 64)), boxes=boxes, labels=labels, masks=masks.reshape(-1, 64, 64).astype(bool),
                  keypoints=np.concatenate([xy, v], axis=2) * (v > 0))


def scene(seed=1, heads=None, dtype=np.float64, **settings):
    """model, images, targets, sizes: two images, one of three objects and one of none.

    Biases and gammas are off their round values. With seed 0 a ReLU in the backbone lies so near its kink that a step of 1e-6 crosses it.
    """
    rng = np.random.default_rng(seed)
    model = MaskRCNN(**SMALL | settings, heads=heads, rng=rng, dtype=dtype)
    for p in dict(model.named_params()).values():
        p += (0.05 * rng.standard_normal(p.shape)).astype(dtype)
    targets = [sample(rng, TRUTH, [1, 2, 1]), sample(rng, [], [])]
    return model, np.stack([t.image for t in targets]).astype(dtype), targets, SIZES


def lenient(model):
    """An untrained RPN proposes nothing good: let the box branch learn from what it does propose, not from the truth alone."""
    model.box.fg_threshold, model.box.positive_fraction = 0.1, 0.75
    return model


def proposals(rng):
    """Near the objects and away from them."""
    near = TRUTH + rng.uniform(-3, 3, TRUTH.shape)
    return [np.concatenate([near, [[10.3, 2.2, 50.1, 20.7]]]), np.array([[3.3, 4.4, 30.2, 41.9]])]


def relative_error(model, images, targets, sizes, weights, eps=1e-6):
    """(L(v + e d) - L(v - e d)) / 2e against <gradient, d>, over all parameters and all pixels at once.

    Detached proposals must be held for that; attached ones move, by 2000 px for a step of 1: eps = 1e-7 keeps most samples in their cells.
    """
    rng = np.random.default_rng(1)
    params, fixed = dict(model.named_params()), proposals(rng) if model.detach_proposals else None

    def loss(images):
        losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0), proposals=fixed)
        assert set(losses) == set(weights)
        return sum(weights[name] * losses[name] for name in losses), cache

    _, cache = loss(images)
    dimages, grads = model.backward(weights, cache)
    assert list(tree.flatten(grads)) != [] and set(tree.flatten(grads)) == set(params)
    direction = {name: rng.standard_normal(p.shape) for name, p in params.items()}
    dpixels, sums = rng.standard_normal(images.shape), []
    for step in (eps, -2 * eps):
        for name, p in params.items():
            p += step * direction[name]
        sums.append(loss(images + (eps if step > 0 else -eps) * dpixels)[0])
    numeric = (sums[0] - sums[1]) / (2 * eps)
    analytic = tree.dot(tree.flatten(grads), direction) + (dimages * dpixels).sum()
    return abs(numeric - analytic) / max(abs(numeric), abs(analytic))


def pose_of(box, share, v=2):
    """Every joint at one place of a box."""
    near, far = np.array(box[:2]), np.array(box[2:])
    return np.tile([*(near + np.array(share) * (far - near)), v], (len(keypoints.NAMES), 1))
