"""Inputs for the exercises about losses: {name: function(rng) -> [(args, kwargs), ...]}, the worked example first.

A forward and its backward share their cases. What gradcheck must not move (targets, weights) stands in OPTIONS.
"""
import numpy as np

HUGE = np.array([1000., -1000, 0, 30])               # a naive exp() or log() gives infinity here, the answer does not


def elementwise(rng, draw_targets, name="targets"):
    """Cases that every weighted elementwise loss needs: (x, target, weights or None, kwargs)."""
    for shape, weights, kwargs in [
            ((3, 4), None, {}),
            ((5, 4), rng.uniform(0.5, 2, (5, 4)), {}),
            ((6, 4), rng.permutation([0., 0, 1, 1, 1, 2])[:, None], {}),          # some rows have no say, and are not counted
            ((2, 3, 2), None, {"normalizer": 7.0}),
            ((4, 3), rng.uniform(0.5, 2, (4, 1)), {"normalizer": 2.0}),
            ((0, 4), None, {})]:
        yield [2 * rng.standard_normal(shape), draw_targets(shape), weights], kwargs


def sigmoid_bce(rng):
    yield [np.array([0., 2]), np.array([1., 0])], {}
    yield from elementwise(rng, lambda shape: rng.random(shape).round(1))
    yield [HUGE, np.array([1., 0, 0, 1])], {}
    yield [HUGE, np.array([0., 1, 1, 0])], {}


def sigmoid_focal_loss(rng):
    yield [np.array([np.log(9.), -np.log(9.)]), np.array([1., 1])], {}
    yield from elementwise(rng, lambda shape: (rng.random(shape) < 0.4).astype(float))
    yield [rng.standard_normal(6), np.array([1., 0, 0, 1, 0, 0]), None, 0.75, 1.5], {}
    yield [HUGE, np.array([1., 0, 0, 1])], {}
    yield [HUGE, np.array([0., 1, 1, 0])], {}


def smooth_l1(rng):
    yield [np.array([0.05, 0.5]), np.zeros(2)], {"beta": 1 / 9}
    for (pred, target, weights), kwargs in elementwise(rng, lambda shape: 2 * rng.standard_normal(shape)):
        yield [pred, target, weights], kwargs
        yield [pred, target, weights], {**kwargs, "beta": 0.4}
    yield [rng.standard_normal(5), rng.standard_normal(5)], {"beta": 0}           # plain L1


def softmax_cross_entropy(rng):
    yield [np.array([[0., 0, 0], [np.log(2.), np.log(3), np.log(5)]]), np.array([1, 2])], {}
    yield [rng.standard_normal((6, 4)), rng.integers(0, 4, 6)], {}
    maps, labels = rng.standard_normal((2, 4, 3, 5)), rng.integers(0, 4, (2, 3, 5))
    labels[rng.random(labels.shape) < 0.3] = 255
    yield [maps, labels], {}                                                      # per pixel, some of them ignored
    yield [rng.standard_normal((5, 3)), np.array([0, -1, 2, -1, 1])], {"ignore_index": -1}
    yield [np.array([[1000., 0, -1000], [-1000, 1000, 999]]), np.array([1, 1])], {}                        # exp(1000) is infinite
    yield [rng.standard_normal((3, 2)), np.full(3, 255)], {}                      # nothing to learn: 0, not nan
    yield [np.zeros((0, 3)), np.zeros(0, np.int64)], {}


def rpn_losses(rng):
    deltas = np.zeros((1, 3, 4))
    deltas[0, 1] = 0.5, 0, 0, 0.05
    yield [np.zeros((1, 3)), deltas, np.array([0, 0]), np.array([1, 0]), np.array([1, 0]), np.zeros((1, 4))], {}
    for N, T, S, kwargs in ((3, 9, 8, {}), (2, 12, 11, {"beta": 0.5})):
        picked = rng.permutation(N * T)[:S]
        labels = rng.permutation([1] * 3 + [0] * (S - 3))
        yield [rng.standard_normal((N, T)), rng.standard_normal((N, T, 4)), picked // T, picked % T, labels,
               rng.standard_normal((3, 4))], kwargs
    none = np.zeros(0, np.int64)
    yield [rng.standard_normal((1, 4)), rng.standard_normal((1, 4, 4)), np.array([0, 0]), np.array([2, 3]), np.array([0, 0]),
           np.zeros((0, 4))], {}                                                  # no positive: no box loss
    yield [rng.standard_normal((2, 4)), rng.standard_normal((2, 4, 4)), none, none, none, np.zeros((0, 4))], {}


CASES, OPTIONS = {}, {}
for make, constants in [(sigmoid_bce, ("targets", "weights")), (sigmoid_focal_loss, ("targets", "weights")),
                        (smooth_l1, ("target", "weights")), (softmax_cross_entropy, ()), (rpn_losses, ("gt_deltas",))]:
    for half in ("forward", "backward"):
        CASES[f"{make.__name__}_{half}"], OPTIONS[f"{make.__name__}_{half}"] = make, {"constants": constants}
