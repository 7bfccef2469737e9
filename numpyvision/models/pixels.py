"""What models that label every pixel share: the truth as one array, and the prediction as one map (lecture L16-G04, G05).

Shapes here: N images of a batch padded to H x W, K1 = K + 1 classes; scores (N, K1, H, W), labels (N, H, W), 255 = ignored.
"""
import numpy as np

IGNORED = 255


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


def class_maps(scores):
    """The class of the highest score at every pixel, the lower number where two are equal: (N, K1, H, W) -> (N, H, W) uint8 (L16-G04)."""
    return scores.argmax(axis=1).astype(np.uint8)
