"""The mask branch (He et al. 2017, section 3): which pixels of the box belong to the object?

    P -> RoI Align S x S -> [3x3 conv, ReLU] x convs -> 2x2 transposed conv of stride 2, ReLU -> 1x1 conv -> (F, K, M, M), M = 2S

One mask for every class, each with a sigmoid of its own, so classes do not compete; only the mask of the true class learns (L16-M03).
Shapes here: F regions, K foreground classes, S side of a cut-out region, M = 2S side of a mask, D detections.
"""
import numpy as np

from numpyvision.boxes import mask_crops
from numpyvision.cache import new_cache
from numpyvision.layers.conv import Conv2d
from numpyvision.layers.roi import PyramidRoIAlign
from numpyvision.layers.upsample import ConvTranspose2d
from numpyvision.losses import classification
from numpyvision.models.regions import CELLS, RegionHead
from numpyvision.ops.activation import relu_backward, relu_forward, sigmoid_forward


class MaskBranch(RegionHead):
    """Loss by name: `loss_mask`. The paper's size: output_size=14, hidden=256, convs=4, so masks of 28 x 28.

    soft_targets: learn the share of each cell that the object covers; else, as the paper, whether it is at least half (L16-M04).
    """

    def __init__(self, channels, num_classes, strides, output_size=7, hidden=32, convs=2, soft_targets=False, *, rng, dtype=np.float32):
        self.mask_size, self.soft_targets = 2 * output_size, soft_targets
        self.pool = PyramidRoIAlign(output_size, strides, canonical_size=CELLS * output_size)
        self.convs = [Conv2d(channels if i == 0 else hidden, hidden, 3, padding=1, rng=rng, dtype=dtype) for i in range(convs)]
        self.upsample = ConvTranspose2d(hidden if convs else channels, hidden, 2, stride=2, rng=rng, dtype=dtype)
        self.logits = Conv2d(hidden, num_classes, 1, std=0.001, rng=rng, dtype=dtype)

    def targets(self, regions):
        """-> rois (F, 5), (column (F,), gt_masks (F, M, M)): the object's mask, cut out by the *proposal* and brought to M x M.

        By the proposal, not by the object's own box: the features are cut out by it too, and the two must lie upon each other.
        """
        rois, M = regions.rois, self.mask_size
        share = np.zeros((len(regions), M, M))
        for mine, masks in regions.image_by_image("masks"):
            share[mine] = mask_crops.crop_masks(masks, rois[mine, 1:], M)
        return rois, (regions.labels - 1, (share if self.soft_targets else share >= 0.5).astype(rois.dtype))

    def forward(self, P, rois, truth=None, train=True):
        """-> mask_logits (F, K, M, M), losses (empty without truth), cache."""
        cache = new_cache(train)
        h, cache["pool"] = self.pool.forward(P, rois, train)                               # (F, C, S, S)
        for i, conv in enumerate(self.convs):
            h, cache["conv", i] = conv.forward(h, train)
            h, cache["relu", i] = relu_forward(h)
        h, cache["upsample"] = self.upsample.forward(h, train)                             # (F, hidden, M, M)
        h, cache["relu"] = relu_forward(h)
        mask_logits, cache["logits"] = self.logits.forward(h, train)
        losses = {}
        if truth is not None:
            column, gt_masks = truth
            cache["shape"], cache["column"] = mask_logits.shape, column
            losses["loss_mask"], cache["loss_mask"] = classification.sigmoid_bce_forward(
                mask_logits[np.arange(len(rois)), column], gt_masks)                       # mean over regions and cells
        return mask_logits, losses, cache

    def backward_to_regions(self, dlosses, cache, to_rois=True):
        """dlosses: {name: loss weight}, a missing one counts as zero -> (dP, drois (F, 5)), grads. What a cell is to say is a constant."""
        grads, dtype = {"convs": [None] * len(self.convs)}, cache.loss_mask.logits.dtype
        dmask_logits = np.zeros(cache.shape, dtype)                                        # L16-M03: nothing for the other classes
        dmask_logits[np.arange(cache.shape[0]), cache.column] = classification.sigmoid_bce_backward(
            dlosses.get("loss_mask", 0.0), cache.loss_mask)
        dh, grads["logits"] = self.logits.backward(dmask_logits, cache.logits)
        dh = relu_backward(dh, cache.relu)
        dh, grads["upsample"] = self.upsample.backward(dh, cache.upsample)
        for i in reversed(range(len(self.convs))):
            dh = relu_backward(dh, cache["relu", i])
            dh, grads["convs"][i] = self.convs[i].backward(dh, cache["conv", i])
        dinputs, _ = self.pool.backward(dh, cache.pool, to_rois)                           # dP, drois
        return dinputs, grads

    def decode(self, outputs, found, size):
        """mask_logits (D, K, M, M) -> masks (D, H, W) bool, and mask_probs (D, M, M), of the class that the box branch chose."""
        z = outputs[np.arange(len(found)), found.labels - 1]
        probs, _ = sigmoid_forward(z)
        return {"masks": mask_crops.paste_masks(probs, found.boxes, size), "mask_probs": probs}
