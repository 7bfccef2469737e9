"""Faster R-CNN (Ren et al. 2015) on a feature pyramid: four losses, one backward that follows them from the boxes to the pixels.

    images -> ResNet -> C2 C3 C4 -> FPN -> P2 P3 P4 -> RPN ---------> loss_objectness, loss_rpn_box_reg
                                                    \\-> box branch -> loss_classifier, loss_box_reg

Read `forward`, then `backward` from below: the same lines in the reverse order. Lecture L16-R01 to R07.

Shapes here: N images of a batch padded to H x W; sizes (N, 2) their true (H, W); K foreground classes.
"""
import numpy as np

from numpyvision import tree
from numpyvision.boxes.convert import boxes_to_rois
from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.fpn import FPN
from numpyvision.layers.resnet import ResNet
from numpyvision.models.images import SPREAD, centre
from numpyvision.models.roi_heads import BoxBranch
from numpyvision.models.rpn import RPN
from numpyvision.models.why import Trace

LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg")


class FasterRCNN(Layer):
    """A detector of K = len(classes) - 1 kinds of objects; classes[0] is "background".

    The defaults are the small setting for images of about 128 pixels. anchor_sizes: a tuple of sizes for each of the levels P2, P3, P4.

    detach_proposals: the second stage takes the proposals as constants, "approximate joint training" (Faster R-CNN 3.2), as everybody does;
    False lets its gradient move them too, through RoI Align and through the deltas that its targets are (L16-R07).
    """

    def __init__(self, classes, widths=(16, 32, 64, 96), blocks=(1, 1, 2, 2), channels=48, norm="group",
                 anchor_sizes=((12, 17), (24, 34), (48, 68)), aspect_ratios=(0.5, 1.0, 2.0), hidden=128, rpn_samples=64, roi_samples=32,
                 pre_nms=200, post_nms=50, detach_proposals=True, *, rng, dtype=np.float32):
        self.classes = tuple(classes)
        self._config = dict(classes=list(classes), widths=list(widths), blocks=list(blocks), channels=channels, norm=norm,
                            anchor_sizes=[list(s) for s in anchor_sizes], aspect_ratios=list(aspect_ratios), hidden=hidden,
                            rpn_samples=rpn_samples, roi_samples=roi_samples, pre_nms=pre_nms, post_nms=post_nms,
                            detach_proposals=detach_proposals)
        self.detach_proposals = detach_proposals
        self.backbone = ResNet(widths, blocks, norm=norm, rng=rng, dtype=dtype)
        self.fpn = FPN(self.backbone.out_channels, channels, rng=rng, dtype=dtype)
        self.rpn = RPN(channels, self.backbone.strides, anchor_sizes, aspect_ratios, num_samples=rpn_samples, pre_nms=pre_nms,
                       post_nms=post_nms, rng=rng, dtype=dtype)
        self.box = BoxBranch(channels, len(classes) - 1, self.backbone.strides, hidden=hidden, num_samples=roi_samples, rng=rng,
                             dtype=dtype)

    def forward(self, images, targets, sizes, *, rng, train=True, proposals=None):
        """-> losses {name: scalar}, cache. images (N, 3, H, W) in [0, 1]; targets: N Samples; rng chooses the sampled anchors and regions.

        proposals: given boxes [(R_i, 4)] take the place of the RPN's. A gradient check needs that where proposals are detached: constants
        to backward, they must not move while forward is run twice for a difference.
        """
        cache = new_cache(train)
        C, cache["backbone"] = self.backbone.forward(centre(images), train)
        P, cache["fpn"] = self.fpn.forward(C, train)
        found, losses, cache["rpn"] = self.rpn.forward(P, sizes, targets, rng, train)
        cache["attached"] = proposals is None and not self.detach_proposals  # else approximate joint training: constants from here
        cache["targets"] = chosen = new_cache(train)
        rois, labels, gt_deltas = self.box.targets(found if proposals is None else proposals, targets, rng, chosen)
        _, box_losses, cache["box"] = self.box.forward(P, rois, labels, gt_deltas, train)
        return losses | box_losses, cache

    def backward(self, dlosses, cache):
        """dlosses[name] = weight of that loss (a missing one counts as zero) -> dimages, grads."""
        grads = {}
        (dP_box, *dregions), grads["box"] = self.box.backward_to_regions(dlosses, cache.box, cache.attached)
        dproposals = self.box.targets_backward(*dregions, cache.targets) if cache.attached else None
        dP_rpn, grads["rpn"] = self.rpn.backward(dlosses, cache.rpn, dproposals)
        dC, grads["fpn"] = self.fpn.backward(tree.add(dP_box, dP_rpn), cache.fpn)          # copy gate: one pyramid, two readers
        dimages, grads["backbone"] = self.backbone.backward(dC, cache.backbone)
        return dimages / SPREAD, grads

    def predict(self, images, sizes, score_threshold=0.05, nms_threshold=0.5, max_detections=100, trace=False):
        """-> one Detections an image, boxes in pixels of the batch's images.

        trace: -> also a list of one `why.Trace` an image, what every stage had in hand; then `found[0].why(3)` and
        `found[0].explain_missing(box, label)` tell how a detection came about, and where an object was lost.
        """
        C, _ = self.backbone.forward(centre(images), train=False)
        P, _ = self.fpn.forward(C, train=False)
        traces = [Trace(self.classes) for _ in sizes] if trace else None
        proposals, _, _ = self.rpn.forward(P, sizes, train=False, traces=traces)
        outputs, _, _ = self.box.forward(P, boxes_to_rois(proposals), train=False)
        found = self.box.decode(outputs, proposals, sizes, score_threshold, nms_threshold, max_detections, traces)
        return (found, traces) if trace else found

    def config(self):
        """Everything needed to build this model again, as JSON can hold it."""
        return dict(self._config)
