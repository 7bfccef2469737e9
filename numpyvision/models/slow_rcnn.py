"""Slow R-CNN (Girshick et al. 2014; L16-S01 to S07): every proposal is cut from the image, warped to one size, and run through the CNN.

    selective search -> proposals -> crops (R, 3, S, S) -> ResNet -> FPN -> box branch -> loss_classifier, loss_box_reg

The network is that of Fast R-CNN (`fast_rcnn.py`), name by name and shape by shape, and so are the targets; only the crop stands before
the CNN instead of behind it. Hence a region knows nothing of the picture around it, and R regions cost R runs. (The paper trained support
vector machines and a separate regression on the features; this is the version of the slides, one network with two losses.)

Shapes here: N images of a batch padded to H x W; R regions over the batch; S side of a crop; K foreground classes.
"""
import numpy as np

from numpyvision.boxes.convert import boxes_to_rois
from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.fpn import FPN
from numpyvision.layers.resnet import ResNet
from numpyvision.models.images import SPREAD, centre
from numpyvision.models.region_proposals import Proposer, without_neutral
from numpyvision.models.roi_heads import BoxBranch
from numpyvision.ops import roi

LOSSES = ("loss_classifier", "loss_box_reg")


class SlowRCNN(Layer):
    """A detector of K = len(classes) - 1 kinds of objects; classes[0] is "background".

    crop_size: S, 224 on the slides for pictures of 500 pixels and more; a multiple of 16, the backbone's last stride. proposals:
    "selective_search" or "sliding_window", the first num_proposals boxes of each image.
    """

    detach_proposals = True                    # they come from outside, so no gradient ever reaches them

    def __init__(self, classes, widths=(16, 32, 64, 96), blocks=(1, 1, 2, 2), channels=48, norm="group", hidden=128, roi_samples=32,
                 crop_size=32, proposals="selective_search", num_proposals=300, *, rng, dtype=np.float32):
        self.classes, self.crop_size = tuple(classes), crop_size
        self._config = dict(classes=list(classes), widths=list(widths), blocks=list(blocks), channels=channels, norm=norm, hidden=hidden,
                            roi_samples=roi_samples, crop_size=crop_size, proposals=proposals, num_proposals=num_proposals)
        self.propose = Proposer(proposals, num_proposals)
        self.backbone = ResNet(widths, blocks, norm=norm, rng=rng, dtype=dtype)
        if crop_size < 1 or crop_size % self.backbone.strides[-1]:
            raise ValueError(f"crop_size must be a multiple of the backbone's stride {self.backbone.strides[-1]}, got {crop_size}")
        self.fpn = FPN(self.backbone.out_channels, channels, rng=rng, dtype=dtype)
        self.box = BoxBranch(channels, len(classes) - 1, self.backbone.strides, hidden=hidden, num_samples=roi_samples, rng=rng,
                             dtype=dtype)

    def forward(self, images, targets, sizes, *, rng, train=True, proposals=None):
        """-> losses {name: scalar}, cache. images (N, 3, H, W) in [0, 1]; targets: N Samples; rng chooses the sampled regions.

        proposals: given boxes [(P_i, 4)] take the place of those that the model finds in the images.
        """
        cache = new_cache(train)
        proposals = self.propose(images, sizes) if proposals is None else proposals        # constants: no network made them
        rois, labels, gt_deltas = self.box.targets(without_neutral(proposals, targets), targets, rng)
        crops, cache["crop"] = crop_regions_forward(centre(images), rois, self.crop_size)  # (R, 3, S, S)
        C, cache["backbone"] = self.backbone.forward(crops, train)                         # R runs of the CNN
        P, cache["fpn"] = self.fpn.forward(C, train)
        _, losses, cache["box"] = self.box.forward(P, whole(crops), labels, gt_deltas, train)
        return losses, cache

    def backward(self, dlosses, cache):
        """dlosses[name] = weight of that loss (a missing one counts as zero) -> dimages, grads."""
        grads = {}
        dP, grads["box"] = self.box.backward(dlosses, cache.box)
        dC, grads["fpn"] = self.fpn.backward(dP, cache.fpn)
        dcrops, grads["backbone"] = self.backbone.backward(dC, cache.backbone)
        dimages, _drois = crop_regions_backward(dcrops, cache.crop)                        # _drois: proposals are constants
        return dimages / SPREAD, grads

    def outputs(self, images, proposals):
        """What the network says about given regions: (class_logits (R, K+1), box_deltas (R, K, 4)), R = sum P_i."""
        crops, _ = crop_regions_forward(centre(images), boxes_to_rois(proposals), self.crop_size)
        C, _ = self.backbone.forward(crops, train=False)
        P, _ = self.fpn.forward(C, train=False)
        return self.box.forward(P, whole(crops), train=False)[0]

    def predict(self, images, sizes, score_threshold=0.05, nms_threshold=0.5, max_detections=100, proposals=None):
        """-> one Detections an image, boxes in pixels of the batch's images. One image at a time: its crops alone fill the memory."""
        proposals, found = self.propose(images, sizes) if proposals is None else proposals, []
        for i in range(len(images)):
            one = slice(i, i + 1)
            outputs = self.outputs(images[one], proposals[one])
            found += self.box.decode(outputs, proposals[one], sizes[one], score_threshold, nms_threshold, max_detections)
        return found

    def config(self):
        """Everything needed to build this model again, as JSON can hold it."""
        return dict(self._config)


def crop_regions_forward(images, rois, size):
    """Cut regions from images and warp them to squares: (N, 3, H, W), rois (R, 5) -> (R, 3, size, size) (L16-S03).

    Pixel (i, j) of a crop is the image at the middle of the box's part (i, j), by bilinear interpolation: this is RoI Align on the image
    itself, one sample a bin. A large box is thinned out, not averaged.
    """
    return roi.roi_align_forward(images, rois, size, spatial_scale=1.0, sampling_ratio=1, aligned=True)


def crop_regions_backward(dcrops, cache):
    """dcrops (R, 3, size, size) -> dimages (N, 3, H, W), drois (R, 5)."""
    return roi.roi_align_backward(dcrops, cache)


def whole(crops):
    """The region that is all of each crop: (R, 3, S, S) -> rois (R, 5)."""
    R, _, _, S = crops.shape
    rois = np.full((R, 5), S, crops.dtype)
    rois[:, 0], rois[:, 1:3] = np.arange(R), 0
    return rois
