"""RoI Align and RoI Pool over a feature pyramid: each region is cut from the level that suits its size.

Shapes here: R regions over the batch, rois (R, 5) = (batch_index, x1, y1, x2, y2) in image pixels; L levels, finest first.
"""
import numpy as np

from numpyvision.boxes import levels
from numpyvision.cache import Cache, NoCache, new_cache
from numpyvision.layers.base import Layer
from numpyvision.ops import roi, roi_pool


class RoIAlign(Layer):
    """(N, C, H, W) and rois (R, 5) -> (R, C, S, S). Holds the sizes; the arithmetic is in `ops/roi.py`."""

    def __init__(self, output_size, spatial_scale, sampling_ratio=2):
        self.output_size, self.spatial_scale, self.sampling_ratio = output_size, spatial_scale, sampling_ratio

    def forward(self, x, rois, train=True):
        out, cache = roi.roi_align_forward(x, rois, self.output_size, self.spatial_scale, self.sampling_ratio, aligned=True)
        return out, cache if train else NoCache()

    def backward(self, dout, cache, to_rois=True):
        """dout (R, C, S, S) -> (dx, drois), {}: the gradient reaches the features and, unless they are constants, the boxes (L16-A05)."""
        return roi.roi_align_backward(dout, cache if to_rois else Cache(cache, constant_rois=True)), {}


class PyramidRoIAlign(Layer):
    """Levels P_l (N, C, H_l, W_l) and rois (R, 5) -> (R, C, S, S), each region from level floor(k0 + log2(sqrt(area) / canonical_size))."""

    def __init__(self, output_size, strides, canonical_size=96, canonical_level=4, sampling_ratio=2):
        # The paper cuts a 224 px region from stride 16 (level 4): 14 cells across. Our images are small; 96 px leaves 6 to 12 cells.
        self.canonical_size, self.canonical_level = canonical_size, canonical_level
        self.first_level = int(np.log2(strides[0]))
        self.aligns = [RoIAlign(output_size, 1 / s, sampling_ratio) for s in strides]

    def levels(self, rois):
        """Which of the L levels each region is cut from: (R,) int64, 0 the finest."""
        last = self.first_level + len(self.aligns) - 1
        return levels.assign_levels(rois[:, 1:], self.first_level, last, self.canonical_size, self.canonical_level) - self.first_level

    def forward(self, P, rois, train=True):
        level = self.levels(rois)
        S, cache = self.aligns[0].output_size, new_cache(train, level=level, shapes=[p.shape for p in P])
        out = np.empty((len(rois), P[0].shape[1], S, S), P[0].dtype)
        for l, p in enumerate(P):
            rows = np.flatnonzero(level == l)
            out[rows], cache["align", l] = self.aligns[l].forward(p, rois[rows], train)
        return out, cache

    def backward(self, dout, cache, to_rois=True):
        """-> (dP, drois), {}. to_rois=False: to the caller the regions are constants, and drois, which costs as much as dP, is None."""
        dP, drois = [], np.zeros((len(dout), 5), dout.dtype) if to_rois else None
        for l in range(len(cache.shapes)):
            rows = np.flatnonzero(cache.level == l)
            (dp, drois_level), _ = self.aligns[l].backward(dout[rows], cache["align", l], to_rois)
            dP.append(dp)
            if to_rois:
                drois[rows] = drois_level
        return (tuple(dP), drois), {}


class RoIPool(Layer):
    """(N, C, H, W) and rois (R, 5) -> (R, C, S, S), boxes snapped to cells (L16-F03)."""

    def __init__(self, output_size, spatial_scale, mode="caffe"):
        self.output_size, self.spatial_scale, self.mode = output_size, spatial_scale, mode

    def forward(self, x, rois, train=True):
        out, cache = roi_pool.roi_pool_forward(x, rois, self.output_size, self.spatial_scale, self.mode)
        return out, cache if train else NoCache()

    def backward(self, dout, cache, to_rois=True):
        """dout (R, C, S, S) -> (dx, drois), {}: drois is zero, for the crop moves in jumps (L16-F05)."""
        return roi_pool.roi_pool_backward(dout, cache), {}


class PyramidRoIPool(PyramidRoIAlign):
    """The same choice of levels, cropped by RoI Pool."""

    def __init__(self, output_size, strides, canonical_size=96, canonical_level=4, mode="caffe"):
        super().__init__(output_size, strides, canonical_size, canonical_level)
        self.aligns = [RoIPool(output_size, 1 / s, mode) for s in strides]
