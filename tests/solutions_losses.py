"""Two other right answers to each exercise about losses, as students write them: plain loops, and NumPy in another way."""
import math

import numpy as np

from numpyvision.cache import Cache
from numpyvision.losses import classification, regression


def prepared(x, weights, normalizer):
    """(weights as an array, normalizer, weights for the cache), from the docstring alone."""
    full = np.ones_like(x) if weights is None else np.broadcast_to(np.asarray(weights, x.dtype), x.shape)
    count = float(max(int((full != 0).sum()), 1)) if normalizer is None else float(normalizer)
    return full, count, None if weights is None else np.asarray(weights, x.dtype)


def spread(x, weights):
    return np.ones_like(x) if weights is None else np.broadcast_to(weights, x.shape)


# ---- smooth L1

def smooth_l1_forward_loops(pred, target, weights=None, beta=1.0, normalizer=None):
    full, normalizer, kept = prepared(pred, weights, normalizer)
    total = 0.0
    for p, t, w in zip(pred.ravel(), target.ravel(), full.ravel(), strict=True):
        d = abs(float(p) - float(t))
        total += float(w) * (d * d / (2 * beta) if d < beta else d - beta / 2)
    return pred.dtype.type(total / normalizer), Cache(pred=pred, target=target, weights=kept, beta=float(beta), normalizer=normalizer)


def smooth_l1_forward_huber(pred, target, weights=None, beta=1.0, normalizer=None):
    """The part of d below beta counts by the parabola, the rest by the line: no np.where."""
    full, normalizer, kept = prepared(pred, weights, normalizer)
    d = np.abs(pred - target)
    inner = np.minimum(d, beta)
    loss = (inner * (d - inner / 2) / beta if beta else d).astype(pred.dtype)
    return np.vdot(full, loss) / normalizer, Cache(pred=pred, target=target, weights=kept, beta=float(beta), normalizer=normalizer)


def smooth_l1_backward_loops(dloss, cache):
    out, full = np.zeros_like(cache.pred), spread(cache.pred, cache.weights)
    for index in np.ndindex(out.shape):
        d = cache.pred[index] - cache.target[index]
        slope = d / cache.beta if abs(d) < cache.beta else (d > 0) * 1.0 - (d < 0) * 1.0
        out[index] = dloss * full[index] * slope / cache.normalizer
    return out


def smooth_l1_backward_clip(dloss, cache):
    """The slope is d / beta, held between -1 and 1."""
    d = cache.pred - cache.target
    slope = np.clip(d / cache.beta, -1, 1) if cache.beta else np.sign(d)
    return (float(dloss) / cache.normalizer * spread(d, cache.weights) * slope).astype(d.dtype)


# ---- sigmoid cross-entropy, focal loss

def sigmoid_bce_forward_loops(logits, targets, weights=None, normalizer=None):
    full, normalizer, kept = prepared(logits, weights, normalizer)
    total = 0.0
    for z, t, w in zip(logits.ravel().tolist(), targets.ravel().tolist(), full.ravel().tolist(), strict=True):
        log_e = math.log1p(math.exp(-abs(z)))
        minus_log_p, minus_log_q = log_e + max(-z, 0), log_e + max(z, 0)
        total += w * (t * minus_log_p + (1 - t) * minus_log_q)
    return logits.dtype.type(total / normalizer), Cache(logits=logits, targets=targets, weights=kept, normalizer=normalizer)


def sigmoid_bce_forward_logaddexp(logits, targets, weights=None, normalizer=None):
    full, normalizer, kept = prepared(logits, weights, normalizer)
    loss = targets * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits)
    cache = Cache(logits=logits, targets=targets, weights=kept, normalizer=normalizer)
    return np.einsum("i,i->", full.ravel(), loss.ravel()) / normalizer, cache


def sigmoid_bce_backward_loops(dloss, cache):
    out, full = np.zeros_like(cache.logits), spread(cache.logits, cache.weights)
    for index in np.ndindex(out.shape):
        z = float(cache.logits[index])
        p = 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))
        out[index] = dloss * full[index] * (p - cache.targets[index]) / cache.normalizer
    return out


def sigmoid_bce_backward_tanh(dloss, cache):
    """sigmoid(z) = (1 + tanh(z / 2)) / 2, which never overflows."""
    z = cache.logits
    return (spread(z, cache.weights) * ((1 + np.tanh(z / 2)) / 2 - cache.targets) * (float(dloss) / cache.normalizer)).astype(z.dtype)


def sigmoid_focal_loss_forward_loops(logits, targets, weights=None, alpha=0.25, gamma=2.0, normalizer=None):
    full, normalizer, kept = prepared(logits, weights, normalizer)
    total = 0.0
    for z, t, w in zip(logits.ravel().tolist(), targets.ravel().tolist(), full.ravel().tolist(), strict=True):
        u, a = (z, alpha) if t == 1 else (-z, 1 - alpha)
        minus_log = math.log1p(math.exp(-abs(u))) + max(-u, 0)
        total += w * a * (1 - math.exp(-minus_log)) ** gamma * minus_log
    cache = Cache(logits=logits, targets=targets, weights=kept, alpha=float(alpha), gamma=float(gamma), normalizer=normalizer)
    return logits.dtype.type(total / normalizer), cache


def sigmoid_focal_loss_forward_two_kinds(logits, targets, weights=None, alpha=0.25, gamma=2.0, normalizer=None):
    """Positives and negatives by two formulas, chosen by the target; everything in logarithms."""
    full, normalizer, kept = prepared(logits, weights, normalizer)
    minus_log_p, minus_log_q = np.logaddexp(0, -logits), np.logaddexp(0, logits)
    positive = alpha * np.exp(-gamma * minus_log_q) * minus_log_p
    negative = (1 - alpha) * np.exp(-gamma * minus_log_p) * minus_log_q
    cache = Cache(logits=logits, targets=targets, weights=kept, alpha=float(alpha), gamma=float(gamma), normalizer=normalizer)
    return (full * np.where(targets == 1, positive, negative)).sum() / normalizer, cache


def sigmoid_focal_loss_backward_loops(dloss, cache):
    out, full, alpha, gamma = np.zeros_like(cache.logits), spread(cache.logits, cache.weights), cache.alpha, cache.gamma
    for index in np.ndindex(out.shape):
        z = float(cache.logits[index])
        u, a, sign = (z, alpha, 1) if cache.targets[index] == 1 else (-z, 1 - alpha, -1)
        log_p = -math.log1p(math.exp(-abs(u))) - max(-u, 0)
        log_q = -math.log1p(math.exp(-abs(u))) - max(u, 0)
        p, q = math.exp(log_p), math.exp(log_q)
        out[index] = dloss * full[index] / cache.normalizer * sign * a * (gamma * q ** gamma * p * log_p - q ** (gamma + 1))
    return out


def sigmoid_focal_loss_backward_two_kinds(dloss, cache):
    """d/dz of both formulas of the paper by hand, p and q = 1 - p from tanh-free logarithms."""
    z, g = cache.logits, cache.gamma
    log_p, log_q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    p, q = np.exp(log_p), np.exp(log_q)
    positive = cache.alpha * q ** g * (g * p * log_p - q)
    negative = (1 - cache.alpha) * p ** g * (p - g * q * log_q)
    return (np.where(cache.targets == 1, positive, negative) * spread(z, cache.weights) * (float(dloss) / cache.normalizer)).astype(z.dtype)


# ---- softmax cross-entropy

def softmax_cross_entropy_forward_loops(logits, labels, ignore_index=255):
    total, count = 0.0, 0
    for index in np.ndindex(labels.shape):
        if ignore_index is not None and labels[index] == ignore_index:
            continue
        z = logits[(index[0], slice(None), *index[1:])].astype(float)
        total += math.log(sum(math.exp(v - z.max()) for v in z)) + z.max() - z[labels[index]]
        count += 1
    count = max(count, 1)
    return logits.dtype.type(total / count), Cache(logits=logits, labels=labels, ignore_index=ignore_index, count=count)


def softmax_cross_entropy_forward_rows(logits, labels, ignore_index=255):
    """Classes last, one row a pixel, and only the valid rows."""
    rows, wanted = np.moveaxis(logits, 1, -1).reshape(-1, logits.shape[1]), labels.reshape(-1)
    keep = np.ones(len(wanted), bool) if ignore_index is None else wanted != ignore_index
    rows, wanted = rows[keep], wanted[keep]
    loss = np.logaddexp.reduce(rows, axis=1) - rows[np.arange(len(rows)), wanted]
    count = max(len(rows), 1)
    return loss.sum() / count, Cache(logits=logits, labels=labels, ignore_index=ignore_index, count=count)


def softmax_cross_entropy_backward_loops(dloss, cache):
    out = np.zeros_like(cache.logits)
    for index in np.ndindex(cache.labels.shape):
        if cache.ignore_index is None or cache.labels[index] != cache.ignore_index:
            place = (index[0], slice(None), *index[1:])
            e = np.exp(cache.logits[place] - cache.logits[place].max())
            p = e / e.sum()
            p[cache.labels[index]] -= 1
            out[place] = dloss * p / cache.count
    return out


def softmax_cross_entropy_backward_rows(dloss, cache):
    K1, shape = cache.logits.shape[1], np.moveaxis(cache.logits, 1, -1).shape
    rows, wanted = np.moveaxis(cache.logits, 1, -1).reshape(-1, K1), cache.labels.reshape(-1)
    keep = np.flatnonzero(wanted != (-1 if cache.ignore_index is None else cache.ignore_index))
    drows = np.zeros_like(rows)
    drows[keep] = np.exp(rows[keep] - np.logaddexp.reduce(rows[keep], axis=1)[:, None])
    drows[keep, wanted[keep]] -= 1
    return np.ascontiguousarray(np.moveaxis(drows.reshape(shape), -1, 1)) * cache.logits.dtype.type(dloss / cache.count)


# ---- the losses of an RPN

def rpn_losses_forward_loops(logits, deltas, image, anchor, labels, gt_deltas, beta=1 / 9):
    """Anchor by anchor; the caches, which backward needs, from the two losses at the end."""
    S, objectness, box, place = max(len(labels), 1), 0.0, 0.0, 0
    for n, t, label in zip(image, anchor, labels, strict=True):
        z = float(logits[n, t])
        objectness += max(z, 0) - z * label + math.log1p(math.exp(-abs(z)))
        if label == 1:
            for k in range(4):
                d = abs(float(deltas[n, t, k]) - float(gt_deltas[place, k]))
                box += d * d / (2 * beta) if d < beta else d - beta / 2
            place += 1
    positive = labels == 1
    _, cache1 = classification.sigmoid_bce_forward(logits[image, anchor], labels.astype(logits.dtype), normalizer=S)
    _, cache2 = regression.smooth_l1_forward(deltas[image, anchor][positive], gt_deltas, beta=beta, normalizer=S)
    return (logits.dtype.type(objectness / S), deltas.dtype.type(box / S)), Cache(
        shape=logits.shape, image=image, anchor=anchor, positive=positive, objectness=cache1, box_reg=cache2)


def rpn_losses_forward_flat(logits, deltas, image, anchor, labels, gt_deltas, beta=1 / 9):
    """One number an anchor of the batch, image * T + anchor, and np.take."""
    flat, S = image * logits.shape[1] + anchor, max(len(labels), 1)
    rows = flat[labels > 0]
    targets = labels.astype(logits.dtype)
    one, cache1 = classification.sigmoid_bce_forward(np.take(logits, flat), targets, np.ones_like(targets), S)
    two, cache2 = regression.smooth_l1_forward(deltas.reshape(-1, 4)[rows], gt_deltas, None, beta, S)
    return (one, two), Cache(shape=logits.shape, image=image, anchor=anchor, positive=labels > 0, objectness=cache1, box_reg=cache2)


def rpn_losses_backward_loops(dlosses, cache):
    dtype = cache.objectness.logits.dtype
    dlogits, ddeltas, place = np.zeros(cache.shape, dtype), np.zeros((*cache.shape, 4), dtype), 0
    one = classification.sigmoid_bce_backward(dlosses[0], cache.objectness)
    two = regression.smooth_l1_backward(dlosses[1], cache.box_reg)
    for s, (n, t) in enumerate(zip(cache.image, cache.anchor, strict=True)):
        dlogits[n, t] = one[s]
        if cache.positive[s]:
            ddeltas[n, t] = two[place]
            place += 1
    return dlogits, ddeltas, None, None, None, None


def rpn_losses_backward_onehot(dlosses, cache):
    """Putting back is the transpose of picking: a one-hot matrix, and einsum."""
    (N, T), dtype = cache.shape, cache.objectness.logits.dtype
    pick = np.zeros((len(cache.image), N * T), dtype)
    pick[np.arange(len(cache.image)), cache.image * T + cache.anchor] = 1
    dlogits = np.einsum("s,sa->a", classification.sigmoid_bce_backward(dlosses[0], cache.objectness), pick)
    ddeltas = np.einsum("pk,pa->ak", regression.smooth_l1_backward(dlosses[1], cache.box_reg), pick[cache.positive])
    return dlogits.reshape(N, T), ddeltas.reshape(N, T, 4), None, None, None, None


SOLUTIONS = {
    "smooth_l1_forward": (smooth_l1_forward_loops, smooth_l1_forward_huber),
    "smooth_l1_backward": (smooth_l1_backward_loops, smooth_l1_backward_clip),
    "sigmoid_bce_forward": (sigmoid_bce_forward_loops, sigmoid_bce_forward_logaddexp),
    "sigmoid_bce_backward": (sigmoid_bce_backward_loops, sigmoid_bce_backward_tanh),
    "sigmoid_focal_loss_forward": (sigmoid_focal_loss_forward_loops, sigmoid_focal_loss_forward_two_kinds),
    "sigmoid_focal_loss_backward": (sigmoid_focal_loss_backward_loops, sigmoid_focal_loss_backward_two_kinds),
    "softmax_cross_entropy_forward": (softmax_cross_entropy_forward_loops, softmax_cross_entropy_forward_rows),
    "softmax_cross_entropy_backward": (softmax_cross_entropy_backward_loops, softmax_cross_entropy_backward_rows),
    "rpn_losses_forward": (rpn_losses_forward_loops, rpn_losses_forward_flat),
    "rpn_losses_backward": (rpn_losses_backward_loops, rpn_losses_backward_onehot),
}
