"""Mask R-CNN (He et al. 2017): Faster R-CNN and, for every object found, a mask, a pose, or whatever a head of your own says about it.

    images -> ResNet -> C2 C3 C4 -> FPN -> P2 P3 P4 -> RPN -------------> loss_objectness, loss_rpn_box_reg
                                                    \\-> box branch -----> loss_classifier, loss_box_reg
                                                    \\-> mask branch ----> loss_mask
                                                    \\-> keypoint branch-> loss_keypoint

The heads look at the positive regions only, and all read the one pyramid; so joint instances and poses are one forward (L16-M01 to M06,
K03, H01). Read `forward`, then `backward` from below: the same lines in the reverse order. Without heads this is Faster R-CNN.

Shapes here: N images of a batch padded to H x W; sizes (N, 2) their true (H, W); K foreground classes.
"""
import numpy as np

from numpyvision import tree
from numpyvision.boxes.convert import boxes_to_rois
from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.fpn import FPN
from numpyvision.layers.resnet import ResNet
from numpyvision.models import regions
from numpyvision.models.images import SPREAD, centre
from numpyvision.models.keypoint_head import KeypointBranch
from numpyvision.models.mask_head import MaskBranch
from numpyvision.models.roi_heads import BoxBranch
from numpyvision.models.rpn import RPN
from numpyvision.models.why import Trace

LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")      # L16-M06: four and one


class MaskRCNN(Layer):
    """A detector of K = len(classes) - 1 kinds of objects that says more than a box; classes[0] is "background".

    masks, keypoints: which of the two branches it has; keypoints are those of the class "person", and add `loss_keypoint`. mask_size and
    keypoint_size are the sides of their maps (28 and 56 in the paper). heads: {name: head} of your own, as `regions.py` says and
    `colour_head.py` shows; `config()` does not hold them, give them again to build the model again. The defaults are the small setting
    for images of about 128 pixels. anchor_sizes: a tuple of sizes for each of the levels P2, P3, P4.

    detach_proposals: the second stage takes the proposals as constants, "approximate joint training" (Faster R-CNN 3.2), as everybody does;
    False lets its gradient move them too, through RoI Align and through the deltas that its targets are (L16-R07).
    """

    def __init__(self, classes, masks=True, keypoints=False, widths=(16, 32, 64, 96), blocks=(1, 1, 2, 2), channels=48, norm="group",
                 anchor_sizes=((12, 17), (24, 34), (48, 68)), aspect_ratios=(0.5, 1.0, 2.0), hidden=128, rpn_samples=64, roi_samples=32,
                 pre_nms=200, post_nms=50, mask_size=14, mask_convs=2, keypoint_size=28, keypoint_convs=3, head_channels=32, heads=None,
                 detach_proposals=True, *, rng, dtype=np.float32):
        self.classes = tuple(classes)
        self._config = dict(classes=list(classes), masks=masks, keypoints=keypoints, widths=list(widths), blocks=list(blocks),
                            channels=channels, norm=norm, anchor_sizes=[list(s) for s in anchor_sizes], aspect_ratios=list(aspect_ratios),
                            hidden=hidden, rpn_samples=rpn_samples, roi_samples=roi_samples, pre_nms=pre_nms, post_nms=post_nms,
                            mask_size=mask_size, mask_convs=mask_convs, keypoint_size=keypoint_size, keypoint_convs=keypoint_convs,
                            head_channels=head_channels, detach_proposals=detach_proposals)
        self.detach_proposals = detach_proposals
        if keypoints and "person" not in self.classes:
            raise ValueError(f"keypoints are those of the class 'person', which is not among {', '.join(self.classes[1:])}")
        self.backbone = ResNet(widths, blocks, norm=norm, rng=rng, dtype=dtype)
        self.fpn = FPN(self.backbone.out_channels, channels, rng=rng, dtype=dtype)
        strides = self.backbone.strides
        self.rpn = RPN(channels, strides, anchor_sizes, aspect_ratios, num_samples=rpn_samples, pre_nms=pre_nms, post_nms=post_nms,
                       rng=rng, dtype=dtype)
        self.box = BoxBranch(channels, len(classes) - 1, strides, hidden=hidden, num_samples=roi_samples, rng=rng, dtype=dtype)
        self.heads = {}
        if masks:
            self.heads["mask"] = MaskBranch(channels, len(classes) - 1, strides, mask_size // 2, head_channels, mask_convs, rng=rng,
                                            dtype=dtype)
        if keypoints:
            self.heads["keypoint"] = KeypointBranch(channels, [self.classes.index("person")], strides, keypoint_size // 2, head_channels,
                                                    keypoint_convs, rng=rng, dtype=dtype)
        self.heads.update(heads or {})

    def forward(self, images, targets, sizes, *, rng, train=True, proposals=None):
        """-> losses {name: scalar}, cache. images (N, 3, H, W) in [0, 1]; targets: N Samples; rng chooses the sampled anchors and regions.

        proposals: given boxes [(R_i, 4)] take the place of the RPN's. A gradient check needs that where proposals are detached: constants
        to backward, they must not move while forward is run twice for a difference.
        """
        cache = new_cache(train)
        C, cache["backbone"] = self.backbone.forward(centre(images), train)
        P, cache["fpn"] = self.fpn.forward(C, train)
        found, rpn_losses, cache["rpn"] = self.rpn.forward(P, sizes, targets, rng, train)
        cache["attached"] = proposals is None and not self.detach_proposals  # else approximate joint training: constants from here
        cache["targets"] = chosen = new_cache(train)
        rois, labels, gt_deltas = self.box.targets(found if proposals is None else proposals, targets, rng, chosen)
        _, box_losses, cache["box"] = self.box.forward(P, rois, labels, gt_deltas, train)
        positive = regions.positive_regions(rois, labels, targets)
        head_losses, cache["heads"] = regions.forward_heads(self.heads, P, positive, train)
        return rpn_losses | box_losses | head_losses, cache

    def backward(self, dlosses, cache):
        """dlosses[name] = weight of that loss (a missing one counts as zero) -> dimages, grads."""
        grads = {}
        (dP_heads, drois_heads), grads["heads"] = regions.backward_heads(self.heads, dlosses, cache.heads, cache.attached)
        (dP_box, drois, dgt_deltas), grads["box"] = self.box.backward_to_regions(dlosses, cache.box, cache.attached)
        dproposals = None
        if cache.attached:
            drois[cache.box.positive] += drois_heads                                            # the heads saw the positive ones
            dproposals = self.box.targets_backward(drois, dgt_deltas, cache.targets)
        dP_rpn, grads["rpn"] = self.rpn.backward(dlosses, cache.rpn, dproposals)
        dC, grads["fpn"] = self.fpn.backward(tree.add(dP_heads, dP_box, dP_rpn), cache.fpn)     # copy gate: one pyramid, many readers
        dimages, grads["backbone"] = self.backbone.backward(dC, cache.backbone)
        return dimages / SPREAD, grads

    def predict(self, images, sizes, score_threshold=0.05, nms_threshold=0.5, max_detections=100, trace=False):
        """-> one Detections an image, with masks (D, H, W) and keypoints (D, 17, 3) where there is a branch for them.

        Boxes first; then the heads look at the final boxes, which are fewer and better than the proposals.
        trace: -> also a list of one `why.Trace` an image, what every stage had in hand; then `found[0].why(3)` and
        `found[0].explain_missing(box, label)` tell how a detection came about, and where an object was lost.
        """
        C, _ = self.backbone.forward(centre(images), train=False)
        P, _ = self.fpn.forward(C, train=False)
        traces = [Trace(self.classes) for _ in sizes] if trace else None
        proposals, _, _ = self.rpn.forward(P, sizes, train=False, traces=traces)
        outputs, _, _ = self.box.forward(P, boxes_to_rois(proposals), train=False)
        found = self.box.decode(outputs, proposals, sizes, score_threshold, nms_threshold, max_detections, traces)
        found = regions.decode_heads(self.heads, P, found, sizes)
        return (found, traces) if trace else found

    def config(self):
        """Everything needed to build this model again, as JSON can hold it."""
        return dict(self._config)
