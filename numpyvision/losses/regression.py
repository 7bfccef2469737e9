"""Smooth L1: a parabola near 0 joined to straight lines, so that a far-off box pulls with constant force instead of a growing one."""
from numpyvision import backend, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache
from numpyvision.losses.weighting import check_weighted, flat, weight_and_normalizer


def smooth_l1_forward(pred, target, weights=None, beta=1.0, normalizer=None):
    """sum over elements of  weight * (d^2 / (2 beta) if |d| < beta else |d| - beta / 2)  / normalizer,   d = pred - target.

    pred of any shape, target of that shape, weights broadcastable to it (None: all 1; 0 leaves an element out). beta >= 0; beta = 0 is
    plain L1. normalizer: a number > 0, by default how many elements have a weight, at least 1. Nothing to sum gives 0.0.
    At beta = 1/9: d = 0.05 -> 0.01125, d = 0.5 -> 0.444444 (Fast R-CNN, Eq. 3, is beta = 1). Caches pred, target, weights, normalizer.
    """
    check_weighted("pred", pred, "target", target)
    if not beta >= 0:
        raise ValueError(f"beta must be at least 0, got {beta}; 0 is plain L1")
    weights, normalizer = weight_and_normalizer(pred, weights, normalizer)
    cache = Cache(pred=pred, target=target, weights=weights, beta=float(beta), normalizer=normalizer)
    if backend.compiled(pred, target, weights):
        total = kernels.losses.smooth_l1(*flat(pred, target, weights), pred.dtype.type(beta))
        return pred.dtype.type(total / normalizer), cache
    distance = abs(pred - target)
    parabola = distance * distance * (0.5 / beta if beta > 0 else 0.0)                     # beta = 0: nothing is below it
    loss = get_array_module(pred).where(distance < beta, parabola, distance - 0.5 * beta)
    return (loss if weights is None else weights * loss).sum() / normalizer, cache


def smooth_l1_backward(dloss, cache):
    """dloss, the loss weight -> dpred = dloss * weight * (d / beta if |d| < beta else sign(d)) / normalizer."""
    pred, target, weights, beta = cache.pred, cache.target, cache.weights, cache.beta
    if backend.compiled(pred, target, weights):
        factors = pred.dtype.type(beta), pred.dtype.type(dloss / cache.normalizer)
        return kernels.losses.smooth_l1_backward(*flat(pred, target, weights), *factors).reshape(pred.shape)
    xp = get_array_module(pred)
    d = pred - target
    slope = xp.where(abs(d) < beta, d / (beta or 1.0), xp.sign(d))
    dpred = slope * xp.asarray(dloss / cache.normalizer, dtype=pred.dtype)
    return dpred if weights is None else weights * dpred
