"""Loss loops: one pass over blocks that fit the first-level cache; every block has its own sum, so the result does not depend on threads.

Shapes here: N images, K classes, P pixels of an image (or N = 1 and P rows of a classifier's table, turned on its side).
Labels are compared with the class in hand, never used as an index: no label can make these loops read or write elsewhere.
"""
import math

import numpy as np
from numba import prange

from numpyvision.kernels.elementwise import LANES, SMALL, add_up, exp_negative, log1p_unit
from numpyvision.kernels.jit import alone_below, jit, jit_parallel

PIXELS = 512             # of one block: 21 classes of them are 43 KB
ELEMENTS = 4096          # of one block of an elementwise loss


@alone_below(SMALL)
@jit_parallel
def softmax_cross_entropy(logits, labels, ignore_index):
    """Sum over pixels of log(sum_k e^z_k) - z_label, ignored ones left out. logits (N, K, P), labels (N, P) int32."""
    N, K, P = logits.shape
    blocks = (P + PIXELS - 1) // PIXELS
    sums = np.zeros(N * blocks)
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * PIXELS
        stop = min(start + PIXELS, P)
        label = labels[n, start:stop]
        largest = _largest(logits[n, :, start:stop])
        total = np.zeros_like(largest)
        chosen = np.zeros_like(largest)
        for k in range(K):
            row = logits[n, k, start:stop]
            for i in range(row.size):
                value = row[i]
                total[i] += exp_negative(value - largest[i])
                chosen[i] = value if label[i] == k else chosen[i]
        for i in range(label.size):
            if label[i] != ignore_index:
                sums[block] += math.log(total[i]) + largest[i] - chosen[i]
    return sums.sum()


@jit
def _largest(logits):
    """The largest of K logits, a pixel: (K, pixels) -> (pixels,). It is subtracted before exp(), which then cannot overflow."""
    largest = logits[0].copy()
    for k in range(1, len(logits)):
        row = logits[k]
        for i in range(row.size):
            largest[i] = row[i] if row[i] > largest[i] else largest[i]
    return largest


@alone_below(SMALL)
@jit_parallel
def softmax_cross_entropy_backward(logits, labels, ignore_index, scale):
    """scale * (softmax - onehot), 0 at ignored pixels. The softmax is computed anew: exp() is cheaper than reading it from memory."""
    N, K, P = logits.shape
    dlogits = np.empty_like(logits)
    blocks, one, zero = (P + PIXELS - 1) // PIXELS, logits.dtype.type(1), logits.dtype.type(0)
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * PIXELS
        stop = min(start + PIXELS, P)
        label = labels[n, start:stop]
        largest = _largest(logits[n, :, start:stop])
        total = np.zeros_like(largest)
        for k in range(K):
            row = logits[n, k, start:stop]
            result = dlogits[n, k, start:stop]
            for i in range(row.size):
                result[i] = exp_negative(row[i] - largest[i])
                total[i] += result[i]
        for i in range(label.size):
            total[i] = scale * (one / total[i]) if label[i] != ignore_index else zero
        for k in range(K):
            result = dlogits[n, k, start:stop]
            for i in range(result.size):
                onehot = scale if label[i] == k else zero
                result[i] = result[i] * total[i] - onehot
    return dlogits


@alone_below(SMALL)
@jit_parallel
def sigmoid_bce(logits, targets, weights):
    """Sum of weight * (max(z, 0) - z t + log(1 + e^-|z|)); all flat, of one size; weights may be None."""
    blocks, zero = (logits.size + ELEMENTS - 1) // ELEMENTS, logits.dtype.type(0)
    sums = np.zeros(blocks)
    for block in prange(blocks):
        span = slice(block * ELEMENTS, (block + 1) * ELEMENTS)
        z, t = logits[span], targets[span]
        losses = np.empty_like(z)
        w = z if weights is None else weights[span]
        for i in range(z.size):
            loss = max(z[i], zero) - z[i] * t[i] + log1p_unit(exp_negative(-abs(z[i])))
            losses[i] = loss if weights is None else w[i] * loss
        sums[block] = add_up(losses, np.empty(LANES, losses.dtype))
    return sums.sum()


@alone_below(SMALL)
@jit_parallel
def sigmoid_bce_backward(logits, targets, weights, scale):
    """scale * weight * (sigmoid(z) - t)."""
    dlogits = np.empty_like(logits)
    one, zero = logits.dtype.type(1), logits.dtype.type(0)
    for block in prange((logits.size + ELEMENTS - 1) // ELEMENTS):
        span = slice(block * ELEMENTS, (block + 1) * ELEMENTS)
        z, t = logits[span], targets[span]
        result = dlogits[span]
        w = z if weights is None else weights[span]
        for i in range(z.size):
            e = exp_negative(-abs(z[i]))
            sigmoid = (one if z[i] >= zero else e) / (one + e)             # both forms of it, neither of which overflows
            factor = scale if weights is None else scale * w[i]
            result[i] = factor * (sigmoid - t[i])
    return dlogits


@alone_below(SMALL)
@jit_parallel
def sigmoid_focal_loss(logits, targets, weights, alpha, gamma):
    """Sum of weight * -alpha_t (1 - p_t)^gamma log(p_t); all flat, of one size. The power is e^(gamma log(1 - p_t)): no branch on gamma."""
    blocks, one, zero = (logits.size + ELEMENTS - 1) // ELEMENTS, logits.dtype.type(1), logits.dtype.type(0)
    sums = np.zeros(blocks)
    for block in prange(blocks):
        span = slice(block * ELEMENTS, (block + 1) * ELEMENTS)
        z, t = logits[span], targets[span]
        losses = np.empty_like(z)
        w = z if weights is None else weights[span]
        for i in range(z.size):
            u = z[i] if t[i] == one else -z[i]                             # p_t = sigmoid(u)
            rest = log1p_unit(exp_negative(-abs(u)))
            wrong, right = max(u, zero) + rest, max(-u, zero) + rest       # -log(1 - p_t) and -log(p_t)
            loss = (alpha if t[i] == one else one - alpha) * exp_negative(-gamma * wrong) * right
            losses[i] = loss if weights is None else w[i] * loss
        sums[block] = add_up(losses, np.empty(LANES, losses.dtype))
    return sums.sum()


@alone_below(SMALL)
@jit_parallel
def sigmoid_focal_loss_backward(logits, targets, weights, alpha, gamma, scale):
    """scale * weight * alpha_t (1 - p_t)^gamma (gamma p_t log(p_t) - (1 - p_t)), with the sign of u."""
    dlogits = np.empty_like(logits)
    one, zero = logits.dtype.type(1), logits.dtype.type(0)
    for block in prange((logits.size + ELEMENTS - 1) // ELEMENTS):
        span = slice(block * ELEMENTS, (block + 1) * ELEMENTS)
        z, t = logits[span], targets[span]
        result = dlogits[span]
        w = z if weights is None else weights[span]
        for i in range(z.size):
            u = z[i] if t[i] == one else -z[i]
            e = exp_negative(-abs(u))
            rest, share = log1p_unit(e), one / (one + e)
            power = exp_negative(-gamma * (max(u, zero) + rest))           # (1 - p_t)^gamma
            p_t, miss = (one if u >= zero else e) * share, (e if u >= zero else one) * share
            slope = power * (gamma * p_t * (max(-u, zero) + rest) + miss)
            factor = -scale * alpha if t[i] == one else scale * (one - alpha)
            result[i] = factor * slope if weights is None else factor * w[i] * slope
    return dlogits


@alone_below(SMALL)
@jit_parallel
def smooth_l1(pred, target, weights, beta):
    """Sum of weight * (d^2 / (2 beta) where |d| < beta, else |d| - beta / 2), d = pred - target; all flat, of one size."""
    blocks, half = (pred.size + ELEMENTS - 1) // ELEMENTS, pred.dtype.type(0.5)
    curvature = half / beta if beta > 0 else half                          # beta = 0: no |d| is below it
    sums = np.zeros(blocks)
    for block in prange(blocks):
        span = slice(block * ELEMENTS, (block + 1) * ELEMENTS)
        a, b = pred[span], target[span]
        losses = np.empty_like(a)
        w = a if weights is None else weights[span]
        for i in range(a.size):
            d = abs(a[i] - b[i])
            loss = curvature * d * d if d < beta else d - half * beta
            losses[i] = loss if weights is None else w[i] * loss
        sums[block] = add_up(losses, np.empty(LANES, losses.dtype))
    return sums.sum()


@alone_below(SMALL)
@jit_parallel
def smooth_l1_backward(pred, target, weights, beta, scale):
    """scale * weight * (d / beta where |d| < beta, else sign(d))."""
    dpred = np.empty_like(pred)
    one, zero = pred.dtype.type(1), pred.dtype.type(0)
    slope = one / beta if beta > 0 else one
    for block in prange((pred.size + ELEMENTS - 1) // ELEMENTS):
        span = slice(block * ELEMENTS, (block + 1) * ELEMENTS)
        a, b = pred[span], target[span]
        result = dpred[span]
        w = a if weights is None else weights[span]
        for i in range(a.size):
            d = a[i] - b[i]
            sign = one if d > zero else (-one if d < zero else d)          # 0 at 0, NaN at NaN
            factor = scale if weights is None else scale * w[i]
            result[i] = factor * (d * slope if abs(d) < beta else sign)
    return dpred
