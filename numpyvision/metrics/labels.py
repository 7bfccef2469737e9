"""How often a classifier is right. Shapes here: K foreground classes, class 0 is the background."""
import math

import numpy as np


def score_labels(pairs, classes):
    """pairs of (true label, class probabilities (K + 1,)), one an image -> numbers (nested dict), a table in text.

    Numbers: accuracy over all images, per_class; nan where no image has the class.
    """
    hits, counts = np.zeros(len(classes)), np.zeros(len(classes))
    for label, probs in pairs:
        counts[label] += 1
        hits[label] += np.argmax(probs) == label
    accuracy = np.divide(hits, counts, out=np.full(len(classes), np.nan), where=counts > 0)
    total = hits.sum() / counts.sum() if counts.sum() else math.nan
    rows = [f"{name:<12} {int(n):6d}  {a:8.3f}" for name, n, a in zip(classes, counts, accuracy, strict=True) if n]
    table = "\n".join(["class        images  accuracy", *rows, f"{'all':<12} {int(counts.sum()):6d}  {total:8.3f}"])
    return {"accuracy": total, "per_class": dict(zip(classes, accuracy, strict=True))}, table
