"""Softmax and sigmoid cross-entropy: how far the predicted probabilities are from the labels, and the simplest gradients there are.

    softmax_cross_entropy   d loss / d z = (softmax(z) - onehot(label)) / number of labels          (lecture L16-G05)
    sigmoid_bce             d loss / d z = weight * (sigmoid(z) - target) / normalizer

Shapes here: N rows or images, K1 = K + 1 classes (0 is background), H W map size. A loss is a scalar; its `dloss` is the loss weight.
Only the logits receive a gradient: labels, targets and weights are constants.
"""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache
from numpyvision.check import arguments as check
from numpyvision.losses.weighting import check_weighted, flat, weight_and_normalizer

MOST_CLASSES = 128       # of rows that take the compiled loop; it turns a block of rows at a time, which must fit the first-level cache


def softmax_cross_entropy_forward(logits, labels, ignore_index=255):
    """mean over valid labels of  log(sum_k e^z_k) - z_label  =  -log softmax(z)[label].

    logits (N, K1) with labels (N,), or per pixel (N, K1, H, W) with labels (N, H, W); labels are integers 0..K1-1, or `ignore_index`,
    which contributes nothing and is not counted (None: every label counts). 0.0 if no label is valid. Stable for any finite logits.
    ValueError for a label outside the range. Caches logits, labels and the number of valid ones; the compiled loop also what its
    backward need not compute again.
    """
    _check_classes(logits, labels, ignore_index)
    xp = get_array_module(logits)
    ignore = -1 if ignore_index is None else ignore_index              # no label is -1
    if _runs_compiled(logits):
        total, count, wrong, *parts = _sum_compiled(logits, labels, ignore)
        if wrong:
            _check_labels(labels, logits.shape[1], ignore_index)
        count = max(count, 1)
        return logits.dtype.type(total / count), Cache(logits=logits, labels=labels, ignore_index=ignore_index, count=count, parts=parts)
    _check_labels(labels, logits.shape[1], ignore_index)
    count = max(int((labels != ignore).sum()), 1)
    cache = Cache(logits=logits, labels=labels, ignore_index=ignore_index, count=count)
    shifted = logits - logits.max(axis=1, keepdims=True)                  # exp() cannot overflow now
    log_softmax = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))             # (N, K1, ...)
    valid = labels != ignore
    chosen = xp.take_along_axis(log_softmax, xp.where(valid, labels, 0)[:, None], axis=1)[:, 0]
    return xp.where(valid, -chosen, 0).sum() / count, cache


def softmax_cross_entropy_backward(dloss, cache):
    """dloss, the loss weight -> dlogits = dloss * (softmax - onehot) / count (L16-G05); 0 where the label is ignored."""
    logits, labels, count = cache.logits, cache.labels, cache.count
    ignore = -1 if cache.ignore_index is None else cache.ignore_index
    if _runs_compiled(logits):
        parts = cache.get("parts") or _sum_compiled(logits, labels, ignore)[3:]            # a readable forward leaves none
        scale, (z, k) = logits.dtype.type(dloss / count), _as_planes(logits, labels)
        if logits.ndim == 2:
            return kernels.losses.softmax_cross_entropy_rows_backward(z, k, ignore, *parts, scale)
        dlogits = np.empty_like(z)                # by NumPy, which asks for large pages: numba's take twice as long to be written first
        kernels.losses.softmax_cross_entropy_backward(z, k, ignore, *parts, scale, dlogits)
        return dlogits.reshape(logits.shape)
    xp = get_array_module(logits)
    classes = xp.arange(logits.shape[1]).reshape(1, -1, *[1] * (logits.ndim - 2))          # (1, K1, 1, 1) or (1, K1)
    onehot = classes == labels[:, None]                                                    # (N, K1, ...)
    valid = (labels != ignore)[:, None]
    return xp.where(valid, softmax(logits) - onehot, 0) * xp.asarray(dloss / count, dtype=logits.dtype)


def softmax(logits):
    """Probabilities along axis 1: (N, K1, ...) -> the same shape, positive, summing to 1. Stable for any finite logits."""
    xp = get_array_module(logits)
    e = xp.exp(logits - logits.max(axis=1, keepdims=True))                # exp() cannot overflow now
    return e / e.sum(axis=1, keepdims=True)


def sigmoid_bce_forward(logits, targets, weights=None, normalizer=None):
    """sum over elements of  weight * -(t log sigmoid(z) + (1 - t) log(1 - sigmoid(z)))  / normalizer.

    Computed as max(z, 0) - z t + log(1 + e^-|z|), which neither overflows nor takes log(0), for logits of +-1000 as well.
    logits of any shape; targets (0, 1, or between) of that shape; weights broadcastable to it (None: all 1; 0 leaves an element out).
    normalizer: a number > 0, by default how many elements have a weight, at least 1. Nothing to sum gives 0.0.
    Caches logits, targets, weights and the normalizer.
    """
    check_weighted("logits", logits, "targets", targets)
    weights, normalizer = weight_and_normalizer(logits, weights, normalizer)
    cache = Cache(logits=logits, targets=targets, weights=weights, normalizer=normalizer)
    if backend.compiled(logits, targets, weights):
        return logits.dtype.type(kernels.losses.sigmoid_bce(*flat(logits, targets, weights)) / normalizer), cache
    xp = get_array_module(logits)
    loss = xp.maximum(logits, 0) - logits * targets + xp.log1p(xp.exp(-abs(logits)))
    return (loss if weights is None else weights * loss).sum() / normalizer, cache


def sigmoid_bce_backward(dloss, cache):
    """dloss, the loss weight -> dlogits = dloss * weight * (sigmoid(z) - t) / normalizer."""
    logits, targets, weights = cache.logits, cache.targets, cache.weights
    if backend.compiled(logits, targets, weights):
        scale = logits.dtype.type(dloss / cache.normalizer)
        return kernels.losses.sigmoid_bce_backward(*flat(logits, targets, weights), scale).reshape(logits.shape)
    xp = get_array_module(logits)
    e = xp.exp(-abs(logits))                                           # in (0, 1]: cannot overflow
    sigmoid = xp.where(logits >= 0, 1, e) / (1 + e)
    dlogits = (sigmoid - targets) * xp.asarray(dloss / cache.normalizer, dtype=logits.dtype)
    return dlogits if weights is None else weights * dlogits


def _runs_compiled(logits):
    """Whether the compiled loop takes these logits: maps always, rows unless they hold very many classes (then NumPy is as fast)."""
    return backend.compiled(logits) and (logits.ndim == 4 or logits.shape[1] <= MOST_CLASSES)


def _sum_compiled(logits, labels, ignore):
    """The sum of the losses, how many labels count, how many are wrong; and the softmax's parts, its largest logits and totals."""
    kernel = kernels.losses.softmax_cross_entropy if logits.ndim == 4 else kernels.losses.softmax_cross_entropy_rows
    return kernel(*_as_planes(logits, labels), ignore)


def _as_planes(logits, labels):
    """Contiguous; a map (N, K1, H, W) with its pixels on one axis, (N, K1, H*W), and labels int64, (N, H*W)."""
    logits, labels = np.ascontiguousarray(logits), np.ascontiguousarray(labels, dtype=np.int64)
    if logits.ndim == 2:
        return logits, labels
    N, K1, H, W = logits.shape
    return logits.reshape(N, K1, H * W), labels.reshape(N, H * W)


def _check_classes(logits, labels, ignore_index):
    """ValueError unless logits and labels belong together. Texts are formatted only where they are needed: it costs microseconds."""
    maps = getattr(logits, "ndim", 2) == 4
    check.array("logits", logits, 4 if maps else 2, "(N, K1) or (N, K1, H, W)")
    check.integer_array("labels", labels, logits.ndim - 1, "(N, H, W)" if maps else "(N,)")
    K1, expected = logits.shape[1], logits.shape[:1] + logits.shape[2:]
    if K1 == 0:
        raise ValueError(f"logits must have at least one class, got {logits.shape}")
    if labels.shape != expected:
        raise ValueError(f"labels must be {expected} for logits {logits.shape}, got {labels.shape}")
    if ignore_index is not None and 0 <= ignore_index < K1:
        raise ValueError(f"ignore_index {ignore_index} is one of the {K1} classes; "
                         "pass ignore_index=None (or -1) where no label is to be ignored")


def _check_labels(labels, K1, ignore_index):
    """ValueError for a label that is neither a class nor ignored."""
    wrong = (labels < 0) | (labels >= K1)
    if ignore_index is not None:
        wrong &= labels != ignore_index
    if wrong.any():
        raise ValueError(_wrong_label(labels[wrong], K1, ignore_index))


def _wrong_label(wrong, K1, ignore_index):
    return (f"labels must be 0..{K1 - 1} (K1 = {K1} classes, 0 is background) or ignore_index {ignore_index}, got {int(wrong[0])} "
            f"({len(wrong)} such); was the head built for fewer classes, or are the labels counted without the background?")
