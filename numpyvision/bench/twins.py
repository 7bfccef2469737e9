"""The same models in torch: same weights under the same names, same losses, gradients by autograd, torch's own fused optimisers.

What has no gradient (anchors, NMS, matching, sampling, cutting out mask targets) is done by the very functions of the NumPy model, on both
sides: the twin then trains on the same anchors and regions and reaches the same losses, and where our selection is quick, torch is the one
who gains. Our backward always goes down to the pixels; a twin leaves that out, as training in torch does, which saves FCN 3 to 4 % of its
step, the detectors 1 %. The regions are constants on both sides. RoI Align is torchvision's where it is installed. torch is imported
inside functions only.

Shapes here: as in models/; P_l (N, C, H_l, W_l).
"""
import numpy as np

from numpyvision.bench import peers
from numpyvision.boxes import convert
from numpyvision.layers import base, norm
from numpyvision.models import pixels, regions
from numpyvision.models.images import MEAN, SPREAD

FACTORS = {"sgd": lambda torch, groups, r: torch.optim.SGD(groups, r["lr"], momentum=r["momentum"], fused=True),
           "adamw": lambda torch, groups, r: torch.optim.AdamW(groups, r["lr"], fused=True)}


def make_twin(model):
    """The torch twin of an FCN, a Faster R-CNN or a Mask R-CNN (masks, no keypoints)."""
    return FCNTwin(model) if hasattr(model, "up") else DetectorTwin(model)


class Twin:
    """What all twins share. p: {dotted name: tensor}, named as the NumPy model's parameters are; buffers likewise.

    to_pixels: whether the images get a gradient too, at `pixels.grad`.
    """

    to_pixels = False

    def __init__(self, model):
        import torch
        self.torch, self.F, self.model = torch, torch.nn.functional, model
        self.p = {name: torch.from_numpy(p.copy()).requires_grad_() for name, p in model.named_params()}
        self.buffers = {name: torch.from_numpy(p.copy()) for name, p in model.named_buffers()}
        self.groups = {name: layer.num_groups for name, layer in walk("", model) if isinstance(layer, norm.GroupNorm)}
        vision = peers.torchvision_ops()
        self.roi_align = peers.grid_roi_align if vision is None else lambda x, rois, S, scale: vision.roi_align(x, rois, S, scale, 2, True)

    def optimizer(self, recipe):
        """As runs.make_optimizer makes ours: weight decay spares what has one dimension."""
        wide, flat = ([p for p in self.p.values() if (p.ndim > 1) == many] for many in (True, False))
        groups = [{"params": wide, "weight_decay": recipe["weight_decay"]}, {"params": flat, "weight_decay": 0.0}]
        return FACTORS[recipe["optimizer"]](self.torch, groups, recipe)

    def step(self, batch, optimizer, lr, rng, clip, loss_weights=None):
        """One step of training, as training/loop.py takes it -> losses as floats."""
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        losses = self.losses(batch.images, batch.targets, batch.sizes, rng)
        sum((loss_weights or {}).get(name, 1.0) * loss for name, loss in losses.items()).backward()
        length = self.torch.nn.utils.clip_grad_norm_(self.p.values(), clip, foreach=True)
        if not self.torch.isfinite(length):
            raise FloatingPointError("the twin's gradient is not finite")
        optimizer.step()
        return {name: loss.item() for name, loss in losses.items()}

    # ------------------------------------------------------------------------------------------------------------ layers by name
    def images(self, images):
        self.pixels = self.torch.from_numpy(images).requires_grad_(self.to_pixels)
        return (self.pixels - MEAN) / SPREAD

    def conv(self, x, name, stride=1):
        w = self.p[f"{name}.w"]
        return self.F.conv2d(x, w, self.p.get(f"{name}.b"), stride, w.shape[-1] // 2)

    def norm(self, x, name, train):
        gamma, beta = self.p[f"{name}.gamma"], self.p[f"{name}.beta"]
        if name in self.groups:
            return self.F.group_norm(x, self.groups[name], gamma, beta)
        return self.F.batch_norm(x, self.buffers[f"{name}.running_mean"], self.buffers[f"{name}.running_var"], gamma, beta, training=train)

    def conv_norm(self, x, name, stride=1, train=True):
        return self.norm(self.conv(x, f"{name}.conv", stride), f"{name}.norm", train)

    def linear(self, x, name):
        return self.torch.addmm(self.p[f"{name}.b"], x, self.p[f"{name}.w"])


class FCNTwin(Twin):
    """FCN with transposed convolutions as upsamplers."""

    def scores(self, images, train):
        h, P, F = self.images(images), [], self.F
        for s, stage in enumerate(self.model.backbone.stages):
            for i in range(len(stage.layers)):
                h = F.relu(self.conv_norm(h, f"backbone.stages.{s}.layers.{i}", train=train), inplace=True)
            h = F.max_pool2d(h, 2)
            P.append(h)
        h = F.relu(self.conv_norm(h, "fc", train=train), inplace=True)
        s, finest = self.conv(h, f"score.{len(P)}"), self.model.finest
        for l in range(len(P), finest, -1):
            s = self.up(s, l, 2) + self.conv(P[l - 2], f"score.{l - 1}")
        return self.up(s, finest, 2 ** finest)

    def up(self, s, l, factor):
        return self.F.conv_transpose2d(s, self.p[f"up.{l}.layers.0.w"], None, factor, factor // 2)

    def losses(self, images, targets, sizes, rng):
        s = self.scores(images, True)
        labels = pixels.pixel_labels(targets, (len(s), *s.shape[2:]))
        if self.model.balance:
            labels = pixels.thin_out(labels, self.model.balance, rng)
        return {"loss_semantic": self.F.cross_entropy(s, self.torch.from_numpy(labels.astype(np.int64)), ignore_index=255)}

    def predict(self, images, sizes):
        with self.torch.inference_mode():
            s = self.scores(images, False)
            s[:, list(self.model.unused)] = -float("inf")
            return s.argmax(1).to(self.torch.uint8).numpy()


class DetectorTwin(Twin):
    """Faster R-CNN, and Mask R-CNN where the model has a mask head."""

    def pyramid(self, images):
        h, C, F = F_relu(self.conv_norm(self.images(images), "backbone.stem", 2)), [], self.F
        for s, stage in enumerate(self.model.backbone.stages):
            for i in range(len(stage.layers)):
                name, stride = f"backbone.stages.{s}.layers.{i}", 2 if s and not i else 1
                inner = self.conv_norm(F_relu(self.conv_norm(h, f"{name}.conv1", stride)), f"{name}.conv2")
                h = F_relu(inner + (self.conv_norm(h, f"{name}.shortcut", stride) if f"{name}.shortcut.conv.w" in self.p else h))
            if s + 1 in self.model.backbone.out_stages:
                C.append(h)
        P, M = [None] * len(C), None
        for l in reversed(range(len(C))):
            lateral = self.conv(C[l], f"fpn.lateral.{l}")
            M = lateral if M is None else lateral + F.interpolate(M, scale_factor=2, mode="nearest")
            P[l] = self.conv(M, f"fpn.output.{l}")
        return P

    def rpn(self, P):
        """-> logits (N, T), deltas (N, T, 4), how many of the T anchors each level has."""
        flat = {"objectness": [], "deltas": []}
        for p in P:
            h = F_relu(self.conv(p, "rpn.head.conv"))
            for name, values in (("objectness", 1), ("deltas", 4)):
                m = self.conv(h, f"rpn.head.{name}")
                m = m.reshape(len(m), -1, values, *m.shape[2:]).permute(0, 3, 4, 1, 2)                 # (N, H, W, A, values)
                flat[name].append(m.reshape(len(m), -1, values))
        counts = [m.shape[1] for m in flat["objectness"]]
        return self.torch.cat(flat["objectness"], 1)[..., 0], self.torch.cat(flat["deltas"], 1), counts

    def propose(self, P, logits, deltas, counts, sizes):
        """-> anchors (T, 4), proposals: chosen by the NumPy model, on the same numbers."""
        arrays = [a.detach().numpy() for a in (logits, deltas)]
        anchors = self.model.rpn.anchors([p.detach().numpy() for p in P])
        return anchors, self.model.rpn.propose(*arrays, anchors, sizes, counts, {})

    def crop(self, P, rois, pool):
        """PyramidRoIAlign."""
        rois, level, rows, crops = self.torch.from_numpy(rois), self.torch.from_numpy(pool.levels(rois)), [], []
        for l, (p, align) in enumerate(zip(P, pool.aligns, strict=True)):
            mine = self.torch.nonzero(level == l)[:, 0]
            rows.append(mine)
            crops.append(self.roi_align(p, rois[mine], align.output_size, align.spatial_scale))
        return self.torch.cat(crops)[self.torch.argsort(self.torch.cat(rows))]

    def box(self, P, rois):
        h = F_relu(self.linear(self.crop(P, rois, self.model.box.pool).flatten(1), "box.fc1"))
        h = F_relu(self.linear(h, "box.fc2"))
        return self.linear(h, "box.classifier"), self.linear(h, "box.regressor").reshape(len(rois), -1, 4)

    def masks(self, P, rois):
        h = self.crop(P, rois, self.model.heads["mask"].pool)
        for i in range(len(self.model.heads["mask"].convs)):
            h = F_relu(self.conv(h, f"heads.mask.convs.{i}"))
        w, b = self.p["heads.mask.upsample.w"], self.p["heads.mask.upsample.b"]
        return self.conv(F_relu(self.F.conv_transpose2d(h, w, b, stride=2)), "heads.mask.logits")

    def losses(self, images, targets, sizes, rng):
        F, torch, model = self.F, self.torch, self.model
        P = self.pyramid(images)
        logits, deltas, counts = self.rpn(P)
        anchors, proposals = self.propose(P, logits, deltas, counts, sizes)
        image, anchor, labels, gt_deltas = model.rpn.targets(anchors, targets, rng)
        positive, total = labels == 1, max(len(labels), 1)
        losses = {"loss_objectness": F.binary_cross_entropy_with_logits(
            logits[image, anchor], torch.from_numpy(labels.astype(images.dtype)), reduction="sum") / total}
        losses["loss_rpn_box_reg"] = self.box_loss(deltas[image[positive], anchor[positive]], gt_deltas, model.rpn.beta, total)
        rois, labels, gt_deltas = model.box.targets(proposals, targets, rng)
        class_logits, box_deltas = self.box(P, rois)
        rows = np.flatnonzero(labels)
        losses["loss_classifier"] = F.cross_entropy(class_logits, torch.from_numpy(labels))
        losses["loss_box_reg"] = self.box_loss(box_deltas[rows, labels[rows] - 1], gt_deltas[rows], model.box.beta, max(len(labels), 1))
        if "mask" in getattr(model, "heads", ()):
            head = model.heads["mask"]
            rois, (column, gt_masks) = head.targets(regions.positive_regions(rois, labels, targets))
            losses["loss_mask"] = F.binary_cross_entropy_with_logits(self.masks(P, rois)[np.arange(len(rois)), column],
                                                                     torch.from_numpy(gt_masks))
        return losses

    def box_loss(self, pred, target, beta, normalizer):
        return self.F.smooth_l1_loss(pred, self.torch.from_numpy(np.asarray(target)), reduction="sum", beta=beta) / normalizer

    def predict(self, images, sizes, score_threshold=0.05, nms_threshold=0.5, max_detections=100):
        with self.torch.inference_mode():
            P = self.pyramid(images)
            _, proposals = self.propose(P, *self.rpn(P), sizes)
            outputs = [t.numpy() for t in self.box(P, convert.boxes_to_rois(proposals))]
            outputs[0] = outputs[0].copy()
            found = self.model.box.decode(outputs, proposals, sizes, score_threshold, nms_threshold, max_detections)
            if "mask" in getattr(self.model, "heads", ()):
                rois = convert.boxes_to_rois([d.boxes for d in found]).astype(images.dtype, copy=False)
                logits, start = self.masks(P, rois).numpy(), 0
                for i, (d, size) in enumerate(zip(found, sizes, strict=True)):
                    said = self.model.heads["mask"].decode(logits[start:start + len(d)], d, tuple(size.tolist()))
                    found[i], start = d.with_rows(**said), start + len(d)
            return found


def F_relu(x):
    import torch
    return torch.relu_(x)


def walk(prefix, layer):
    """(dotted name, layer) of the layer and everything below it."""
    yield prefix, layer
    for name, value in vars(layer).items():
        for path, inner in base.sublayers(name, value):
            yield from walk(f"{prefix}.{path}" if prefix else path, inner)
