"""The two losses of a region proposal network: is there an object at this anchor, and how must the anchor move onto it (L16-R01)?

Shapes here: N images, T anchors an image, S sampled anchors of the whole batch, P of them positive. Only the predictions receive a
gradient, and only at the sampled anchors: the thousands of others were not asked.
"""
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache
from numpyvision.losses import classification, regression


def rpn_losses_forward(logits, deltas, image, anchor, labels, gt_deltas, beta=1 / 9):
    """-> (loss_objectness, loss_rpn_box_reg), cache: Ren et al. 2015, Eq. (1), on the S sampled anchors.

    logits (N, T) and deltas (N, T, 4): what the network says of every anchor. Sample s is anchor[s] of image[s], no anchor twice;
    labels[s] is 1 (positive) or 0 (negative): image, anchor, labels (S,) int64. gt_deltas (P, 4): how the positives should move, in
    their order among the samples.
        loss_objectness    sigmoid_bce of the S logits against their labels, summed, divided by S
        loss_rpn_box_reg   smooth_l1 (beta) of the P positives' deltas against gt_deltas, summed over all 4P numbers, divided by S too
    Dividing both by S lets an image with few positives pull its boxes less. S = 0: both are 0.0.
    Caches shape (N, T), image, anchor, positive (S,) bool, and the two losses' own caches as objectness and box_reg.
    """
    positive, normalizer = labels == 1, max(len(labels), 1)
    sampled_logits, sampled_deltas = logits[image, anchor], deltas[image, anchor]                     # (S,), (S, 4)
    loss_objectness, objectness = classification.sigmoid_bce_forward(
        sampled_logits, labels.astype(logits.dtype), normalizer=normalizer)
    loss_box_reg, box_reg = regression.smooth_l1_forward(sampled_deltas[positive], gt_deltas, beta=beta, normalizer=normalizer)
    return (loss_objectness, loss_box_reg), Cache(shape=logits.shape, image=image, anchor=anchor, positive=positive,
                                                  objectness=objectness, box_reg=box_reg)


def rpn_losses_backward(dlosses, cache):
    """dlosses, the two loss weights -> dlogits (N, T), ddeltas (N, T, 4); None for image, anchor, labels and gt_deltas.

    0 at every anchor that was not sampled, and in ddeltas at every negative one: background has no box to move to (L16-S04).
    cache: shape (N, T), image, anchor, positive (S,) bool, and objectness, box_reg: caches for sigmoid_bce_backward, smooth_l1_backward.
    """
    image, anchor, positive = cache.image, cache.anchor, cache.positive
    xp, dtype = get_array_module(cache.objectness.logits), cache.objectness.logits.dtype
    dlogits, ddeltas = xp.zeros(cache.shape, dtype), xp.zeros((*cache.shape, 4), dtype)
    ddeltas[image[positive], anchor[positive]] = regression.smooth_l1_backward(dlosses[1], cache.box_reg)
    dlogits[image, anchor] = classification.sigmoid_bce_backward(dlosses[0], cache.objectness)
    return dlogits, ddeltas, None, None, None, None
