"""Image classification, the first of the lecture's four tasks (L16-T01): one label for the whole image, no spatial extent.

    images -> ResNet -> the last map, averaged over its pixels -> linear -> one logit a class -> loss_classifier

Its backbone has the detectors' names, so its weights can start one. Shapes here: N images, K foreground classes.
"""
import numpy as np

from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.linear import Linear
from numpyvision.layers.resnet import ResNet
from numpyvision.losses import classification
from numpyvision.models.images import SPREAD, centre
from numpyvision.ops import pool

LOSSES = ("loss_classifier",)


class Classifier(Layer):
    """ResNet with a classification head over K + 1 classes; 0 = background, an image without an object."""

    def __init__(self, classes, widths=(16, 32, 64, 96), blocks=(1, 1, 2, 2), norm="group", *, rng, dtype=np.float32):
        self.classes = tuple(classes)
        self._config = dict(classes=list(classes), widths=list(widths), blocks=list(blocks), norm=norm)
        self.backbone = ResNet(widths, blocks, out_stages=(len(widths),), norm=norm, rng=rng, dtype=dtype)
        self.head = Linear(widths[-1], len(classes), std=0.01, rng=rng, dtype=dtype)

    def forward(self, images, targets, sizes=None, *, rng=None, train=True):
        """-> {"loss_classifier": scalar}, cache. The label of a Sample is the class of its largest object. sizes and rng are not used."""
        cache = new_cache(train)
        (C,), cache["backbone"] = self.backbone.forward(centre(images), train)
        h, cache["pool"] = pool.global_avg_pool_forward(C)
        logits, cache["head"] = self.head.forward(h, train)
        labels = np.array([main_label(sample) for sample in targets], np.int64)
        loss, cache["loss_classifier"] = classification.softmax_cross_entropy_forward(logits, labels)
        return {"loss_classifier": loss}, cache

    def backward(self, dlosses, cache):
        grads = {}
        dlogits = classification.softmax_cross_entropy_backward(dlosses.get("loss_classifier", 0.0), cache.loss_classifier)
        dh, grads["head"] = self.head.backward(dlogits, cache.head)
        dC = pool.global_avg_pool_backward(dh, cache.pool)
        dimages, grads["backbone"] = self.backbone.backward((dC,), cache.backbone)
        return dimages / SPREAD, grads

    def predict(self, images, sizes=None):
        """-> class probabilities (N, K + 1)."""
        (C,), _ = self.backbone.forward(centre(images), train=False)
        h, _ = pool.global_avg_pool_forward(C)
        logits, _ = self.head.forward(h, train=False)
        return classification.softmax(logits)

    def config(self):
        """Everything needed to build this model again, as JSON can hold it."""
        return dict(self._config)


def main_label(sample):
    """The class of the largest object, 0 where there is none: what one would call a picture that may have only one name."""
    if len(sample.labels) == 0:
        return 0
    w, h = (sample.boxes[:, 2:] - sample.boxes[:, :2]).T
    areas = w * h if sample.areas is None else sample.areas
    return int(sample.labels[np.argmax(areas)])
