"""conv2d, RoI Align and NMS as a student writes them: loops from the definition, one number at a time. For the tests of `plugged`."""
import math

import numpy as np

from numpyvision.cache import Cache


def conv2d_forward(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """Every output is a sum over channels and taps. Windows that leave the image read zeros."""
    (N, C, H, W), (F, Cg, kh, kw) = x.shape, w.shape
    Ho, Wo = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1, (W + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    out = np.zeros((N, F, Ho, Wo), x.dtype)
    for n in range(N):
        for f in range(F):
            first = f // (F // groups) * Cg                          # the first channel of this filter's group
            for r in range(Ho):
                for q in range(Wo):
                    for i in range(kh):
                        for j in range(kw):
                            y, z = stride * r + dilation * i - padding, stride * q + dilation * j - padding
                            if 0 <= y < H and 0 <= z < W:
                                for c in range(Cg):
                                    out[n, f, r, q] += w[f, c, i, j] * x[n, first + c, y, z]
                    if b is not None:
                        out[n, f, r, q] += b[f]
    pairs = {"stride": stride, "padding": padding, "dilation": dilation}
    return out, Cache(x=x, w=w, has_b=b is not None, groups=groups, **{k: (v, v) for k, v in pairs.items()})


def conv2d_backward(dout, cache):
    """The same loops: what was multiplied by w gives to x, what was multiplied by x gives to w."""
    x, w, groups = cache.x, cache.w, cache.groups
    (stride, _), (padding, _), (dilation, _) = cache.stride, cache.padding, cache.dilation
    (N, C, H, W), (F, Cg, kh, kw), (_, _, Ho, Wo) = x.shape, w.shape, dout.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(F, x.dtype)
    for n in range(N):
        for f in range(F):
            first = f // (F // groups) * Cg
            for r in range(Ho):
                for q in range(Wo):
                    d = dout[n, f, r, q]
                    db[f] += d
                    for i in range(kh):
                        for j in range(kw):
                            y, z = stride * r + dilation * i - padding, stride * q + dilation * j - padding
                            if 0 <= y < H and 0 <= z < W:
                                for c in range(Cg):
                                    dx[n, first + c, y, z] += d * w[f, c, i, j]
                                    dw[f, c, i, j] += d * x[n, first + c, y, z]
    return dx, dw, db if cache.has_b else None


def neighbours(y, x, H, W):
    """The four cells around a point: (row, column, weight, d weight / dy, d weight / dx). None for a point beyond the map."""
    if not (-1 <= y <= H and -1 <= x <= W):
        return []
    moves_y, moves_x = 0 <= y < H - 1, 0 <= x < W - 1                # else it is moved onto the border, and has no slope
    y, x = min(max(y, 0), H - 1), min(max(x, 0), W - 1)
    i, j = math.floor(y), math.floor(x)
    found = []
    for row, wy, sy in ((i, 1 - (y - i), -1), (i + 1, y - i, 1)):
        for column, wx, sx in ((j, 1 - (x - j), -1), (j + 1, x - j, 1)):
            if row < H and column < W:
                found.append((row, column, wy * wx, sy * moves_y * wx, wy * sx * moves_x))
    return found


def points(roi, P, Q, scale, S):
    """(bin row, bin column, y, x, share of y2, share of x2) of every sample of a RoI."""
    x1, y1, x2, y2 = (v * scale - 0.5 for v in roi[1:])
    for p in range(P):
        for q in range(Q):
            for s in range(S):
                for t in range(S):
                    u, v = (p + (s + 0.5) / S) / P, (q + (t + 0.5) / S) / Q
                    yield p, q, y1 + u * (y2 - y1), x1 + v * (x2 - x1), u, v


def roi_align_forward(x, rois, output_size, spatial_scale, sampling_ratio=2, aligned=True, reduce="avg"):
    """The mean of S x S bilinear samples in every bin of every RoI."""
    P, Q = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    C, H, W = x.shape[1:]
    out = np.zeros((len(rois), C, P, Q), x.dtype)
    for r in range(len(rois)):
        n = int(rois[r, 0])
        for p, q, y, z, _, _ in points(rois[r], P, Q, spatial_scale, sampling_ratio):
            for row, column, weight, _, _ in neighbours(y, z, H, W):
                for c in range(C):
                    out[r, c, p, q] += weight * x[n, c, row, column] / sampling_ratio ** 2
    return out, Cache(x=x, rois=rois, output_size=(P, Q), spatial_scale=float(spatial_scale), sampling_ratio=int(sampling_ratio),
                      aligned=aligned, reduce=reduce)


def roi_align_backward(dout, cache):
    """A sample gives to its neighbours by weight, and to the box by the neighbours' differences."""
    x, rois, S, scale = cache.x, cache.rois, cache.sampling_ratio, cache.spatial_scale
    (R, C, P, Q), (H, W) = dout.shape, x.shape[2:]
    dx, drois = np.zeros_like(x), np.zeros_like(rois)
    for r in range(R):
        n = int(rois[r, 0])
        for p, q, y, z, u, v in points(rois[r], P, Q, scale, S):
            for row, column, weight, slope_y, slope_x in neighbours(y, z, H, W):
                for c in range(C):
                    d = dout[r, c, p, q] / S ** 2
                    dx[n, c, row, column] += d * weight
                    dy, dz = d * x[n, c, row, column] * slope_y * scale, d * x[n, c, row, column] * slope_x * scale
                    drois[r, 1] += dz * (1 - v)
                    drois[r, 2] += dy * (1 - u)
                    drois[r, 3] += dz * v
                    drois[r, 4] += dy * u
    return dx, drois


def nms(boxes, scores, iou_threshold):
    """Best score first; a box that overlaps a kept one by more than the threshold is dropped."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        for k in kept:
            width = min(boxes[i, 2], boxes[k, 2]) - max(boxes[i, 0], boxes[k, 0])
            height = min(boxes[i, 3], boxes[k, 3]) - max(boxes[i, 1], boxes[k, 1])
            inter = max(width, 0) * max(height, 0)
            areas = [(boxes[m, 2] - boxes[m, 0]) * (boxes[m, 3] - boxes[m, 1]) for m in (i, k)]
            if inter > iou_threshold * (sum(areas) - inter):
                break
        else:
            kept.append(i)
    return np.array(kept, np.int64)
