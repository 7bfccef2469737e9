"""What models that label every pixel share: the truth as one array, and the prediction as one map (lecture L16-G04, G05).

Shapes here: N images of a batch padded to H x W, K1 = K + 1 classes; scores (N, K1, H, W), labels (N, H, W), 255 = ignored.
"""
import numpy as np

from numpyvision import backend, kernels

IGNORED = 255
RARE = 0.005            # of the pixels: 80 of a 128 x 128 image. A class below this share loses none


def pixel_labels(targets, shape):
    """The targets' label maps as one array of the batch's size: (N, H, W) uint8. What an image's own size leaves over is ignored."""
    N, H, W = shape
    labels = np.full((N, H, W), IGNORED, np.uint8)
    for label_map, sample in zip(labels, targets, strict=True):
        if sample.semantic is None:
            raise ValueError(f"image {sample.image_id} has no semantic map; data.semantic.SemanticMaps(dataset) makes one from masks")
        h, w = sample.semantic.shape
        label_map[:h, :w] = sample.semantic
    return labels


def thin_out(labels, power, rng):
    """Ignore some of the pixels of frequent classes, at random: labels (N, H, W) uint8 -> the same, with more 255.

    A class that covers the share f of the labelled pixels keeps (RARE / f)**power of them, all if that is above 1. power 0 keeps every
    pixel, 1 makes all classes that cover more than RARE equally frequent; 1/2, halfway, lets a bird count for more than its 90 pixels
    and the sky still for more than the bird. A choice, not a function: no gradient, and rng is an argument.
    """
    counts = np.bincount(labels.ravel(), minlength=256)[:IGNORED]
    share = counts / max(counts.sum(), 1)
    keep = np.zeros(256, np.float32)
    keep[:IGNORED] = np.minimum(RARE / np.maximum(share, RARE), 1) ** power
    dropped = rng.random(labels.shape, np.float32) >= np.take(keep, labels)
    return np.maximum(labels, dropped * np.uint8(IGNORED))             # of all labels 255 is the largest


def class_maps(scores, unused=()):
    """The class of the highest score at every pixel, the lower number where two are equal: (N, K1, H, W) -> (N, H, W) uint8 (L16-G04).

    unused: classes that are numbered but that no pixel ever has (in scenes everything is a thing or stuff, and 0 nothing); they are not
    answered. One such pixel among millions would enter the mean IoU as a whole class of IoU 0.
    """
    if backend.compiled(scores) and scores.size and len(unused) < scores.shape[1]:
        N, K1, H, W = scores.shape
        used = np.array([k for k in range(K1) if k not in unused], np.int64)
        return kernels.metrics.largest_class(np.ascontiguousarray(scores).reshape(N, K1, H * W), used).reshape(N, H, W)
    if len(unused):
        scores = scores.copy()
        scores[:, list(unused)] = -np.inf
    return scores.argmax(axis=1).astype(np.uint8)
