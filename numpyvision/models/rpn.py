"""Region proposal network (Ren et al. 2015, section 3.1): from every anchor, "is there an object?" and "how to move the box onto it".

Shapes here: N images, L levels, A anchors a cell, H_l W_l size of level l, T = sum of A*H_l*W_l anchors an image; deltas are
(dx, dy, dw, dh). Lecture L16-R01 to R07. Where the gradient stops is marked: matching, sampling and NMS choose, and a choice has no slope.
"""
import functools
import itertools

import numpy as np

from numpyvision import tree
from numpyvision.boxes import anchors as anchor_boxes
from numpyvision.boxes import coder, convert, iou, matching, nms, sampling
from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.conv import Conv2d
from numpyvision.losses import rpn as rpn_losses
from numpyvision.models.targets import split_truth
from numpyvision.ops import box_transform
from numpyvision.ops.activation import add, relu_backward, relu_forward

LOSSES = ("loss_objectness", "loss_rpn_box_reg")


class RPNHead(Layer):
    """One small network slid over every level. The loop over levels lives here, so the sum of its gradients is written once."""

    def __init__(self, channels, num_anchors, *, rng, dtype=np.float32):
        self.conv = Conv2d(channels, channels, 3, padding=1, rng=rng, dtype=dtype)
        self.objectness = Conv2d(channels, num_anchors, 1, std=0.01, rng=rng, dtype=dtype)            # N(0, 0.01): paper 3.1.3
        self.deltas = Conv2d(channels, 4 * num_anchors, 1, std=0.01, rng=rng, dtype=dtype)

    def forward(self, P, train=True):
        """P_l (N, C, H_l, W_l) -> objectness logits [(N, A, H_l, W_l)], anchor deltas [(N, 4A, H_l, W_l)]."""
        cache, logits, deltas = new_cache(train, levels=len(P)), [], []
        for l, p in enumerate(P):
            h, cache["conv", l] = self.conv.forward(p, train)
            h, cache["relu", l] = relu_forward(h)
            level_logits, cache["objectness", l] = self.objectness.forward(h, train)
            level_deltas, cache["deltas", l] = self.deltas.forward(h, train)
            logits.append(level_logits)
            deltas.append(level_deltas)
        return (logits, deltas), cache

    def backward(self, douts, cache):
        (dlogits, ddeltas), dP, grads = douts, [], None
        for l in range(cache.levels):
            dh_deltas, g_deltas = self.deltas.backward(ddeltas[l], cache["deltas", l])
            dh_objectness, g_objectness = self.objectness.backward(dlogits[l], cache["objectness", l])
            dh = relu_backward(add(dh_objectness, dh_deltas), cache["relu", l])                       # copy gate: h fed both
            dp, g_conv = self.conv.backward(dh, cache["conv", l])
            dP.append(dp)
            grads = tree.add(grads, {"conv": g_conv, "objectness": g_objectness, "deltas": g_deltas})  # one weight, L uses: sum
        return tuple(dP), grads


class RPN(Layer):
    """Anchors, the head, its two losses `loss_objectness` and `loss_rpn_box_reg`, and the proposals for the second stage.

    anchor_sizes: a tuple of sizes (pixels) a level; aspect_ratios: height / width, the same for all levels.
    """

    def __init__(self, channels, strides, anchor_sizes, aspect_ratios=(0.5, 1.0, 2.0), fg_threshold=0.7, bg_threshold=0.3,
                 num_samples=64, positive_fraction=0.5, pre_nms=200, post_nms=50, nms_threshold=0.7, beta=1 / 9, *, rng,
                 dtype=np.float32):
        if not len(strides) == len(anchor_sizes):
            raise ValueError(f"anchor_sizes needs one tuple of sizes a level: {len(strides)} levels, got {anchor_sizes}")
        if len({len(s) for s in anchor_sizes}) != 1:
            raise ValueError(f"every level must have as many anchor sizes as the others (they share one head), got {anchor_sizes}")
        self.strides, self.cells = strides, [anchor_boxes.cell_anchors(sizes, aspect_ratios) for sizes in anchor_sizes]
        self.fg_threshold, self.bg_threshold = fg_threshold, bg_threshold
        self.num_samples, self.positive_fraction = num_samples, positive_fraction
        self.pre_nms, self.post_nms, self.nms_threshold, self.beta = pre_nms, post_nms, nms_threshold, beta
        self.head = RPNHead(channels, len(self.cells[0]), rng=rng, dtype=dtype)

    def forward(self, P, sizes, targets=None, rng=None, train=True, traces=None):
        """-> proposals [(R_i, 4)], losses (empty without targets), cache. sizes (N, 2): the true (H, W) of each image in the batch.

        traces: a `why.Trace` an image, to be told what happens; None tells nobody. ValueError for N = 0.
        """
        if not len(sizes):
            raise ValueError("a batch needs at least one image, got none")
        cache = new_cache(train, shapes=[p.shape for p in P])
        (logit_maps, delta_maps), cache["head"] = self.head.forward(P, train)
        logits = flatten_levels(logit_maps, 1)[:, :, 0]                                               # (N, T)
        deltas = flatten_levels(delta_maps, 4)                                                        # (N, T, 4)
        anchors = self.anchors(P)                                                                     # (T, 4)
        proposals = self.propose(logits, deltas, anchors, sizes, [m[0].size for m in logit_maps], cache, traces)
        losses = {}
        if targets is not None:
            chosen = self.targets(anchors, targets, rng)                                              # S sampled anchors of the batch
            found, cache["losses"] = rpn_losses.rpn_losses_forward(logits, deltas, *chosen, beta=self.beta)
            losses = dict(zip(LOSSES, found, strict=True))
        return proposals, losses, cache

    def backward(self, dlosses, cache, dproposals=None):
        """dlosses: {name: loss weight}, a missing one counts as zero -> dP, grads.

        dproposals [(R_i, 4)]: the gradient to the proposals, where the second stage has one to give; None for constants.
        """
        dlogits, ddeltas, *_ = rpn_losses.rpn_losses_backward([dlosses.get(name, 0.0) for name in LOSSES], cache.losses)
        if dproposals is not None:
            ddeltas = ddeltas + self.propose_backward(dproposals, ddeltas, cache)                     # copy gate: deltas fed loss and boxes
        ddelta_maps = unflatten_levels(ddeltas, cache.shapes, [4 * len(cell) for cell in self.cells])
        dlogit_maps = unflatten_levels(dlogits[:, :, None], cache.shapes, [len(cell) for cell in self.cells])
        dP, g_head = self.head.backward((dlogit_maps, ddelta_maps), cache.head)
        return dP, {"head": g_head}

    def anchors(self, P):
        """All anchors of an image, finest level first: (T, 4) in the dtype of P."""
        cells = tuple(tuple(map(tuple, cell.tolist())) for cell in self.cells)
        return lay_out(tuple(p.shape[2:] for p in P), tuple(self.strides), cells, P[0].dtype).copy()

    def propose(self, logits, deltas, anchors, sizes, per_level, cache, traces=None):
        """The best boxes of each image: top `pre_nms` of each level, decoded, clipped, NMS within a level, top `post_nms` of all.

        Which boxes are chosen has no slope: the logits get no gradient from here. The boxes' coordinates have one, and it is the
        detector's to say whether they are constants to the second stage, as if they had fallen from the sky (`detach_proposals`).
        """
        starts, proposals = [0, *itertools.accumulate(per_level)], []
        for i, size in enumerate(sizes):
            scores = logits[i]
            best = [start + highest(scores[start:stop], self.pre_nms) for start, stop in itertools.pairwise(starts)]
            level = np.repeat(np.arange(len(best)), [len(b) for b in best])
            best = np.concatenate(best)
            decoded, cache["decode", i] = box_transform.decode_boxes_forward(deltas[i][best], anchors[best])
            boxes, cache["clip", i] = box_transform.clip_boxes_forward(decoded, tuple(size.tolist()))
            big = convert.remove_small(boxes, 1.0)                                                    # under a pixel: nothing to crop
            kept = nms.batched_nms(boxes[big], scores[best[big]], level[big], self.nms_threshold)
            chosen = big[kept[:self.post_nms]]
            cache["best", i], cache["kept", i] = best, chosen
            proposals.append(boxes[chosen])
            if traces is not None:
                traces[i].tell_rpn(self, size, anchors, per_level, scores, deltas[i], best, decoded, boxes, big, kept, level)
        return proposals

    def propose_backward(self, dproposals, deltas, cache):
        """dproposals [(R_i, 4)] -> ddeltas, of the shape of deltas (N, T, 4): the chosen anchors' alone, through the clipping."""
        ddeltas = np.zeros_like(deltas)
        for i, dchosen in enumerate(dproposals):
            dboxes = np.zeros_like(cache["clip", i].boxes)
            dboxes[cache["kept", i]] = dchosen
            dboxes = box_transform.clip_boxes_backward(dboxes, cache["clip", i])
            ddeltas[i, cache["best", i]], _danchors = box_transform.decode_boxes_backward(dboxes, cache["decode", i])
        return ddeltas

    def targets(self, anchors, samples, rng):
        """Label all anchors, sample `num_samples` an image (L16-R04) -> image (S,), anchor (S,), labels (S,), gt_deltas of positives."""
        images, chosen, labels, deltas = [], [], [], []
        for i, sample in enumerate(samples):
            gt_boxes, _, ignored = split_truth(sample, anchors.dtype)
            matched, label = matching.match_boxes(iou.box_iou(gt_boxes, anchors), self.fg_threshold, self.bg_threshold,
                                                  allow_low_quality=True)
            label = matching.ignore_inside(label, anchors, ignored)
            rows = sampling.sample_labels(label, self.num_samples, self.positive_fraction, rng)
            positives = rows[label[rows] == 1]
            images.append(np.full(len(rows), i))
            chosen.append(rows)
            labels.append(label[rows])
            deltas.append(coder.encode_boxes(gt_boxes[matched[positives]], anchors[positives]) if len(positives) else anchors[:0])
        return np.concatenate(images), np.concatenate(chosen), np.concatenate(labels), np.concatenate(deltas)


@functools.lru_cache(maxsize=64)
def lay_out(sizes, strides, cells, dtype):
    """The anchors of maps of these sizes (H_l, W_l), one level after the other: once for all batches of one size."""
    grids = [anchor_boxes.grid_anchors(size, stride, cell=np.array(cell, np.float32))
             for size, stride, cell in zip(sizes, strides, cells, strict=True)]
    return np.concatenate(grids).astype(dtype)


def flatten_levels(maps, values):
    """[(N, A*values, H_l, W_l)] -> (N, T, values), anchors in the order y, x, a of grid_anchors, levels one after the other."""
    flat = []
    for m in maps:
        N, AV, H, W = m.shape
        m = m.reshape(N, AV // values, values, H, W).transpose(0, 3, 4, 1, 2)                         # (N, H, W, A, values)
        flat.append(m.reshape(N, -1, values))
    return np.concatenate(flat, axis=1)


def unflatten_levels(flat, shapes, channels):
    """The inverse of flatten_levels: (N, T, values) -> [(N, A*values, H_l, W_l)], channels[l] = A*values."""
    maps, start, (N, _, values) = [], 0, flat.shape
    for (_, _, H, W), AV in zip(shapes, channels, strict=True):
        count = H * W * AV // values
        m = flat[:, start:start + count].reshape(N, H, W, AV // values, values).transpose(0, 3, 4, 1, 2)
        maps.append(np.ascontiguousarray(m.reshape(N, AV, H, W)))
        start += count
    return maps


def highest(scores, n):
    """Indices of the n highest of scores (T,), falling, among equals the first: (min(n, T),) int64.

    Of thousands only the few that may be among the n are put in order: their limit is found without sorting.
    """
    falling = -scores
    if n >= len(scores):
        return np.argsort(falling, kind="stable")
    among = np.flatnonzero(~(falling > np.partition(falling, n - 1)[n - 1]))           # not <=: a NaN stays, at the end
    return among[np.argsort(falling[among], kind="stable")[:n]]
