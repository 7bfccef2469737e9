"""Inputs for the exercises about boxes, losses and metrics: {name: function(rng) -> [(args, kwargs), ...]}, the worked example first."""
import numpy as np


def random_boxes(rng, count, size=20.0):
    """(count, 4) boxes whose corners lie in [0, size]."""
    corners = np.sort(rng.uniform(0, size, (count, 2, 2)), axis=1)               # (N, near and far, xy)
    return corners.reshape(count, 4)


def box_iou(rng):
    yield [np.array([[0., 0, 4, 4]]), np.array([[2., 2, 6, 6], [4, 0, 8, 4], [0, 0, 4, 2]])], {}
    yield [random_boxes(rng, 5), random_boxes(rng, 3)], {}
    yield [random_boxes(rng, 4), random_boxes(rng, 4) + 100.0], {}                # all apart along both axes
    yield [np.array([[1., 1, 1, 1], [0, 0, 2, 2]]), np.array([[1., 1, 1, 1], [0, 0, 0, 3]])], {}                # empty boxes: 0, not nan
    yield [np.zeros((0, 4)), random_boxes(rng, 3)], {}
    yield [random_boxes(rng, 2), np.zeros((0, 4))], {}


CASES = {
    "box_iou": box_iou,
}
OPTIONS = {}
CHECKS = {}
