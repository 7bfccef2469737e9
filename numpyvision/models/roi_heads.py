"""The second stage of the detectors: branches that look at one proposal at a time. Today the box branch (Fast R-CNN, Girshick 2015).

Every branch reads the pyramid and a list of proposals and offers `targets, forward, backward, decode`.

Shapes here: N images, R regions over the batch, K foreground classes, S side of a cut-out region, P_l (N, C, H_l, W_l).
"""
import dataclasses

import numpy as np

from numpyvision.boxes import coder, convert, iou, matching, nms, sampling
from numpyvision.boxes.detections import Detections
from numpyvision.cache import NoCache, new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.linear import Linear
from numpyvision.layers.roi import PyramidRoIAlign
from numpyvision.losses import classification, regression
from numpyvision.models.targets import split_truth
from numpyvision.ops import box_transform
from numpyvision.ops.activation import relu_backward, relu_forward

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)    # 1 / the spread of the deltas (0.1, 0.1, 0.2, 0.2): Fast R-CNN normalises its targets by it


class BoxBranch(Layer):
    """RoI Align, two hidden layers, then per region K + 1 class logits and 4 deltas for each of the K classes (L16-F07).

    Losses by name: `loss_classifier` and `loss_box_reg`.
    """

    def __init__(self, channels, num_classes, strides, output_size=7, hidden=128, num_samples=32, positive_fraction=0.25,
                 fg_threshold=0.5, beta=1 / 9, *, rng, dtype=np.float32):
        self.num_classes, self.num_samples, self.positive_fraction = num_classes, num_samples, positive_fraction
        self.fg_threshold, self.beta = fg_threshold, beta
        self.pool = PyramidRoIAlign(output_size, strides)
        self.fc1 = Linear(channels * output_size ** 2, hidden, rng=rng, dtype=dtype)
        self.fc2 = Linear(hidden, hidden, rng=rng, dtype=dtype)
        self.classifier = Linear(hidden, num_classes + 1, std=0.01, rng=rng, dtype=dtype)
        self.regressor = Linear(hidden, 4 * num_classes, std=0.001, rng=rng, dtype=dtype)

    def targets(self, proposals, samples, rng, cache=None):
        """Label the proposals, sample `num_samples` an image -> rois (R, 5), labels (R,) 0..K, gt_deltas (R, 4), zero for background.

        The ground truth joins the proposals, so that the branch sees good boxes before the RPN finds any. What is chosen, and its label,
        has no gradient; for the coordinates, which have one, `cache` remembers what `targets_backward` needs.
        """
        rois, labels, deltas, cache = [], [], [], NoCache() if cache is None else cache
        cache["counts"] = [len(boxes) for boxes in proposals]
        for i, (boxes, sample) in enumerate(zip(proposals, samples, strict=True)):
            gt_boxes, gt_labels, ignored = split_truth(sample, boxes.dtype)
            boxes = np.concatenate([boxes, gt_boxes])
            matched, label = matching.match_boxes(iou.box_iou(gt_boxes, boxes), self.fg_threshold, self.fg_threshold)
            label = matching.ignore_inside(label, boxes, ignored)
            rows = sampling.sample_labels(label, self.num_samples, self.positive_fraction, rng)
            boxes, positive, row_deltas = boxes[rows], label[rows] == 1, np.zeros((len(rows), 4), boxes.dtype)
            row_labels = np.zeros(len(rows), np.int64)                                                # 0 = background
            if positive.any():
                row_labels[positive] = gt_labels[matched[rows[positive]]]
                row_deltas[positive], cache["encode", i] = box_transform.encode_boxes_forward(
                    gt_boxes[matched[rows[positive]]], boxes[positive], BOX_WEIGHTS)
            cache["rows", i], cache["positive", i] = rows, positive
            rois.append(np.concatenate([np.full((len(rows), 1), i, boxes.dtype), boxes], axis=1))
            labels.append(row_labels)
            deltas.append(row_deltas)
        return np.concatenate(rois), np.concatenate(labels), np.concatenate(deltas)

    def targets_backward(self, drois, dgt_deltas, cache):
        """drois (R, 5), dgt_deltas (R, 4) -> dproposals [(R_i, 4)]: a proposal moves its crop, and the target that is relative to it."""
        dproposals, start = [], 0
        for i, count in enumerate(cache.counts):
            rows, positive = cache["rows", i], cache["positive", i]
            dboxes, dtargets = drois[start:start + len(rows), 1:].copy(), dgt_deltas[start:start + len(rows)]
            if positive.any():
                _dgt_boxes, dreferences = box_transform.encode_boxes_backward(dtargets[positive], cache["encode", i])
                dboxes[positive] += dreferences                                                       # copy gate: crop and target
            found = rows < count                                                                      # the others are the truth itself
            dproposals.append(np.zeros((count, 4), drois.dtype))
            dproposals[i][rows[found]] = dboxes[found]
            start += len(rows)
        return dproposals

    def forward(self, P, rois, labels=None, gt_deltas=None, train=True):
        """-> (class_logits (R, K+1), box_deltas (R, K, 4)), losses (empty without labels), cache."""
        cache = new_cache(train)
        h, cache["pool"] = self.pool.forward(P, rois, train)                                          # (R, C, S, S)
        cache["pool_shape"] = h.shape
        h, cache["fc1"] = self.fc1.forward(h, train)
        h, cache["relu1"] = relu_forward(h)
        h, cache["fc2"] = self.fc2.forward(h, train)
        h, cache["relu2"] = relu_forward(h)
        class_logits, cache["classifier"] = self.classifier.forward(h, train)
        box_deltas, cache["regressor"] = self.regressor.forward(h, train)
        box_deltas, losses = box_deltas.reshape(-1, self.num_classes, 4), {}
        if labels is not None:
            losses["loss_classifier"], cache["loss_classifier"] = classification.softmax_cross_entropy_forward(class_logits, labels)
            positive = np.flatnonzero(labels > 0)
            cache["positive"], cache["column"] = positive, labels[positive] - 1                       # only the true class's box learns
            losses["loss_box_reg"], cache["loss_box_reg"] = regression.smooth_l1_forward(
                box_deltas[positive, labels[positive] - 1], gt_deltas[positive], beta=self.beta, normalizer=max(len(labels), 1))
        return (class_logits, box_deltas), losses, cache

    def backward(self, dlosses, cache):
        """dlosses: {name: loss weight}, a missing one counts as zero -> dP, grads. The regions are constants."""
        (dP, _drois, _dgt_deltas), grads = self.backward_to_regions(dlosses, cache, to_rois=False)
        return dP, grads

    def backward_to_regions(self, dlosses, cache, to_rois=True):
        """The gradient to all that forward read: -> (dP, drois (R, 5), dgt_deltas (R, 4)), grads."""
        grads, R = {}, cache.pool_shape[0]
        dpositive = regression.smooth_l1_backward(dlosses.get("loss_box_reg", 0.0), cache.loss_box_reg)
        dbox_deltas, dgt_deltas = np.zeros((R, self.num_classes, 4), dpositive.dtype), np.zeros((R, 4), dpositive.dtype)
        dbox_deltas[cache.positive, cache.column] = dpositive
        dgt_deltas[cache.positive] = -dpositive                                                       # the loss sees their difference
        dclass_logits = classification.softmax_cross_entropy_backward(dlosses.get("loss_classifier", 0.0), cache.loss_classifier)
        dh_box, grads["regressor"] = self.regressor.backward(dbox_deltas.reshape(R, 4 * self.num_classes), cache.regressor)
        dh_class, grads["classifier"] = self.classifier.backward(dclass_logits, cache.classifier)
        dh = relu_backward(dh_class + dh_box, cache.relu2)                                            # copy gate: h fed both
        dh, grads["fc2"] = self.fc2.backward(dh, cache.fc2)
        dh = relu_backward(dh, cache.relu1)
        dh, grads["fc1"] = self.fc1.backward(dh, cache.fc1)
        (dP, drois), _ = self.pool.backward(dh.reshape(cache.pool_shape), cache.pool, to_rois)
        return (dP, drois, dgt_deltas), grads

    def decode(self, outputs, proposals, sizes, score_threshold=0.05, nms_threshold=0.5, max_detections=100, traces=None):
        """Class logits and deltas -> one Detections an image: decode each class's box, clip, drop low scores, NMS class by class.

        traces: a `why.Trace` an image, to be told what happens; None tells nobody.
        """
        class_logits, box_deltas = outputs
        probs = classification.softmax(class_logits)                                                  # (R, K + 1)
        scores, found, start = probs[:, 1:], [], 0                                                    # background is never reported
        for i, (boxes, size) in enumerate(zip(proposals, sizes, strict=True)):
            rows = slice(start, start + len(boxes))
            start += len(boxes)
            decoded = coder.decode_boxes(box_deltas[rows], boxes[:, None], BOX_WEIGHTS)               # (R_i, K, 4)
            region, column = np.nonzero(scores[rows] > score_threshold)
            candidates = convert.clip_boxes(decoded[region, column], tuple(size.tolist()))
            score = scores[rows][region, column]
            big = convert.remove_small(candidates, 1.0)
            kept = nms.batched_nms(candidates[big], score[big], column[big], nms_threshold)
            chosen = big[kept[:max_detections]]
            found.append(Detections(candidates[chosen], column[chosen] + 1, score[chosen]))
            if traces is not None:
                traces[i].tell_final(self, boxes, probs[rows], decoded, region, column, candidates, big, kept,
                                     (score_threshold, nms_threshold, max_detections))
                found[i] = dataclasses.replace(found[i], more={"candidate": chosen}, trace=traces[i])
        return found
