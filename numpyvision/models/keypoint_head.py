"""The keypoint branch (He et al. 2017, section 5): in which cell of the box is the nose, the left eye, ...?

    P -> RoI Align S x S -> [3x3 conv, group norm, ReLU] x convs -> 4x4 transposed conv of stride 2 -> (bilinear x 2) -> (F, J, M, M)

One map a joint. Its M * M cells are the classes of one softmax, the cell of the joint is the label: a joint is in one place only (L16-K02).
Shapes here: F regions, J = 17 joints, S side of a cut-out region, M side of a map (2S, 4S with the bilinear step), D detections.
"""
import numpy as np

from numpyvision.boxes import keypoints
from numpyvision.cache import new_cache
from numpyvision.layers.roi import PyramidRoIAlign
from numpyvision.layers.upsample import ConvTranspose2d, Upsample
from numpyvision.layers.vgg import ConvNormReLU
from numpyvision.losses import classification
from numpyvision.models.regions import CELLS, RegionHead
from numpyvision.ops import resize

SURE = 0.2      # a joint that the softmax gives this much of its mass, of 784 cells, is drawn as seen; else as a guess


class KeypointBranch(RegionHead):
    """Loss by name: `loss_keypoint`. labels: the classes that have joints (persons).

    The paper's size: output_size=14, hidden=512, convs=8, bilinear=True, so maps of 56 x 56; ours end at 28 x 28. The paper has no norm;
    ours begins without weights from ImageNet, and learns faster with one.
    """

    def __init__(self, channels, labels, strides, output_size=14, hidden=32, convs=3, bilinear=False, joints=17, *, rng, dtype=np.float32):
        self.labels, self.joints, self.map_size = tuple(labels), joints, output_size * (4 if bilinear else 2)
        self.pool = PyramidRoIAlign(output_size, strides, canonical_size=CELLS * output_size)
        self.convs = [ConvNormReLU(channels if i == 0 else hidden, hidden, 3, "group", rng=rng, dtype=dtype) for i in range(convs)]
        self.logits = ConvTranspose2d(hidden if convs else channels, joints, 4, stride=2, padding=1, rng=rng, dtype=dtype)
        self.logits.params["w"] *= self.logits.params["w"].dtype.type(0.1)     # training begins with an even map, at a loss of log(M * M)
        self.bilinear = Upsample("bilinear", 2) if bilinear else None

    def targets(self, regions):
        """-> rois (F, 5), cells (F, J): y * M + x of the cell that holds the joint, -1 where there is nothing to learn.

        A region without a labelled joint inside it is left out.
        """
        truth = np.reshape(regions.read("keypoints"), (-1, self.joints, 3))
        cells = keypoints.keypoint_cells(truth, regions.rois[:, 1:], self.map_size)
        learns = (cells >= 0).any(axis=1)
        return regions.rois[learns], cells[learns]

    def forward(self, P, rois, truth=None, train=True):
        """-> keypoint_logits (F, J, M, M), losses (empty without truth), cache."""
        cache = new_cache(train)
        h, cache["pool"] = self.pool.forward(P, rois, train)                               # (F, C, S, S)
        for i, conv in enumerate(self.convs):
            h, cache["conv", i] = conv.forward(h, train)
        logits, cache["logits"] = self.logits.forward(h, train)                            # (F, J, 2S, 2S)
        if self.bilinear:
            logits, cache["bilinear"] = self.bilinear.forward(logits, train=train)
        losses = {}
        if truth is not None:
            known = np.flatnonzero(truth.reshape(-1) >= 0)                                 # (V,) of F*J: the joints that are labelled
            cache["shape"], cache["known"] = logits.shape, known
            rows = logits.reshape(-1, self.map_size ** 2)                                  # (F*J, M*M)
            losses["loss_keypoint"], cache["loss_keypoint"] = classification.softmax_cross_entropy_forward(
                rows[known], truth.reshape(-1)[known], ignore_index=None)                  # mean over labelled joints
        return logits, losses, cache

    def backward_to_regions(self, dlosses, cache, to_rois=True):
        """dlosses: {name: loss weight}, a missing one counts as zero -> (dP, drois (F, 5)), grads. The joints' cells are constants."""
        grads, (F, J, M, _) = {"convs": [None] * len(self.convs)}, cache.shape
        drows = np.zeros((F * J, M * M), cache.loss_keypoint.logits.dtype)
        drows[cache.known] = classification.softmax_cross_entropy_backward(dlosses.get("loss_keypoint", 0.0), cache.loss_keypoint)
        dlogits = drows.reshape(cache.shape)
        if self.bilinear:
            dlogits, _ = self.bilinear.backward(dlogits, cache.bilinear)
        dh, grads["logits"] = self.logits.backward(dlogits, cache.logits)
        for i in reversed(range(len(self.convs))):
            dh, grads["convs"][i] = self.convs[i].backward(dh, cache["conv", i])
        dinputs, _ = self.pool.backward(dh, cache.pool, to_rois)                           # dP, drois
        return dinputs, grads

    def decode(self, outputs, found, size):
        """keypoint_logits (D, J, M, M) -> keypoints (D, J, 3) = (x, y, v), keypoint_probs and keypoint_logits (D, J).

        v is 2 where the probability is at least SURE, else 1. The two scores are not the same thing, so they have two names: the logit is
        unbounded and comparable only within one joint's map; the probability is the softmax's, of the one cell that the point lies in.
        """
        xy, probs, logits = decode_keypoints(outputs, found.boxes)
        v = np.where(probs >= SURE, 2, 1).astype(xy.dtype)
        return {"keypoints": np.concatenate([xy, v[..., None]], axis=2), "keypoint_probs": probs, "keypoint_logits": logits}


def decode_keypoints(logits, boxes):
    """Each joint at the maximum of its map: logits (D, J, M, M), boxes (D, 4) -> xy (D, J, 2), probs (D, J), logits there (D, J).

    The maps are brought to the box's own size in pixels (bicubic; never to fewer than M), so that a joint is found to the pixel, not
    to the cell: a cell of a 100 px box is 4 px wide.
    """
    D, J, M, _ = logits.shape
    xy, probs, best = (np.zeros(shape, logits.dtype) for shape in ((D, J, 2), (D, J), (D, J)))
    masses = classification.softmax(logits.reshape(D * J, M * M)).reshape(D, J, M, M)
    for d, (near, far) in enumerate(zip(boxes[:, :2], boxes[:, 2:], strict=True)):
        w, h = np.maximum(np.ceil(far - near), M).astype(int).tolist()
        fine = resize.upsample_bicubic_forward(logits[d:d + 1], size=(h, w))[0].reshape(J, h * w)
        peak = fine.argmax(axis=1)
        share = (np.stack([peak % w, peak // w], axis=1) + 0.5) / [w, h]                   # (J, 2) of the box, in (0, 1)
        xy[d], best[d] = near + share * (far - near), fine.max(axis=1)
        column, row = (share * M).astype(int).T
        probs[d] = masses[d, np.arange(J), row, column]
    return xy, probs, best
