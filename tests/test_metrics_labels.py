"""Accuracy, by hand: three images, two of them right, and a class that no image has."""
import math

import numpy as np

from numpyvision.metrics.labels import score_labels

CLASSES = ("background", "cat", "dog")


def test_accuracy_by_hand():
    pairs = [(1, np.array([0.1, 0.8, 0.1])), (1, np.array([0.1, 0.4, 0.5])), (0, np.array([0.6, 0.4, 0.0]))]
    numbers, table = score_labels(pairs, CLASSES)
    assert numbers["accuracy"] == 2 / 3 and numbers["per_class"]["cat"] == 0.5 and numbers["per_class"]["background"] == 1
    assert math.isnan(numbers["per_class"]["dog"]) and "dog" not in table
    assert table.splitlines()[-1].split() == ["all", "3", "0.667"]


def test_nothing_to_score():
    numbers, table = score_labels([], CLASSES)
    assert math.isnan(numbers["accuracy"]) and table.splitlines()[-1].split() == ["all", "0", "nan"]
