"""Mask R-CNN and keypoints against a twin written in torch, whose gradients come from autograd: same weights, images and samples."""
import sys
from pathlib import Path

import numpy as np
import pytest

from numpyvision import tree
from numpyvision.boxes import levels
from numpyvision.models import regions

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.oracle
sys.path.insert(0, str(Path(__file__).parent.parent))
import whole_model  # noqa: E402

STRIDES = (4, 8, 16)
LR = 0.003       # from 0.005 on, the noise images of this world are learned so hard that a last bit grows to a percent in 100 steps


def samples(model, images, targets, sizes, proposals, seed):
    """What `forward` chooses at random, chosen once for both: anchors, regions, and what each head is to learn."""
    rng = np.random.default_rng(seed)
    P, _ = model.fpn.forward(model.backbone.forward((images - images.dtype.type(0.5)) * images.dtype.type(4), False)[0], False)
    anchors = model.rpn.targets(model.rpn.anchors(P), targets, rng)
    rois, labels, deltas = model.box.targets(proposals, targets, rng)
    positive = regions.positive_regions(rois, labels, targets)
    heads = {name: head.targets(positive[head.wanted(positive.labels)]) for name, head in model.heads.items()}
    return anchors, (rois, labels, deltas), heads


class Twin:
    """The small model of whole_model.py, in torch. p: {dotted name: tensor}, named as NumPy's parameters are."""

    def __init__(self, model):
        self.p = {name: torch.tensor(p.copy(), requires_grad=True) for name, p in model.named_params()}
        self.groups = {name: layer.num_groups for name, layer in group_norms("", model)}

    def conv(self, x, name, stride=1):
        w = self.p[f"{name}.w"]
        return F.conv2d(x, w, self.p.get(f"{name}.b"), stride, w.shape[-1] // 2)

    def conv_norm(self, x, name, stride=1):
        x = self.conv(x, f"{name}.conv", stride)
        return F.group_norm(x, self.groups[f"{name}.norm"], self.p[f"{name}.norm.gamma"], self.p[f"{name}.norm.beta"])

    def pyramid(self, images):
        h, C = F.relu(self.conv_norm((images - 0.5) / 0.25, "backbone.stem", 2)), []
        for s in range(4):
            name, stride = f"backbone.stages.{s}.layers.0", 1 if s == 0 else 2
            inner = self.conv_norm(F.relu(self.conv_norm(h, f"{name}.conv1", stride)), f"{name}.conv2")
            h = F.relu(inner + (self.conv_norm(h, f"{name}.shortcut", stride) if f"{name}.shortcut.conv.w" in self.p else h))
            C.append(h)
        P, M = [None] * 3, None
        for i in (2, 1, 0):
            lateral = self.conv(C[i + 1], f"fpn.lateral.{i}")
            M = lateral if M is None else lateral + F.interpolate(M, scale_factor=2, mode="nearest")
            P[i] = self.conv(M, f"fpn.output.{i}")
        return P

    def rpn_losses(self, P, anchors):
        image, anchor, labels, gt = anchors
        h = [F.relu(self.conv(x, "rpn.head.conv")) for x in P]
        N, flat = len(P[0]), lambda maps: torch.cat([m.permute(0, 3, 4, 1, 2).reshape(N, -1, m.shape[2]) for m in maps], 1)
        logits = flat([self.conv(x, "rpn.head.objectness")[:, :, None] for x in h])[image, anchor, 0]
        deltas = flat([(m := self.conv(x, "rpn.head.deltas")).reshape(N, -1, 4, *m.shape[2:]) for x in h])
        positive = labels == 1
        return {"loss_objectness": F.binary_cross_entropy_with_logits(logits, torch.tensor(labels).to(logits.dtype)),
                "loss_rpn_box_reg": F.smooth_l1_loss(deltas[image[positive], anchor[positive]], torch.tensor(gt), reduction="sum",
                                                     beta=1 / 9) / len(labels)}

    def linear(self, x, name):
        return x @ self.p[f"{name}.w"] + self.p[f"{name}.b"]

    def box_losses(self, P, rois, labels, deltas):
        h = F.relu(self.linear(crop(P, rois, 7).flatten(1), "box.fc1"))
        h = F.relu(self.linear(h, "box.fc2"))
        positive = np.flatnonzero(labels)
        chosen = self.linear(h, "box.regressor").reshape(len(rois), -1, 4)[positive, labels[positive] - 1]
        return {"loss_classifier": F.cross_entropy(self.linear(h, "box.classifier"), torch.tensor(labels)),
                "loss_box_reg": F.smooth_l1_loss(chosen, torch.tensor(deltas[positive]), reduction="sum", beta=1 / 9) / len(labels)}

    def mask_loss(self, P, rois, truth):
        column, masks = truth
        h = F.relu(self.conv(crop(P, rois, 3), "heads.mask.convs.0"))
        h = F.relu(F.conv_transpose2d(h, self.p["heads.mask.upsample.w"], self.p["heads.mask.upsample.b"], stride=2))
        logits = self.conv(h, "heads.mask.logits")[np.arange(len(rois)), column]
        return {"loss_mask": F.binary_cross_entropy_with_logits(logits, torch.tensor(masks))}

    def keypoint_loss(self, P, rois, cells):
        h = F.relu(self.conv_norm(crop(P, rois, 4), "heads.keypoint.convs.0"))
        logits = F.conv_transpose2d(h, self.p["heads.keypoint.logits.w"], self.p["heads.keypoint.logits.b"], stride=2, padding=1)
        return {"loss_keypoint": F.cross_entropy(logits.flatten(2).reshape(-1, 64), torch.tensor(cells).reshape(-1), ignore_index=-1)}

    def losses(self, images, anchors, box, heads):
        P = self.pyramid(torch.tensor(images))
        return self.rpn_losses(P, anchors) | self.box_losses(P, *box) | self.mask_loss(P, *heads["mask"]) | self.keypoint_loss(
            P, *heads["keypoint"])


def group_norms(prefix, layer):
    from numpyvision.layers import base, norm
    if isinstance(layer, norm.GroupNorm):
        yield prefix, layer
    for name, value in vars(layer).items():
        for path, inner in base.sublayers(name, value):
            yield from group_norms(f"{prefix}.{path}" if prefix else path, inner)


def crop(P, rois, S):
    """RoI Align by gathering neighbours: 2 x 2 samples a bin, cell i centred at i + 0.5, samples off the map moved onto its border."""
    level, crops = levels.assign_levels(rois[:, 1:], 2, 4, 96 * S / 7, 4) - 2, []
    for (n, x1, y1, x2, y2), l in zip(torch.tensor(rois), level, strict=True):
        x, u = P[l][int(n)], (torch.arange(2 * S, dtype=P[0].dtype) + 0.5) / (2 * S)
        (i, below, fy), (j, right, fx) = (neighbours(lo / STRIDES[l] - 0.5 + u * (hi - lo) / STRIDES[l], size)
                                          for lo, hi, size in ((y1, y2, x.shape[1]), (x1, x2, x.shape[2])))
        top = x[:, i][:, :, j] * (1 - fx) + x[:, i][:, :, right] * fx
        bottom = x[:, below][:, :, j] * (1 - fx) + x[:, below][:, :, right] * fx
        crops.append(F.avg_pool2d(top * (1 - fy)[:, None] + bottom * fy[:, None], 2))
    return torch.stack(crops)


def neighbours(v, size):
    v = v.clamp(0, size - 1)
    i = v.floor().long()
    return i, (i + 1).clamp(max=size - 1), v - i


def test_six_losses_and_the_gradient_of_every_parameter_in_float64():
    model, images, targets, sizes = whole_model.scene(keypoints=True)
    proposals = whole_model.proposals(np.random.default_rng(1))
    weights = {name: w for name, w in zip(("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask",
                                           "loss_keypoint"), np.random.default_rng(2).uniform(0.5, 2, 6), strict=True)}
    losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(5), proposals=proposals)
    _, grads = model.backward(weights, cache)
    twin = Twin(model)
    theirs = twin.losses(images, *samples(model, images, targets, sizes, proposals, 5))
    sum(weights[name] * loss for name, loss in theirs.items()).backward()
    assert set(losses) == set(theirs) == set(weights)
    for name, loss in theirs.items():
        assert losses[name] == pytest.approx(loss.item(), rel=1e-10), name
    for name, grad in tree.flatten(grads).items():
        expected = twin.p[name].grad.numpy()
        np.testing.assert_allclose(grad, expected, rtol=0, atol=1e-8 * max(1, abs(expected).max()), err_msg=name)


def test_a_hundred_steps_in_float32_keep_within_one_percent():
    model, images, targets, sizes = whole_model.scene(keypoints=True, dtype=np.float32)
    twin, ours, theirs = Twin(model), [], []
    for step in range(100):
        proposals = [p.astype(np.float32) for p in whole_model.proposals(np.random.default_rng(step))]
        chosen = samples(model, images, targets, sizes, proposals, step)
        losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(step), proposals=proposals)
        _, grads = model.backward(dict.fromkeys(losses, 1.0), cache)
        flat = tree.flatten(grads)
        for name, p in model.named_params():
            p -= np.float32(LR) * flat[name]
        loss = sum(twin.losses(images, *chosen).values())
        for p in twin.p.values():
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in twin.p.values():
                p -= LR * p.grad
        ours.append(sum(losses.values()))
        theirs.append(loss.item())
    assert ours[-1] < 0.8 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=0.01)
