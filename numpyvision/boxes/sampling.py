"""Choosing a few boxes for the loss: nearly all anchors are background, and a balanced sample keeps them from drowning the objects."""
import numpy as np

from numpyvision import backend
from numpyvision.check import arguments


def sample_labels(labels, num_samples, positive_fraction, rng):
    """A random sample with at most positive_fraction positives, filled up with negatives.

    labels (A,) of 1 positive, 0 negative, -1 neutral -> indices (n,) int64 into labels, none twice, n <= num_samples: the positives
    first, then the negatives, each ascending. int(num_samples * positive_fraction) positives, or all if there are fewer; then negatives
    until num_samples, or all of them. Too few positives leave room for more negatives (never the other way round); neutral ones are
    never chosen. Every positive has the same chance, and so has every negative. rng: np.random.Generator.
    """
    arguments.integer_array("labels", labels, 1, "(A,) of 1, 0, -1 (sample image by image)")
    arguments.require(num_samples >= 0 and 0 <= positive_fraction <= 1,
                      f"num_samples must be >= 0 and positive_fraction in [0, 1], got {num_samples} and {positive_fraction}")
    xp = backend.get_array_module(labels)
    positives, negatives = xp.flatnonzero(labels == 1), xp.flatnonzero(labels == 0)
    num_positives = min(int(num_samples * positive_fraction), len(positives))
    num_negatives = min(num_samples - num_positives, len(negatives))
    return xp.concatenate([rows[xp.asarray(np.sort(rng.choice(len(rows), count, replace=False, shuffle=False)))]
                           for rows, count in ((positives, num_positives), (negatives, num_negatives))])
