"""Loss loops: one pass over blocks that fit the first-level cache; every block has its own sum, so the result does not depend on threads.

Shapes here: N images, K classes, P pixels of an image (or N = 1 and P rows of a classifier's table, turned on its side).
A label is an index only after it was found to be one of the K classes: no label can make these loops read or write elsewhere.
"""
import math

import numpy as np
from numba import prange

from numpyvision.kernels.elementwise import LANES, SMALL, add_up, exp_negative, log1p_unit
from numpyvision.kernels.jit import alone_below, jit, jit_inner, jit_parallel

PIXELS = 512             # of one block: 21 classes of them are 43 KB
ROWS = 128               # of one block of a classifier's table: 81 classes of them are 41 KB
ELEMENTS = 4096          # of one block of an elementwise loss


@alone_below(SMALL)
@jit_parallel
def softmax_cross_entropy(logits, labels, ignore_index):
    """Sum over pixels of log(sum_k e^z_k) - z_label, ignored ones left out. logits (N, K, P), labels (N, P) int64.

    -> the sum, how many labels counted, how many were none of the K classes (the caller raises), and what backward would have to
    compute again, (N, P) each: the largest logit of each pixel, and its total, sum_k e^(z_k - largest).
    """
    N, K, P = logits.shape
    largest, total = np.empty((N, P), logits.dtype), np.empty((N, P), logits.dtype)
    blocks = (P + PIXELS - 1) // PIXELS
    sums, valid, wrong = np.empty(N * blocks), np.empty(N * blocks, np.int64), np.empty(N * blocks, np.int64)
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * PIXELS
        pixels = slice(start, min(start + PIXELS, P))
        _softmax_parts(logits[n], pixels, largest[n, pixels], total[n, pixels])
        sums[block], valid[block], wrong[block] = _add_labels(
            logits[n], start, labels[n, pixels], ignore_index, largest[n, pixels], total[n, pixels])
    return sums.sum(), valid.sum(), wrong.sum(), largest, total


@jit
def softmax_cross_entropy_rows(logits, labels, ignore_index):
    """The same of rows (N, K), labels (N,). ROWS of them at a time are turned, so that the loops run along many rows, not a few classes."""
    N, K = logits.shape
    largest, total = np.empty(N, logits.dtype), np.empty(N, logits.dtype)
    turned = np.empty((K, ROWS), logits.dtype)
    loss, valid, wrong = 0.0, 0, 0
    for start in range(0, N, ROWS):
        rows = slice(start, min(start + ROWS, N))
        block = logits[rows]
        for k in range(K):
            column = turned[k]
            for i in range(len(block)):
                column[i] = block[i, k]
        _softmax_parts(turned, slice(0, len(block)), largest[rows], total[rows])
        more = _add_labels(turned, np.int64(0), labels[rows], ignore_index, largest[rows], total[rows])
        loss, valid, wrong = loss + more[0], valid + more[1], wrong + more[2]
    return loss, valid, wrong, largest, total


@jit_inner
def _softmax_parts(z, pixels, largest, total):
    """z (K, P), a slice of its pixels -> their largest and total. The largest is subtracted before exp(), which then cannot overflow.

    z[:, pixels] would be shorter, but its rows are not known to be contiguous, and the loops would go number by number.
    """
    for i in range(largest.size):                                      # largest[:] = ... would make numba compile a second longer
        largest[i] = z[0, pixels][i]
    for k in range(1, len(z)):
        row = z[k, pixels]
        for i in range(row.size):
            largest[i] = row[i] if row[i] > largest[i] else largest[i]
    total[:] = 0
    for k in range(len(z)):
        row = z[k, pixels]
        for i in range(row.size):
            total[i] += exp_negative(row[i] - largest[i])


@jit_inner
def _add_labels(z, start, labels, ignore_index, largest, total):
    """z (K, P), labels of its pixels from `start` on -> sum of log(total) + largest - z_label, how many labels count, how many are wrong.

    A sum of logarithms is the logarithm of a product, which is taken before the product can overflow: one log for dozens of pixels.
    """
    loss, product, valid, wrong = 0.0, 1.0, 0, 0
    for i in range(labels.size):
        label = labels[i]
        if label == ignore_index:
            continue
        if label < 0 or label >= len(z):
            wrong += 1
            continue
        valid += 1
        loss += largest[i] - z[label, start + i]
        product *= total[i]                                                # 1 <= total <= K
        if product > 1e200:
            loss += math.log(product)
            product = 1.0
    return loss + math.log(product), valid, wrong


@alone_below(SMALL)
@jit_parallel
def softmax_cross_entropy_backward(logits, labels, ignore_index, largest, total, scale, dlogits):
    """dlogits = scale * (softmax - onehot), 0 at ignored pixels, in one pass: exp() anew is cheaper than reading it from memory."""
    N, K, P = logits.shape
    blocks, zero = (P + PIXELS - 1) // PIXELS, logits.dtype.type(0)
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * PIXELS
        pixels = slice(start, min(start + PIXELS, P))
        label, top, share = labels[n, pixels], largest[n, pixels], total[n, pixels].copy()
        for i in range(label.size):
            share[i] = scale / share[i] if label[i] != ignore_index else zero
        for k in range(K):
            row = logits[n, k, pixels]
            result = dlogits[n, k, pixels]
            for i in range(row.size):
                result[i] = exp_negative(row[i] - top[i]) * share[i]
        result = dlogits[n, :, pixels]
        for i in range(label.size):
            if label[i] != ignore_index and 0 <= label[i] < K:
                result[label[i], i] -= scale


@jit
def softmax_cross_entropy_rows_backward(logits, labels, ignore_index, largest, total, scale):
    """The same of rows (N, K): with their largest and total at hand, nothing need be turned."""
    N, K = logits.shape
    dlogits, zero = np.empty_like(logits), logits.dtype.type(0)
    for n in range(N):
        row, result, top = logits[n], dlogits[n], largest[n]
        share = scale / total[n] if labels[n] != ignore_index else zero
        for k in range(K):
            result[k] = exp_negative(row[k] - top) * share
        if labels[n] != ignore_index and 0 <= labels[n] < K:
            result[labels[n]] -= scale
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
