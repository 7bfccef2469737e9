"""RoI Align under the magnifying glass: every sample of one RoI, its four neighbours, its weights, and the gradients that come back.

    record = roi_align_samples(x, roi, output_size=2, spatial_scale=1 / 16, dout=dout)
    print(record.describe(0, 1, 0, 0))            # "sample (6.5, 5.8) = 0.1 f[5, 6] + 0.1 f[5, 7] + 0.4 f[6, 6] + 0.4 f[6, 7] = 3.1"

A third derivation beside `ops/roi.py` (two small matrices) and `kernels/roi.py` (taps): one sample at a time, nothing merged, everything
kept. It is for looking and for drawing (`plot/lecture_roi.py`), so it is NumPy only and takes one RoI.

Shapes here: C channels, H W feature size, P Q output size, Sy Sx samples a bin, 4 neighbours: above left, above right, below left,
below right. Positions are counted in cells: x = 6.5 lies midway between the centres of columns 6 and 7.
"""
from dataclasses import dataclass

import numpy as np

from numpyvision import backend, check
from numpyvision.ops import roi as roi_ops


@dataclass
class Samples:
    """What `roi_align_samples` found. The second part is None where no dout was given."""

    feature_size: tuple        # (H, W)
    box: np.ndarray            # (4,) x1, y1, x2, y2 of the RoI in cells
    bins: np.ndarray           # (P, Q, 4) x1, y1, x2, y2 of each bin in cells
    x: np.ndarray              # (P, Q, Sy, Sx) position of each sample
    y: np.ndarray
    columns: np.ndarray        # (P, Q, Sy, Sx, 4) int64, the four neighbours of each sample
    rows: np.ndarray
    weights: np.ndarray        # (P, Q, Sy, Sx, 4) how much each counts; they add up to 1, or to 0 for a sample beyond the map
    values: np.ndarray         # (C, P, Q, Sy, Sx) weights times neighbours
    share: np.ndarray          # (C, P, Q, Sy, Sx) how much of each sample is in its bin: 1 / (Sy Sx), or for the maximum one 1

    dvalues: np.ndarray | None = None          # (C, P, Q, Sy, Sx) the gradient that reaches each sample
    dneighbors: np.ndarray | None = None       # (C, P, Q, Sy, Sx, 4) and what it passes on to its neighbours (L16-A04)
    dx: np.ndarray | None = None               # (P, Q, Sy, Sx) the gradient to its position, over all channels (L16-A05), in cells
    dy: np.ndarray | None = None
    dbox: np.ndarray | None = None             # (P, Q, Sy, Sx, 4) and so to x1, y1, x2, y2 of the RoI, in image pixels

    def output(self):
        """(C, P, Q): the samples put together again, RoI Align's output."""
        return (self.values * self.share).sum(axis=(3, 4))

    def feature_gradient(self):
        """(C, H, W): what all samples give to each cell, RoI Align's dx for this image."""
        total = np.zeros((len(self.values), *self.feature_size), self.values.dtype)
        backend.scatter_add(total, (slice(None), self.rows, self.columns), self.dneighbors)
        return total

    def box_gradient(self):
        """(4,): what all samples give to x1, y1, x2, y2, RoI Align's drois of this RoI."""
        return self.dbox.sum(axis=(0, 1, 2, 3))

    def describe(self, p, q, s, t, channel=0):
        """The sum of one sample as the slide writes it (L16-A03), rows before columns as in an array."""
        at = (p, q, s, t)
        terms = " + ".join(f"{w:.3g} f[{i}, {j}]" for w, i, j in zip(self.weights[at], self.rows[at], self.columns[at], strict=True))
        return f"sample ({self.x[at]:.3g}, {self.y[at]:.3g}) = {terms} = {self.values[(channel, *at)]:.4g}"


def roi_align_samples(x, roi, output_size, spatial_scale, sampling_ratio=2, aligned=True, reduce="avg", dout=None):
    """Every sample of one RoI: x (N, C, H, W), roi (5,) = (batch_index, x1, y1, x2, y2) -> Samples. Arguments as for roi_align_forward.

    With dout (C, P, Q), also the gradient that each neighbour and the box receive from each sample.
    """
    P, Q = output_size = check.int_pair("output_size", output_size, 1)
    x, roi = backend.to_numpy(x), backend.to_numpy(roi)
    check.require(roi.shape == (5,), f"roi must be one RoI (5,) = (batch_index, x1, y1, x2, y2), got {roi.shape}; take one row of rois")
    roi_ops.check_roi_align(x, roi[None], spatial_scale, sampling_ratio, reduce)
    batch, ys, xs = roi_ops.sample_points(roi[None], output_size, spatial_scale, sampling_ratio, aligned)
    image, (H, W) = x[batch[0]], x.shape[2:]
    box = roi[1:] * spatial_scale - 0.5 * aligned
    size = box[2:] - box[:2] if aligned else np.maximum(box[2:] - box[:2], 1)
    edges_x, edges_y = box[0] + size[0] * np.arange(Q + 1) / Q, box[1] + size[1] * np.arange(P + 1) / P
    bins = np.stack(np.broadcast_arrays(edges_x[:-1], edges_y[:-1, None], edges_x[1:], edges_y[1:, None]), axis=-1)      # (P, Q, 4)

    v, near_y = (a[:, None, :, None] for a in positions(ys))                           # (P, 1, Sy, 1)
    u, near_x = (a[None, :, None, :] for a in positions(xs))                           # (1, Q, 1, Sx)
    v, u = np.broadcast_arrays(v, u)                                                   # (P, Q, Sy, Sx): y and x of every sample
    inside = (v >= -1) & (v <= H) & (u >= -1) & (u <= W)                               # else the sample is 0
    i, fy = neighbor(v, H)
    j, fx = neighbor(u, W)
    below, right = np.minimum(i + 1, H - 1), np.minimum(j + 1, W - 1)
    weights = np.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx], axis=-1) * inside[..., None]
    rows, columns = np.stack([i, i, below, below], axis=-1), np.stack([j, right, j, right], axis=-1)
    neighbors = image[:, rows, columns]                                                # (C, P, Q, Sy, Sx, 4)
    values = (neighbors * weights).sum(axis=-1)
    record = Samples((H, W), box, bins, u, v, columns, rows, weights, values, shares(values, reduce))
    if dout is not None:
        check.require(dout.shape == values.shape[:3], f"dout must be (C, P, Q) = {values.shape[:3]}, got {dout.shape}")
        record.dvalues = dout[:, :, :, None, None] * record.share
        record.dneighbors = record.dvalues[..., None] * weights
        a, b, d, e = np.moveaxis(neighbors, -1, 0)                                     # above left, above right, below left, below right
        moves_x, moves_y = inside & (u >= 0) & (u < W - 1), inside & (v >= 0) & (v < H - 1)      # else it was moved onto the border
        record.dx = (record.dvalues * ((1 - fy) * (b - a) + fy * (e - d))).sum(axis=0) * moves_x
        record.dy = (record.dvalues * ((1 - fx) * (d - a) + fx * (e - b))).sum(axis=0) * moves_y
        record.dbox = spatial_scale * np.stack([record.dx * near_x, record.dy * near_y,
                                                record.dx * (1 - near_x), record.dy * (1 - near_y)], axis=-1)
    return record


def positions(points):
    """Points of one RoI along one axis -> position, and the share of it that follows the box's near side; (bins, S) each."""
    count = points.count[0]
    return points.v[0, :, :count], 1 - points.u[0, :, :count]


def neighbor(v, length):
    """The cell at or before each position, and how far beyond its centre the position lies; beyond the map the border is moved to."""
    v = np.clip(v, 0, length - 1)
    cell = np.floor(v).astype(np.int64)
    return cell, v - cell


def shares(values, reduce):
    """How much of each sample is in its bin: the same for all, or all for the largest, the first of equals."""
    *bins, Sy, Sx = values.shape
    if reduce == "avg" or Sy * Sx == 0:
        return np.full_like(values, 1 / max(Sy * Sx, 1))
    winner = values.reshape(*bins, Sy * Sx).argmax(axis=-1)
    return (winner[..., None] == np.arange(Sy * Sx)).reshape(values.shape).astype(values.dtype)
