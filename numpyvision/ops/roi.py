"""RoI Align: crop a feature map by a box, resized to P x Q, without rounding anything; forward, and backward to features and box.

Shapes here: N images, C channels, H W feature size, R RoIs, P Q output size, S samples a bin along one axis.
    x (N, C, H, W)   rois (R, 5) = (batch_index, x1, y1, x2, y2) in image pixels   out (R, C, P, Q)

The box is divided into P x Q equal bins, each bin is sampled at S x S regular points by bilinear interpolation, and averaged. All of this
is linear in x, and the hat function of bilinear interpolation is a product, max(0, 1 - |y - i|) max(0, 1 - |x - j|) (L16-A02). So every
RoI has two small matrices, Wy (P, H) and Wx (Q, W), whose row p says how much each cell of a column counts in bin p, and

    out[r, c] = Wy[r] @ x[n, c] @ Wx[r].T            n the image of RoI r

is the whole of RoI Align. Its gradient is the same product seen from the other sides; the box moves the samples, which move the weights.
The compiled loops in `kernels/roi.py` are a second derivation, which gathers and scatters the neighbours of the samples one by one.
"""
from typing import NamedTuple

import numpy as np

from numpyvision import backend, check, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache


class Points(NamedTuple):
    """Where the RoIs are sampled along one axis; a bin has S samples, of which the first `count` hold (adaptive counts differ by RoI)."""

    v: np.ndarray          # (R, bins, S) position in cells; -2, where nothing is, for the samples from count on
    u: np.ndarray          # (R, bins, S) dv / dhi: how far a sample follows the far side of the box; 1 - u, the near side
    count: np.ndarray      # (R,) int64


def roi_align_forward(x, rois, output_size, spatial_scale, sampling_ratio=2, aligned=True, reduce="avg"):
    """Features of every RoI at a fixed size: the mean of bilinear samples in each of P x Q equal bins (Mask R-CNN 3; L16-A01 to A07).

    x (N, C, H, W), rois (R, 5) = (batch_index, x1, y1, x2, y2), output_size P or (P, Q), spatial_scale = 1 / stride -> (R, C, P, Q).
    sampling_ratio: samples a bin along each axis; <= 0 adapts to the RoI, ceil(its size in cells / bins).
    aligned: cell i holds the value at i + 0.5, so that coordinates shift by half a cell (L16-A06). aligned=False is the older habit of
        no shift, with RoIs at least one cell wide and high.
    A sample beyond [-1, H] or [-1, W] is 0; others outside the cells' centres are moved onto the nearest (torchvision's rule).
    A reversed box is cropped mirrored (adaptive: it has no samples, so 0; aligned=False: it counts as one cell wide). R = 0 is fine.
    Adaptive sampling of a box far larger than the image costs accordingly: clip boxes first.
    reduce: "avg", or "max", the largest sample of each bin (L16-A01), which holds all samples in memory at once.
    Caches the inputs x and rois, and the settings; for "max" also `winner` (R, C, P, Q), which sample of its bin was the largest.
    ValueError for a batch_index outside [0, N), a NaN or an infinite coordinate.
    """
    output_size = check.int_pair("output_size", output_size, 1)
    check_roi_align(x, rois, spatial_scale, sampling_ratio, reduce)
    settings = dict(output_size=output_size, spatial_scale=float(spatial_scale), sampling_ratio=int(sampling_ratio), aligned=bool(aligned))
    batch, ys, xs = sample_points(rois, **settings)
    if reduce == "max":
        samples = average(x, batch, one_a_bin(ys), one_a_bin(xs))                      # (R, C, P*S, Q*S): RoI Align on a finer grid,
        out, winner = largest_of_bins(samples, ys, xs)                                 # then the maximum of each S x S block of it
        return out, Cache(x=x, rois=rois, **settings, reduce=reduce, winner=winner)
    return average(x, batch, ys, xs), Cache(x=x, rois=rois, **settings, reduce=reduce)


def average(x, batch, ys, xs):
    """The mean of the samples in each bin: x (N, C, H, W) -> (R, C, P, Q)."""
    if backend.compiled(x, ys.v):
        return kernels.roi.roi_align(np.ascontiguousarray(x), batch, ys.v, ys.count, xs.v, xs.count)
    xp = get_array_module(x, ys.v)
    wy, wx = axis_weights(ys, x.shape[2]), axis_weights(xs, x.shape[3])                # (R, P, H), (R, Q, W)
    out = xp.zeros((len(batch), x.shape[1], wy.shape[1], wx.shape[1]), dtype=x.dtype)
    for n in range(len(x)):
        r = xp.flatnonzero(batch == n)
        out[r] = xp.einsum("rpi,cij,rqj->rcpq", wy[r], x[n], wx[r], optimize=True)
    return out


def roi_align_backward(dout, cache):
    """dout (R, C, P, Q) -> dx (N, C, H, W), drois (R, 5), whose column 0 (the batch index) is zero.

    To a caller who puts a true `constant_rois` into the cache the boxes are constants: it gets None in place of drois.
    """
    if cache.get("constant_rois"):
        return roi_align_dx(dout, cache), None
    cache = Cache(cache, samples=samples_of(dout, cache))                              # found once for both
    return roi_align_dx(dout, cache), roi_align_dbox(dout, cache)


def roi_align_dx(dout, cache):
    """The gradient to the features: dout (R, C, P, Q) -> dx (N, C, H, W), where x was `cache.x`.

    Each sample hands its share of its bin's gradient (1 / samples in the bin; reduce="max": all to the winner, none to the others) to the
    four cells that it was read from, by the weights it read them with (L16-A04). RoIs overlap: what they hand to a cell adds up.
    """
    x, (dout, batch, ys, xs) = cache.x, samples_of(dout, cache)
    if backend.compiled(dout, x, ys.v):
        return kernels.roi.roi_align_dx(np.ascontiguousarray(dout), batch, ys.v, ys.count, xs.v, xs.count, x.shape)
    xp = get_array_module(dout, x, ys.v)
    wy, wx = axis_weights(ys, x.shape[2]), axis_weights(xs, x.shape[3])                # (R, P, H), (R, Q, W)
    dx = xp.zeros_like(x)
    for n in range(len(x)):                                                            # out = wy x wx^T, so dx = wy^T dout wx, summed
        r = xp.flatnonzero(batch == n)
        dx[n] = xp.einsum("rcpq,rpi,rqj->cij", dout[r], wy[r], wx[r], optimize=True)
    return dx


def roi_align_dbox(dout, cache):
    """The gradient to the boxes (L16-A05): dout (R, C, P, Q) -> drois (R, 5), whose column 0 (the batch index) is zero.

    A sample's slope in x is the difference of its neighbours, right minus left, weighted along y as when it was read; likewise in y.
    Its position is v = lo + u (hi - lo), so that a share 1 - u of it goes to the box's near side and u to its far side; cells are pixels
    times spatial_scale. No gradient to the position where the sample was moved onto the border or lies beyond it; at a cell's centre,
    where the slope jumps, the slope to the right is taken. The number of samples of adaptive sampling counts as a constant, and with
    aligned=False a side shorter than one cell stays one cell long: all of its samples follow the near side.
    """
    x, (dout, batch, ys, xs) = cache.x, samples_of(dout, cache)
    xp = get_array_module(dout, x, ys.v)
    if backend.compiled(dout, x, ys.v):
        dy1, dy2, dx1, dx2 = kernels.roi.roi_align_dbox(np.ascontiguousarray(dout), np.ascontiguousarray(x), batch, *ys, *xs)
    else:
        wy, wx = axis_weights(ys, x.shape[2]), axis_weights(xs, x.shape[3])            # (R, P, H), (R, Q, W)
        dwy, dwx = xp.zeros_like(wy), xp.zeros_like(wx)
        for n in range(len(x)):                                                        # out = wy x wx^T, read from its other two sides
            r = xp.flatnonzero(batch == n)
            dwy[r] = xp.einsum("rcpq,cij,rqj->rpi", dout[r], x[n], wx[r], optimize=True)
            dwx[r] = xp.einsum("rcpq,rpi,cij->rqj", dout[r], wy[r], x[n], optimize=True)
        dy1, dy2 = axis_weights_backward(dwy, ys)
        dx1, dx2 = axis_weights_backward(dwx, xs)
    return xp.stack([xp.zeros_like(dx1), dx1, dy1, dx2, dy2], axis=1) * cache.spatial_scale       # cells = pixels * spatial_scale


def samples_of(dout, cache):
    """dout, batch, ys, xs for backward: the samples that forward took. For reduce="max" each sample is a bin with a dout of its own."""
    if "samples" in cache:
        return cache.samples
    batch, ys, xs = sample_points(cache.rois, *(cache[k] for k in ("output_size", "spatial_scale", "sampling_ratio", "aligned")))
    if cache.reduce == "max":
        return largest_of_bins_backward(dout, cache.winner, ys, xs), batch, one_a_bin(ys), one_a_bin(xs)      # (R, C, P*S, Q*S)
    return dout, batch, ys, xs


def sample_points(rois, output_size, spatial_scale, sampling_ratio, aligned):
    """rois (R, 5) -> batch (R,) int64, Points of the vertical axis, Points of the horizontal axis. settings: as for roi_align_forward."""
    xp = get_array_module(rois)
    axes = []
    for bins, near, far in ((output_size[0], 2, 4), (output_size[1], 1, 3)):           # y1 and y2, x1 and x2
        lo = (rois[:, near] * spatial_scale - 0.5 * aligned)[:, None, None]            # (R, 1, 1), in cells
        hi = (rois[:, far] * spatial_scale - 0.5 * aligned)[:, None, None]
        size = hi - lo if aligned else xp.maximum(hi - lo, 1)
        if sampling_ratio > 0:
            count, most = xp.full_like(size, sampling_ratio), sampling_ratio
        else:
            count = xp.maximum(xp.ceil(size / bins), 0)
            most = int(count.max()) if len(rois) else 0
        s = xp.arange(max(most, 1), dtype=rois.dtype)                                  # (S,)
        bin_index = xp.arange(bins, dtype=rois.dtype)[:, None]                         # (bins, 1)
        u = (bin_index + (s + 0.5) / xp.maximum(count, 1)) / bins                      # (R, bins, S): 2 samples lie at 1/4 and 3/4 of a bin
        v = xp.where(s < count, lo + u * size, -2)
        if not aligned:
            u = xp.where(hi - lo < 1, 0, u)                                            # the size is held at 1: all follow the near side
        axes.append(Points(v, u, count[:, 0, 0].astype(np.int64)))
    return rois[:, 0].astype(np.int64), *axes


def axis_weights(points, length):
    """weight[r, p, i]: how much cell i of an axis counts in bin p of RoI r, the mean of its samples' hats -> (R, bins, length)."""
    v, _, count = points
    xp = get_array_module(v)
    inside = (v >= -1) & (v <= length)
    v = xp.clip(v, 0, length - 1)                                                      # moved onto the nearest cell
    hat = xp.maximum(1 - abs(v[..., None] - xp.arange(length, dtype=v.dtype)), 0)      # (R, bins, S, length)
    return xp.where(inside[..., None], hat, 0).sum(axis=2) / per_bin(count, v)


def axis_weights_backward(dweight, points):
    """dweight (R, bins, length) -> dlo (R,), dhi (R,), the gradient to the near and the far side of the RoI, in cells."""
    v, u, count = points
    xp = get_array_module(dweight)
    length = dweight.shape[2]
    moves = (v >= 0) & (v < length - 1)                                                # else clamped, or outside
    left = xp.where(moves, xp.floor(v), 0).astype(np.int64)                            # the hats of left and left + 1 cross at v
    right = xp.minimum(left + 1, length - 1)
    dv = xp.take_along_axis(dweight, right, 2) - xp.take_along_axis(dweight, left, 2)  # d hat: +1 on the right, -1 on the left
    dv = xp.where(moves, dv, 0) / per_bin(count, v)                                    # (R, bins, S)
    return (dv * (1 - u)).sum(axis=(1, 2)), (dv * u).sum(axis=(1, 2))


def one_a_bin(points):
    """The same samples as bins of their own: (R, bins, S) -> (R, bins * S, 1). Those that do not hold lie where nothing is, and give 0."""
    xp = get_array_module(points.v)
    R, bins, S = points.v.shape
    return Points(points.v.reshape(R, bins * S, 1), points.u.reshape(R, bins * S, 1), xp.ones_like(points.count))


def largest_of_bins(samples, ys, xs):
    """samples (R, C, P*Sy, Q*Sx) -> the largest of each bin (R, C, P, Q), and its number s * Sx + t there, the first of equals.

    A bin without samples is 0, as its mean is. A sample beyond the map counts as the 0 that it is.
    """
    xp, C = get_array_module(samples), samples.shape[1]
    (R, P, Sy), (_, Q, Sx) = ys.v.shape, xs.v.shape
    grid = samples.reshape(R, C, P, Sy, Q, Sx)
    out = xp.full((R, C, P, Q), -np.inf, dtype=samples.dtype)
    winner = xp.zeros((R, C, P, Q), dtype=np.int64)
    for s in range(Sy):
        for t in range(Sx):
            value, holds = grid[:, :, :, s, :, t], ((s < ys.count) & (t < xs.count))[:, None, None, None]
            better = holds & ((value > out) | ((value != value) & (out == out)))       # the second is true of the first NaN alone
            out, winner = xp.where(better, value, out), xp.where(better, s * Sx + t, winner)
    return xp.where(((ys.count > 0) & (xs.count > 0))[:, None, None, None], out, 0), winner


def largest_of_bins_backward(dout, winner, ys, xs):
    """dout (R, C, P, Q) -> dsamples (R, C, P*Sy, Q*Sx): all to the winner, nothing to the others of its bin."""
    xp, (R, C, P, Q), Sy, Sx = get_array_module(dout), dout.shape, ys.v.shape[2], xs.v.shape[2]
    won = winner[..., None] == xp.arange(Sy * Sx)                                      # (R, C, P, Q, Sy*Sx)
    dbins = xp.where(won, dout[..., None], 0).reshape(R, C, P, Q, Sy, Sx)
    return dbins.transpose(0, 1, 2, 4, 3, 5).reshape(R, C, P * Sy, Q * Sx)


def per_bin(count, v):
    """The number of samples to average over, (R, 1, 1) in v's dtype; 1 where there is none."""
    return get_array_module(v).maximum(count, 1).astype(v.dtype)[:, None, None]


def check_roi_align(x, rois, spatial_scale, sampling_ratio, reduce):
    """ValueError unless RoI Align can read these."""
    check_rois(x, rois, spatial_scale)
    check.require(sampling_ratio == int(sampling_ratio), f"sampling_ratio must be a whole number, <= 0 for adaptive, got {sampling_ratio}")
    check.require(reduce in ("avg", "max"), f'reduce must be "avg" or "max", got {reduce!r}')


def check_rois(x, rois, spatial_scale):
    """ValueError unless x is a batch of maps with cells, rois are boxes on its images, and spatial_scale is positive."""
    check.array("x", x, 4, "(N, C, H, W)")
    check.array("rois", rois, 2, "(R, 5) = (batch_index, x1, y1, x2, y2)")
    check.require(rois.shape[1] == 5, f"rois must be (R, 5) = (batch_index, x1, y1, x2, y2), got {tuple(rois.shape)}; "
                                      "for per-image boxes call boxes_to_rois first")
    check.same_dtype({"x": x, "rois": rois})
    check.require(min(x.shape[2:]) > 0, f"x must have at least one cell to sample, got (N, C, H, W) = {tuple(x.shape)}")
    check.require(spatial_scale > 0, f"spatial_scale must be positive, 1 / stride of the feature map, got {spatial_scale}")
    xp, n = get_array_module(rois), rois[:, 0]
    check.require(bool(xp.isfinite(rois).all()), "rois contain NaN or infinity; the usual cause is a network that has diverged")
    check.require(bool(((n >= 0) & (n < len(x)) & (n == xp.floor(n))).all()),
                  f"the first column of rois must be a batch index in [0, {len(x)}); is it missing, or are the rois of another batch?")
