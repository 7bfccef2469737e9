"""Fast R-CNN (Girshick 2015): one run of the CNN over the image, and every proposal crops what it needs from the features.

    images ------------> ResNet -> C2 C3 C4 -> FPN -> P2 P3 P4 -> box branch -> loss_classifier, loss_box_reg
    selective search --> proposals -------------------------------^

It is Faster R-CNN without the network that proposes, and slow R-CNN (`slow_rcnn.py`) with the crop after the CNN instead of before it
(L16-F01). Read `forward`, then `backward` from below: the same lines in the reverse order.

Shapes here: N images of a batch padded to H x W; sizes (N, 2) their true (H, W); R regions over the batch; K foreground classes.
"""
import numpy as np

from numpyvision.boxes.convert import boxes_to_rois
from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.fpn import FPN
from numpyvision.layers.resnet import ResNet
from numpyvision.layers.roi import PyramidRoIPool
from numpyvision.models.images import SPREAD, centre
from numpyvision.models.region_proposals import Proposer, without_neutral
from numpyvision.models.roi_heads import BoxBranch

LOSSES = ("loss_classifier", "loss_box_reg")


class FastRCNN(Layer):
    """A detector of K = len(classes) - 1 kinds of objects; classes[0] is "background".

    proposals: "selective_search" or "sliding_window", the first num_proposals boxes of each image. crop: "align", or "pool" as in the
    paper. The other defaults are Faster R-CNN's: the small setting for images of about 128 pixels.
    """

    detach_proposals = True                    # they come from outside, so no gradient ever reaches them

    def __init__(self, classes, widths=(16, 32, 64, 96), blocks=(1, 1, 2, 2), channels=48, norm="group", hidden=128, roi_samples=32,
                 crop="align", proposals="selective_search", num_proposals=300, *, rng, dtype=np.float32):
        if crop not in ("align", "pool"):
            raise ValueError(f'crop must be "align" or "pool", got {crop!r}')
        self.classes = tuple(classes)
        self._config = dict(classes=list(classes), widths=list(widths), blocks=list(blocks), channels=channels, norm=norm, hidden=hidden,
                            roi_samples=roi_samples, crop=crop, proposals=proposals, num_proposals=num_proposals)
        self.propose = Proposer(proposals, num_proposals)
        self.backbone = ResNet(widths, blocks, norm=norm, rng=rng, dtype=dtype)
        self.fpn = FPN(self.backbone.out_channels, channels, rng=rng, dtype=dtype)
        self.box = BoxBranch(channels, len(classes) - 1, self.backbone.strides, hidden=hidden, num_samples=roi_samples, rng=rng,
                             dtype=dtype)
        if crop == "pool":
            self.box.pool = PyramidRoIPool(self.box.pool.aligns[0].output_size, self.backbone.strides)

    def forward(self, images, targets, sizes, *, rng, train=True, proposals=None):
        """-> losses {name: scalar}, cache. images (N, 3, H, W) in [0, 1]; targets: N Samples; rng chooses the sampled regions.

        proposals: given boxes [(P_i, 4)] take the place of those that the model finds in the images.
        """
        cache = new_cache(train)
        proposals = self.propose(images, sizes) if proposals is None else proposals        # constants: no network made them
        rois, labels, gt_deltas = self.box.targets(without_neutral(proposals, targets), targets, rng)
        C, cache["backbone"] = self.backbone.forward(centre(images), train)                # once for all regions
        P, cache["fpn"] = self.fpn.forward(C, train)
        _, losses, cache["box"] = self.box.forward(P, rois, labels, gt_deltas, train)
        return losses, cache

    def backward(self, dlosses, cache):
        """dlosses[name] = weight of that loss (a missing one counts as zero) -> dimages, grads."""
        grads = {}
        dP, grads["box"] = self.box.backward(dlosses, cache.box)
        dC, grads["fpn"] = self.fpn.backward(dP, cache.fpn)
        dimages, grads["backbone"] = self.backbone.backward(dC, cache.backbone)
        return dimages / SPREAD, grads

    def outputs(self, images, proposals):
        """What the network says about given regions: (class_logits (R, K+1), box_deltas (R, K, 4)), R = sum P_i."""
        C, _ = self.backbone.forward(centre(images), train=False)
        P, _ = self.fpn.forward(C, train=False)
        return self.box.forward(P, boxes_to_rois(proposals), train=False)[0]

    def predict(self, images, sizes, score_threshold=0.05, nms_threshold=0.5, max_detections=100, proposals=None):
        """-> one Detections an image, boxes in pixels of the batch's images."""
        proposals = self.propose(images, sizes) if proposals is None else proposals
        outputs = self.outputs(images, proposals)
        return self.box.decode(outputs, proposals, sizes, score_threshold, nms_threshold, max_detections)

    def config(self):
        """Everything needed to build this model again, as JSON can hold it."""
        return dict(self._config)
