"""Two other right answers to each exercise on pooling, crops, pyramids and resizing: SOLUTIONS = {exercise: (plain loops, another way)}."""
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from numpyvision.cache import Cache


def pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def pool_places(shape, k, s, p):
    """Ho, Wo, and every (r, q, y, x): output place and a pixel of its window inside the image, in reading order."""
    H, W = shape[2:]
    Ho, Wo = (H + 2 * p - k) // s + 1, (W + 2 * p - k) // s + 1
    places = [(r, q, r * s - p + i, q * s - p + j) for r, q, i, j in np.ndindex(Ho, Wo, k, k)]
    return Ho, Wo, [place for place in places if 0 <= place[2] < H and 0 <= place[3] < W]


def pool_windows(x, k, s, p, fill):
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=fill)
    return sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::s, ::s]           # (N, C, Ho, Wo, k, k)


# ---- pooling and unpooling

def max_pool2d_forward_loops(x, kernel_size, stride=None, padding=0):
    k, s, p = kernel_size, stride or kernel_size, padding
    Ho, Wo, places = pool_places(x.shape, k, s, p)
    out = np.full((*x.shape[:2], Ho, Wo), -np.inf, x.dtype)
    indices = np.full(out.shape, -1, np.int64)
    for r, q, y, z in places:
        for n, c in np.ndindex(x.shape[:2]):
            best = out[n, c, r, q]
            if indices[n, c, r, q] < 0 or x[n, c, y, z] > best or (np.isnan(x[n, c, y, z]) and not np.isnan(best)):
                out[n, c, r, q], indices[n, c, r, q] = x[n, c, y, z], y * x.shape[3] + z
    return out, Cache(indices=indices, x_shape=x.shape)


def max_pool2d_forward_strides(x, kernel_size, stride=None, padding=0):
    k, s, p = kernel_size, stride or kernel_size, padding
    view = pool_windows(x, k, s, p, -np.inf)
    flat = view.reshape(*view.shape[:4], k * k)
    winner = flat.argmax(axis=-1)
    Ho, Wo = winner.shape[2:]
    rows, columns = np.arange(Ho)[:, None] * s - p + winner // k, np.arange(Wo) * s - p + winner % k
    out = np.take_along_axis(flat, winner[..., None], -1)[..., 0]
    return out, Cache(indices=(rows * x.shape[3] + columns).astype(np.int64), x_shape=x.shape)


def max_pool2d_backward_loops(dout, cache):
    dx = np.zeros(cache.x_shape, dout.dtype)
    for n, c, r, q in np.ndindex(dout.shape):
        y, z = divmod(int(cache.indices[n, c, r, q]), dx.shape[3])
        dx[n, c, y, z] += dout[n, c, r, q]
    return dx


def max_pool2d_backward_bincount(dout, cache):
    N, C, H, W = cache.x_shape
    where = cache.indices.reshape(N * C, dout.shape[2] * dout.shape[3]) + np.arange(N * C)[:, None] * H * W
    total = np.bincount(where.ravel(), weights=dout.ravel(), minlength=N * C * H * W)
    return total.astype(dout.dtype).reshape(N, C, H, W)


def max_unpool2d_forward_loops(x, indices, output_size=None, kernel_size=2):
    (ky, kx), (h, w) = pair(kernel_size), x.shape[2:]
    H, W = (ky * h, kx * w) if output_size is None else pair(output_size)
    out = np.zeros((*x.shape[:2], H, W), x.dtype)
    for n, c, r, q in np.ndindex(x.shape):
        y, z = divmod(int(indices[n, c, r, q]), W)
        out[n, c, y, z] = x[n, c, r, q]                                # a later one overwrites
    return out, Cache(indices=indices, out_shape=out.shape)


def max_unpool2d_forward_put(x, indices, output_size=None, kernel_size=2):
    k = pair(kernel_size)
    H, W = (k[0] * x.shape[2], k[1] * x.shape[3]) if output_size is None else pair(output_size)
    planes = x.shape[0] * x.shape[1]
    out = np.zeros(planes * H * W, x.dtype)
    np.put(out, indices.reshape(planes, x.shape[2] * x.shape[3]) + np.arange(planes)[:, None] * H * W, x)
    return out.reshape(*x.shape[:2], H, W), Cache(indices=indices, out_shape=(*x.shape[:2], H, W))


def max_unpool2d_backward_loops(dout, cache):
    indices = cache.indices
    dx = np.zeros(indices.shape, dout.dtype)
    for n, c in np.ndindex(indices.shape[:2]):
        owner = {int(place): at for at, place in enumerate(indices[n, c].ravel())}                 # the last one stays
        for place, at in owner.items():
            dx[n, c].reshape(-1)[at] = dout[n, c].ravel()[place]
    return dx


def max_unpool2d_backward_owner(dout, cache):
    N, C, H, W = cache.out_shape
    places = cache.indices.reshape(N * C, cache.indices.shape[2] * cache.indices.shape[3]) + np.arange(N * C)[:, None] * H * W
    numbers = np.arange(places.size).reshape(places.shape)
    owner = np.full(N * C * H * W, -1)
    owner[places] = numbers
    return np.where(owner[places] == numbers, dout.ravel()[places] if dout.size else 0, 0).astype(dout.dtype).reshape(cache.indices.shape)


def avg_cache(x, k, s, p, out):
    return Cache(x_shape=x.shape, kernel_size=k, stride=s, padding=p, out_shape=out.shape)


def avg_pool2d_forward_loops(x, kernel_size, stride=None, padding=0):
    k, s, p = kernel_size, stride or kernel_size, padding
    Ho, Wo, places = pool_places(x.shape, k, s, p)
    out = np.zeros((*x.shape[:2], Ho, Wo), x.dtype)
    for r, q, y, z in places:
        for n, c in np.ndindex(x.shape[:2]):
            out[n, c, r, q] += x[n, c, y, z] / k ** 2
    return out, avg_cache(x, k, s, p, out)


def avg_pool2d_forward_strides(x, kernel_size, stride=None, padding=0):
    k, s, p = kernel_size, stride or kernel_size, padding
    out = np.einsum("ncrqij->ncrq", pool_windows(x, k, s, p, 0)) / (k * k)
    return out, avg_cache(x, k, s, p, out)


def avg_pool2d_backward_loops(dout, cache):
    k, dx = cache.kernel_size, np.zeros(cache.x_shape, dout.dtype)
    for r, q, y, z in pool_places(dx.shape, k, cache.stride, cache.padding)[2]:
        for n, c in np.ndindex(dx.shape[:2]):
            dx[n, c, y, z] += dout[n, c, r, q] / k ** 2
    return dx


def covers(length, size, k, s, p, dtype):
    """(size, length): 1 where window q covers pixel i."""
    offset = np.arange(length) + p - s * np.arange(size)[:, None]
    return ((offset >= 0) & (offset < k)).astype(dtype)


def avg_pool2d_backward_matrices(dout, cache):
    k, s, p, (H, W), (Ho, Wo) = cache.kernel_size, cache.stride, cache.padding, cache.x_shape[2:], dout.shape[2:]
    return np.einsum("ncrq,ry,qx->ncyx", dout, covers(H, Ho, k, s, p, dout.dtype), covers(W, Wo, k, s, p, dout.dtype)) / k ** 2


# ---- RoI Pool

def half_away(v):
    return int(math.floor(abs(v) + 0.5)) * (1 if v >= 0 else -1)


def roi_pool_cells(roi, scale, length, bins, near, far, mode):
    """[(start, stop)] of each bin along one axis, cut to the map."""
    first, after = half_away(float(roi[near] * scale)), half_away(float(roi[far] * scale)) + (1 if mode == "caffe" else 0)
    n, found = max(after - first, 1), []
    for k in range(bins):
        stop = math.ceil((k + 1) * n / bins) if mode == "caffe" else (k + 1) * n // bins
        found.append((min(max(first + k * n // bins, 0), length), min(max(first + stop, 0), length)))
    return found


def roi_pool_forward_loops(x, rois, output_size, spatial_scale, mode="caffe"):
    (P, Q), (N, C, H, W) = pair(output_size), x.shape
    out, argmax = np.zeros((len(rois), C, P, Q), x.dtype), np.full((len(rois), C, P, Q), -1, np.int64)
    for r, roi in enumerate(rois):
        rows = roi_pool_cells(roi, spatial_scale, H, P, 2, 4, mode)
        columns = roi_pool_cells(roi, spatial_scale, W, Q, 1, 3, mode)
        for c, p, q in np.ndindex(C, P, Q):
            for y in range(*rows[p]):
                for z in range(*columns[q]):
                    value = x[int(roi[0]), c, y, z]
                    if argmax[r, c, p, q] < 0 or value > out[r, c, p, q]:
                        out[r, c, p, q], argmax[r, c, p, q] = value, y * W + z
    return out, Cache(argmax=argmax, rois=rois, x_shape=x.shape)


def roi_pool_forward_slices(x, rois, output_size, spatial_scale, mode="caffe"):
    (P, Q), (N, C, H, W) = pair(output_size), x.shape
    out, argmax = np.zeros((len(rois), C, P, Q), x.dtype), np.full((len(rois), C, P, Q), -1, np.int64)
    for r, roi in enumerate(rois):
        for p, (top, bottom) in enumerate(roi_pool_cells(roi, spatial_scale, H, P, 2, 4, mode)):
            for q, (left, right) in enumerate(roi_pool_cells(roi, spatial_scale, W, Q, 1, 3, mode)):
                if top < bottom and left < right:
                    cells = x[int(roi[0]), :, top:bottom, left:right].reshape(C, -1)
                    y, z = np.divmod(cells.argmax(axis=1), right - left)
                    out[r, :, p, q], argmax[r, :, p, q] = cells.max(axis=1), (y + top) * W + z + left
    return out, Cache(argmax=argmax, rois=rois, x_shape=x.shape)


def roi_pool_backward_loops(dout, cache):
    dx = np.zeros(cache.x_shape, dout.dtype)
    for r, c, p, q in np.ndindex(dout.shape):
        if cache.argmax[r, c, p, q] >= 0:
            y, z = divmod(int(cache.argmax[r, c, p, q]), dx.shape[3])
            dx[int(cache.rois[r, 0]), c, y, z] += dout[r, c, p, q]
    return dx, np.zeros_like(cache.rois)


def roi_pool_backward_bincount(dout, cache):
    N, C, H, W = cache.x_shape
    plane = cache.rois[:, 0].astype(np.int64)[:, None] * C + np.arange(C)                          # (R, C)
    where = plane[:, :, None, None] * H * W + cache.argmax
    held = cache.argmax >= 0
    total = np.bincount(where[held], weights=dout[held], minlength=N * C * H * W)
    return total.astype(dout.dtype).reshape(N, C, H, W), 0 * cache.rois


# ---- the joins of a pyramid

def top_down_forward_loops(*laterals):
    from numpyvision.ops import resize
    M, up = [None] * len(laterals), [None] * (len(laterals) - 1)
    M[-1] = laterals[-1] + 0
    for l in range(len(laterals) - 2, -1, -1):
        _, up[l] = resize.upsample_nearest_forward(M[l + 1], 2)
        M[l] = np.zeros_like(laterals[l])
        for n, c, y, x in np.ndindex(M[l].shape):
            M[l][n, c, y, x] = laterals[l][n, c, y, x] + M[l + 1][n, c, y // 2, x // 2]
    return tuple(M), Cache(up=up)


def top_down_forward_repeat(*laterals):
    up = [Cache(x_shape=c.shape, size=f.shape[2:]) for f, c in zip(laterals[:-1], laterals[1:], strict=True)]
    M = [laterals[-1].copy()]
    for lateral in laterals[-2::-1]:
        M.append(lateral + np.kron(M[-1], np.ones((2, 2), lateral.dtype)))
    return tuple(reversed(M)), Cache(up=up)


def top_down_backward_loops(dM, cache):
    dlaterals = [d.copy() for d in dM]
    for l in range(1, len(dM)):
        for n, c, y, x in np.ndindex(dlaterals[l - 1].shape):
            dlaterals[l][n, c, y // 2, x // 2] += dlaterals[l - 1][n, c, y, x]
    return tuple(dlaterals)


def top_down_backward_blocks(dM, cache):
    """Without recursion: lateral l collects blocks of 2^(l-k) x 2^(l-k) of every finer dM_k."""
    dlaterals = []
    for l, (N, C, H, W) in enumerate(d.shape for d in dM):
        dlaterals.append(sum(dM[k].reshape(N, C, H, 2 ** (l - k), W, 2 ** (l - k)).sum((3, 5)) for k in range(l + 1)))
    return tuple(dlaterals)


# ---- RoI Align

def align_samples(roi, output_size, scale, ratio, aligned):
    """(p, q, y, x, uy, ux, S): each sample's bin, position, share of the far side, and how many samples its bin has."""
    axes = []
    for bins, near, far in ((output_size[0], 2, 4), (output_size[1], 1, 3)):
        lo, hi = (float(roi[k]) * scale - (0.5 if aligned else 0) for k in (near, far))
        size = hi - lo if aligned else max(hi - lo, 1.0)
        count = ratio if ratio > 0 else max(math.ceil(size / bins), 0)
        u = [(b, (b + (s + 0.5) / count) / bins) for b in range(bins) for s in range(count)]
        axes.append((count, [(b, lo + f * size, f if aligned or hi - lo >= 1 else 0.0) for b, f in u]))
    (county, ys), (countx, xs) = axes
    return [(p, q, y, x, uy, ux, county * countx) for p, y, uy in ys for q, x, ux in xs]


def four_cells(y, x, H, W):
    """[(row, column, weight, slope along y, slope along x)] of the cells that a sample reads, or [] beyond the map."""
    if not (-1 <= y <= H and -1 <= x <= W):
        return []
    moves_y, moves_x = 0 <= y < H - 1, 0 <= x < W - 1
    y, x = min(max(y, 0), H - 1), min(max(x, 0), W - 1)
    i, j = int(y), int(x)
    fy, fx, below, right = y - i, x - j, min(i + 1, H - 1), min(j + 1, W - 1)
    return [(a, b, wy * wx, sy * wx * moves_y, wy * sx * moves_x) for a, wy, sy in ((i, 1 - fy, -1), (below, fy, 1))
            for b, wx, sx in ((j, 1 - fx, -1), (right, fx, 1))]


def roi_align_forward_loops(x, rois, output_size, spatial_scale, sampling_ratio=2, aligned=True, reduce="avg"):
    (P, Q), (N, C, H, W) = pair(output_size), x.shape
    out = np.zeros((len(rois), C, P, Q), x.dtype)
    for r, roi in enumerate(rois):
        for p, q, y, z, _, _, S in align_samples(roi, (P, Q), spatial_scale, sampling_ratio, aligned):
            for i, j, weight, _, _ in four_cells(y, z, H, W):
                out[r, :, p, q] += weight * x[int(roi[0]), :, i, j] / S
    return out, Cache(x=x, rois=rois, output_size=(P, Q), spatial_scale=float(spatial_scale), sampling_ratio=sampling_ratio,
                      aligned=aligned, reduce=reduce)


def gather_table(cache_or_x, rois, output_size, spatial_scale, sampling_ratio, aligned):
    """All samples of all RoIs as flat arrays: r, p, q, image, row, column (., 4), weight (., 4), slopes, shares, bin sizes."""
    H, W = cache_or_x.shape[2:]
    rows = [(r, *sample, cells) for r, roi in enumerate(rois) for sample in align_samples(roi, output_size, spatial_scale, sampling_ratio,
            aligned) for cells in [four_cells(sample[2], sample[3], H, W)] if cells]
    if not rows:
        return None
    r, p, q, _, _, uy, ux, S = (np.array(column) for column in list(zip(*rows, strict=True))[:8])
    cells = np.array([row[8] for row in rows])                                                     # (samples, 4, 5)
    return r, p, q, uy, ux, S, cells[..., 0].astype(int), cells[..., 1].astype(int), cells[..., 2], cells[..., 3], cells[..., 4]


def roi_align_forward_gather(x, rois, output_size, spatial_scale, sampling_ratio=2, aligned=True, reduce="avg"):
    output_size = pair(output_size)
    out = np.zeros((len(rois), x.shape[1], *output_size), x.dtype)
    table = gather_table(x, rois, output_size, spatial_scale, sampling_ratio, aligned)
    if table is not None:
        r, p, q, _, _, S, i, j, weight, _, _ = table
        image = rois[:, 0].astype(int)[r]
        values = np.einsum("skc,sk->sc", x[image[:, None], :, i, j], weight.astype(x.dtype)) / S[:, None].astype(x.dtype)
        np.add.at(out, (r, slice(None), p, q), values)
    return out, Cache(x=x, rois=rois, output_size=output_size, spatial_scale=float(spatial_scale), sampling_ratio=sampling_ratio,
                      aligned=aligned, reduce=reduce)


def align_settings(cache):
    return cache.output_size, cache.spatial_scale, cache.sampling_ratio, cache.aligned


def roi_align_dx_loops(dout, cache):
    dx = np.zeros_like(cache.x)
    for r, roi in enumerate(cache.rois):
        for p, q, y, z, _, _, S in align_samples(roi, *align_settings(cache)):
            for i, j, weight, _, _ in four_cells(y, z, *dx.shape[2:]):
                dx[int(roi[0]), :, i, j] += weight * dout[r, :, p, q] / S
    return dx


def roi_align_dx_scatter(dout, cache):
    dx, table = np.zeros_like(cache.x), gather_table(cache.x, cache.rois, *align_settings(cache))
    if table is not None:
        r, p, q, _, _, S, i, j, weight, _, _ = table
        image = cache.rois[:, 0].astype(int)[r]
        values = dout[r, :, p, q][:, None] * (weight / S[:, None]).astype(dout.dtype)[..., None]   # (samples, 4, C)
        np.add.at(dx, (image[:, None], slice(None), i, j), values)
    return dx


def roi_align_dbox_loops(dout, cache):
    drois = np.zeros_like(cache.rois)
    for r, roi in enumerate(cache.rois):
        for p, q, y, z, uy, ux, S in align_samples(roi, *align_settings(cache)):
            for i, j, _, slope_y, slope_x in four_cells(y, z, *cache.x.shape[2:]):
                g = (dout[r, :, p, q] * cache.x[int(roi[0]), :, i, j]).sum() / S * cache.spatial_scale
                drois[r, 1] += g * slope_x * (1 - ux)
                drois[r, 3] += g * slope_x * ux
                drois[r, 2] += g * slope_y * (1 - uy)
                drois[r, 4] += g * slope_y * uy
    return drois


def roi_align_dbox_gather(dout, cache):
    drois, table = np.zeros(cache.rois.shape), gather_table(cache.x, cache.rois, *align_settings(cache))
    if table is not None:
        r, p, q, uy, ux, S, i, j, _, slope_y, slope_x = table
        image = cache.rois[:, 0].astype(int)[r]
        g = np.einsum("skc,sc->sk", cache.x[image[:, None], :, i, j], dout[r, :, p, q]) / S[:, None] * cache.spatial_scale
        gy, gx = (g * slope_y).sum(1), (g * slope_x).sum(1)
        np.add.at(drois, r, np.stack([0 * gx, gx * (1 - ux), gy * (1 - uy), gx * ux, gy * uy], axis=1))
    return drois.astype(cache.rois.dtype)


# ---- resizing

def bed_of_nails_forward_loops(x, scale_factor=2):
    sy, sx = pair(scale_factor)
    N, C, H, W = x.shape
    out = np.zeros((N, C, sy * H, sx * W), x.dtype)
    for n, c, i, j in np.ndindex(x.shape):
        out[n, c, sy * i, sx * j] = x[n, c, i, j]
    return out, Cache(x_shape=x.shape, scale_factor=(sy, sx))


def bed_of_nails_forward_stack(x, scale_factor=2):
    sy, sx = pair(scale_factor)
    N, C, H, W = x.shape
    blocks = np.pad(x.reshape(N, C, H, 1, W, 1), ((0, 0), (0, 0), (0, 0), (0, sy - 1), (0, 0), (0, sx - 1)))
    return blocks.reshape(N, C, sy * H, sx * W), Cache(x_shape=x.shape, scale_factor=(sy, sx))


def bed_of_nails_backward_loops(dout, cache):
    dx, (sy, sx) = np.zeros(cache.x_shape, dout.dtype), cache.scale_factor
    for n, c, i, j in np.ndindex(dx.shape):
        dx[n, c, i, j] = dout[n, c, sy * i, sx * j]
    return dx


def bed_of_nails_backward_blocks(dout, cache):
    (N, C, H, W), (sy, sx) = cache.x_shape, cache.scale_factor
    return dout.reshape(N, C, H, sy, W, sx)[:, :, :, 0, :, 0].copy()


def size_of(x, scale_factor, size):
    sy, sx = pair(scale_factor or 2)
    return (sy * x.shape[2], sx * x.shape[3]) if size is None else pair(size)


def upsample_nearest_forward_loops(x, scale_factor=None, size=None):
    (H, W), (Ho, Wo) = x.shape[2:], size_of(x, scale_factor, size)
    out = np.zeros((*x.shape[:2], Ho, Wo), x.dtype)
    for n, c, r, q in np.ndindex(out.shape):
        out[n, c, r, q] = x[n, c, r * H // Ho, q * W // Wo]
    return out, Cache(x_shape=x.shape, size=(Ho, Wo))


def upsample_nearest_forward_take(x, scale_factor=None, size=None):
    size = size_of(x, scale_factor, size)
    rows, columns = ([q * n // m for q in range(m)] for n, m in zip(x.shape[2:], size, strict=True))
    return x.take(rows, axis=2).take(columns, axis=3), Cache(x_shape=x.shape, size=size)


def upsample_nearest_backward_loops(dout, cache):
    dx = np.zeros(cache.x_shape, dout.dtype)
    for n, c, r, q in np.ndindex(dout.shape):
        dx[n, c, r * dx.shape[2] // dout.shape[2], q * dx.shape[3] // dout.shape[3]] += dout[n, c, r, q]
    return dx


def upsample_nearest_backward_add_at(dout, cache):
    dx, (Ho, Wo) = np.zeros(cache.x_shape, dout.dtype), cache.size
    rows, columns = np.arange(Ho) * dx.shape[2] // Ho, np.arange(Wo) * dx.shape[3] // Wo
    np.add.at(dx, (slice(None), slice(None), rows[:, None], columns), dout)
    return dx


def sample_positions_loops(length, size, align_corners=False):
    places = []
    for q in range(size):
        if align_corners:
            places.append(q * (length - 1) / (size - 1) if size > 1 else 0.0)
        else:
            places.append((q + 0.5) * length / size - 0.5)
    return np.array(places, dtype=np.float64)


def sample_positions_linspace(length, size, align_corners=False):
    if align_corners:
        return np.linspace(0.0, length - 1, size)
    half = length / size / 2
    return np.linspace(half, length - half, size) - 0.5


def axis_weights_loops(length, size, bump, align_corners=False):
    weight = np.zeros((size, length))
    for q, place in enumerate(sample_positions_loops(length, size, align_corners)):
        for i in range(-2, length + 2):
            weight[q, min(max(i, 0), length - 1)] += bump(np.array([place - i]))[0]
    return weight


def axis_weights_scatter(length, size, bump, align_corners=False):
    places, cells = sample_positions_linspace(length, size, align_corners), np.arange(-2, length + 2)
    weight = np.zeros((size, length))
    held = np.broadcast_to(np.clip(cells, 0, length - 1), (size, length + 4))
    np.add.at(weight, (np.arange(size)[:, None], held), bump(places[:, None] - cells))
    return weight


def bilinear_neighbours(length, size, align_corners):
    """For each output: the cell before, the cell after, and how far it is on the way, all held inside."""
    found = []
    for place in sample_positions_loops(length, size, align_corners):
        place = min(max(place, 0.0), length - 1.0)
        i = min(int(place), length - 1)
        found.append((i, min(i + 1, length - 1), place - i))
    return found


def upsample_bilinear_forward_loops(x, scale_factor=None, size=None, align_corners=False):
    Ho, Wo = size_of(x, scale_factor, size)
    out = np.zeros((*x.shape[:2], Ho, Wo), x.dtype)
    for r, (i, below, fy) in enumerate(bilinear_neighbours(x.shape[2], Ho, align_corners)):
        for q, (j, right, fx) in enumerate(bilinear_neighbours(x.shape[3], Wo, align_corners)):
            upper = (1 - fx) * x[:, :, i, j] + fx * x[:, :, i, right]
            lower = (1 - fx) * x[:, :, below, j] + fx * x[:, :, below, right]
            out[:, :, r, q] = (1 - fy) * upper + fy * lower
    return out, Cache(x_shape=x.shape, size=(Ho, Wo), align_corners=align_corners)


def upsample_bilinear_forward_gather(x, scale_factor=None, size=None, align_corners=False):
    size = size_of(x, scale_factor, size)
    (i, below, fy), (j, right, fx) = (map(np.array, zip(*bilinear_neighbours(n, m, align_corners), strict=True))
                                      for n, m in zip(x.shape[2:], size, strict=True))
    fy, fx = fy.astype(x.dtype)[:, None], fx.astype(x.dtype)
    rows = x[:, :, i] * (1 - fy) + x[:, :, below] * fy
    return rows[..., j] * (1 - fx) + rows[..., right] * fx, Cache(x_shape=x.shape, size=size, align_corners=align_corners)


def upsample_bilinear_backward_loops(dout, cache):
    dx, (Ho, Wo) = np.zeros(cache.x_shape, dout.dtype), cache.size
    for r, (i, below, fy) in enumerate(bilinear_neighbours(dx.shape[2], Ho, cache.align_corners)):
        for q, (j, right, fx) in enumerate(bilinear_neighbours(dx.shape[3], Wo, cache.align_corners)):
            g = dout[:, :, r, q]
            dx[:, :, i, j] += (1 - fy) * (1 - fx) * g
            dx[:, :, i, right] += (1 - fy) * fx * g
            dx[:, :, below, j] += fy * (1 - fx) * g
            dx[:, :, below, right] += fy * fx * g
    return dx


def upsample_bilinear_backward_matrices(dout, cache):
    weights = [axis_weights_scatter(n, m, lambda d: np.clip(1 - np.abs(d), 0, None), cache.align_corners).astype(dout.dtype)
               for n, m in zip(cache.x_shape[2:], cache.size, strict=True)]
    return np.einsum("ncrq,ri,qj->ncij", dout, *weights)


def keys_loops(d, a=-0.75):
    out = np.zeros_like(d)
    for index in np.ndindex(d.shape):
        t = abs(d[index])
        if t <= 1:
            out[index] = (a + 2) * t ** 3 - (a + 3) * t ** 2 + 1
        elif t < 2:
            out[index] = a * (t ** 3 - 5 * t ** 2 + 8 * t - 4)
    return out


def keys_factored(d, a=-0.75):
    t = np.minimum(np.abs(d), 2)
    inner = (t - 1) * (((a + 2) * t - 1) * t - 1)                      # the same cubics by their roots: 1, and 1, 2, 2
    return np.where(t <= 1, inner, a * (t - 1) * (t - 2) ** 2)


def upsample_bicubic_forward_loops(x, scale_factor=None, size=None, align_corners=False, a=-0.75):
    (H, W), (Ho, Wo) = x.shape[2:], size_of(x, scale_factor, size)
    out = np.zeros((*x.shape[:2], Ho, Wo), x.dtype)
    ys, xs = sample_positions_loops(H, Ho, align_corners), sample_positions_loops(W, Wo, align_corners)
    for r, q in np.ndindex(Ho, Wo):
        for i in range(int(np.floor(ys[r])) - 1, int(np.floor(ys[r])) + 3):
            for j in range(int(np.floor(xs[q])) - 1, int(np.floor(xs[q])) + 3):
                weight = keys_loops(np.array([ys[r] - i, xs[q] - j]), a).prod()
                out[:, :, r, q] += weight * x[:, :, min(max(i, 0), H - 1), min(max(j, 0), W - 1)]
    return out, Cache(x_shape=x.shape, size=(Ho, Wo), align_corners=align_corners, a=a)


def upsample_bicubic_forward_matrices(x, scale_factor=None, size=None, align_corners=False, a=-0.75):
    size = size_of(x, scale_factor, size)
    weights = [axis_weights_scatter(n, m, lambda d: keys_factored(d, a), align_corners).astype(x.dtype)
               for n, m in zip(x.shape[2:], size, strict=True)]
    return np.einsum("ncij,ri,qj->ncrq", x, *weights), Cache(x_shape=x.shape, size=size, align_corners=align_corners, a=a)


SOLUTIONS = {
    "max_pool2d_forward": (max_pool2d_forward_loops, max_pool2d_forward_strides),
    "max_pool2d_backward": (max_pool2d_backward_loops, max_pool2d_backward_bincount),
    "max_unpool2d_forward": (max_unpool2d_forward_loops, max_unpool2d_forward_put),
    "max_unpool2d_backward": (max_unpool2d_backward_loops, max_unpool2d_backward_owner),
    "avg_pool2d_forward": (avg_pool2d_forward_loops, avg_pool2d_forward_strides),
    "avg_pool2d_backward": (avg_pool2d_backward_loops, avg_pool2d_backward_matrices),
    "roi_pool_forward": (roi_pool_forward_loops, roi_pool_forward_slices),
    "roi_pool_backward": (roi_pool_backward_loops, roi_pool_backward_bincount),
    "top_down_forward": (top_down_forward_loops, top_down_forward_repeat),
    "top_down_backward": (top_down_backward_loops, top_down_backward_blocks),
    "roi_align_forward": (roi_align_forward_loops, roi_align_forward_gather),
    "roi_align_dx": (roi_align_dx_loops, roi_align_dx_scatter),
    "roi_align_dbox": (roi_align_dbox_loops, roi_align_dbox_gather),
    "bed_of_nails_forward": (bed_of_nails_forward_loops, bed_of_nails_forward_stack),
    "bed_of_nails_backward": (bed_of_nails_backward_loops, bed_of_nails_backward_blocks),
    "upsample_nearest_forward": (upsample_nearest_forward_loops, upsample_nearest_forward_take),
    "upsample_nearest_backward": (upsample_nearest_backward_loops, upsample_nearest_backward_add_at),
    "sample_positions": (sample_positions_loops, sample_positions_linspace),
    "axis_weights": (axis_weights_loops, axis_weights_scatter),
    "upsample_bilinear_forward": (upsample_bilinear_forward_loops, upsample_bilinear_forward_gather),
    "upsample_bilinear_backward": (upsample_bilinear_backward_loops, upsample_bilinear_backward_matrices),
    "keys": (keys_loops, keys_factored),
    "upsample_bicubic_forward": (upsample_bicubic_forward_loops, upsample_bicubic_forward_matrices),
}
