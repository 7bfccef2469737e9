"""Focal loss: cross-entropy that pays little for what is already right, so that 100,000 easy background anchors cannot drown the objects.

Lin et al. 2017 ("RetinaNet"), Eq. 5. With p = sigmoid(z) and p_t the probability given to the truth, p or 1 - p:

    loss = -alpha_t (1 - p_t)^gamma log(p_t)            gamma = 0: cross-entropy, weighted by alpha_t

With gamma 2, an anchor that is right with p_t = 0.9 counts 1/100 of what it does in cross-entropy; one wrong with p_t = 0.1, 81/100.
Shapes here: logits of any shape. Only the logits receive a gradient: targets and weights are constants.
"""
from numpyvision import backend, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache
from numpyvision.check import arguments as check
from numpyvision.losses.weighting import check_weighted, flat, weight_and_normalizer


def sigmoid_focal_loss_forward(logits, targets, weights=None, alpha=0.25, gamma=2.0, normalizer=None):
    """sum over elements of  weight * -alpha_t (1 - p_t)^gamma log(p_t)  / normalizer.

    p_t = sigmoid(z) and alpha_t = alpha where the target is 1; p_t = 1 - sigmoid(z) and alpha_t = 1 - alpha where it is 0.
    logits of any shape; targets (0 or 1) of that shape and dtype; weights broadcastable to it (None: all 1; 0 leaves an element out).
    alpha in [0, 1], gamma >= 0. normalizer: a number > 0, by default how many elements have a weight, at least 1; RetinaNet passes the
    number of positive anchors. Nothing to sum gives 0.0. Neither overflows nor takes log(0), for logits of +-1000 as well.
    alpha 0.25, gamma 2: a positive with p = 0.9 costs 0.000263, one with p = 0.1 costs 0.466.
    Caches logits, targets, weights, alpha, gamma and the normalizer.
    """
    check_weighted("logits", logits, "targets", targets)
    check.require(bool(((targets == 0) | (targets == 1)).all()), "targets must be 0 or 1; for shares between use sigmoid_bce")
    check.require(0 <= alpha <= 1 and gamma >= 0, f"alpha must lie in [0, 1] and gamma be at least 0, got {alpha} and {gamma}")
    weights, normalizer = weight_and_normalizer(logits, weights, normalizer)
    cache = Cache(logits=logits, targets=targets, weights=weights, alpha=float(alpha), gamma=float(gamma), normalizer=normalizer)
    if backend.compiled(logits, targets, weights):
        total = kernels.losses.sigmoid_focal_loss(*flat(logits, targets, weights), logits.dtype.type(alpha), logits.dtype.type(gamma))
        return logits.dtype.type(total / normalizer), cache
    xp = get_array_module(logits)
    u = logits * (2 * targets - 1)                                     # p_t = sigmoid(u): one formula for both kinds of target
    e = xp.exp(-abs(u))                                                # in (0, 1]: cannot overflow
    wrong = xp.where(u >= 0, e, 1) / (1 + e)                           # 1 - p_t
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    loss = alpha_t * wrong ** gamma * (xp.maximum(-u, 0) + xp.log1p(e))                    # -log(p_t) = max(-u, 0) + log(1 + e^-|u|)
    return (loss if weights is None else weights * loss).sum() / normalizer, cache


def sigmoid_focal_loss_backward(dloss, cache):
    """dloss, the loss weight -> dlogits = dloss * weight * alpha_t (1 - p_t)^gamma (gamma p_t log(p_t) - (1 - p_t)) * +-1 / normalizer.

    + where the target is 1, - where it is 0. The first term in the bracket comes from (1 - p_t)^gamma, the second from log(p_t).
    cache: logits, targets, weights (or None), alpha, gamma, normalizer, as sigmoid_focal_loss_forward left them.
    """
    logits, targets, weights, alpha, gamma = cache.logits, cache.targets, cache.weights, cache.alpha, cache.gamma
    if backend.compiled(logits, targets, weights):
        factors = (logits.dtype.type(f) for f in (alpha, gamma, dloss / cache.normalizer))
        return kernels.losses.sigmoid_focal_loss_backward(*flat(logits, targets, weights), *factors).reshape(logits.shape)
    xp = get_array_module(logits)
    sign = 2 * targets - 1
    u = logits * sign
    e = xp.exp(-abs(u))
    right, wrong = xp.where(u >= 0, 1, e) / (1 + e), xp.where(u >= 0, e, 1) / (1 + e)      # p_t and 1 - p_t, each without cancellation
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    log_right = -xp.maximum(-u, 0) - xp.log1p(e)                                           # log(p_t)
    dlogits = sign * alpha_t * wrong ** gamma * (gamma * right * log_right - wrong)
    dlogits = dlogits * xp.asarray(dloss / cache.normalizer, dtype=logits.dtype)
    return dlogits if weights is None else weights * dlogits
