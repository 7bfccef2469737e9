"""RoI Align as plain loops over samples.

Samples arrive as positions (ops/roi.py computes them once for both bodies). One bin reads one axis through a few *taps*: pairs (cell,
weight). A sample has two taps, its neighbours; samples that share a cell are merged into one, which small RoIs do a lot.

Channels come last inside: then every tap is one multiply-add of a whole vector of channels, and nothing is gathered. Only the rows of x
that some RoI touches are turned. Backward to x works on a few channels of one image at a time, all its RoIs in order, so that no two
threads ever write to the same place; forward and the box gradient go RoI by RoI.

Shapes here: N C H W of x, R RoIs, P Q output size, S samples a bin, T taps a bin (even).
"""
import numba
import numpy as np

from numpyvision.kernels.jit import jit, jit_inner, jit_parallel

CHANNELS = 32      # of one image that backward treats together: two to four vector registers, and a slice of dx that fits the cache


@jit_inner
def find_taps(v, count, length, cell, weight, taps):
    """v (bins, S), of which the first `count` hold -> taps[p] pairs cell[p, k], weight[p, k]; returns the range of cells [lo, hi)."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    lo, hi = length, 0
    for p in range(len(v)):
        T = 0
        for s in range(count):
            inside = v[p, s] >= -one and v[p, s] <= length
            share = one / v.dtype.type(count) if inside else zero
            y = min(max(v[p, s], zero), v.dtype.type(length - 1))
            i = int(y)
            right = (y - v.dtype.type(i)) * share
            if T > 0 and i == cell[p, T - 2]:                              # the same two neighbours as the sample before
                weight[p, T - 2] += share - right
                weight[p, T - 1] += right
            else:
                cell[p, T], weight[p, T] = i, share - right
                cell[p, T + 1], weight[p, T + 1] = min(i + 1, length - 1), right
                T += 2
            lo, hi = min(lo, i), max(hi, min(i + 2, length))
        if T == 0:                                                         # no sample at all: one pair of weight zero
            cell[p, 0], cell[p, 1], weight[p, 0], weight[p, 1] = 0, 0, zero, zero
            T, lo, hi = 2, 0, max(hi, 1)
        taps[p] = T
    return lo, hi


@jit
def touched_rows(batch, vy, count, N, H):
    """Range of rows [lo, hi) that the RoIs of each image read -> (N, 2)."""
    rows = np.empty((N, 2), np.int64)
    rows[:, 0], rows[:, 1] = H, 0
    for r in range(len(batch)):
        n = batch[r]
        for p in range(vy.shape[1]):
            for s in range(count[r]):
                i = int(min(max(vy[r, p, s], vy.dtype.type(0)), vy.dtype.type(H - 1)))
                rows[n, 0], rows[n, 1] = min(rows[n, 0], i), max(rows[n, 1], min(i + 2, H))
        if count[r] == 0:
            rows[n, 0], rows[n, 1] = 0, max(rows[n, 1], 1)
    return rows


@jit_parallel
def channels_last(x, rows):
    """x (N, C, H, W) -> (N, H, W, C), of which only the given rows of each image are filled in."""
    N, C, H, W = x.shape
    out = np.empty((N, H, W, C), x.dtype)
    for t in numba.prange(N * H):
        n, i = t // H, t % H
        if rows[n, 0] <= i < rows[n, 1]:
            for j in range(W):
                for c in range(C):
                    out[n, i, j, c] = x[n, c, i, j]
    return out


@jit_inner
def two_rows(a, wa, b, wb, first, out):
    """out = wa a + wb b, or out += that, over whole rows of cells (cells, C)."""
    a, b, out = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    if first:
        for k in range(len(out)):
            out[k] = wa * a[k] + wb * b[k]
    else:
        for k in range(len(out)):
            out[k] += wa * a[k] + wb * b[k]


@jit_inner
def two_cells(row, a, wa, b, wb, first, bins, m):
    """bins[m] = wa row[a] + wb row[b], or bins[m] += that, over channels: numbers of whole arrays, for the reason given in `row_slopes`."""
    if first:
        for c in range(bins.shape[1]):
            bins[m, c] = wa * row[a, c] + wb * row[b, c]
    else:
        for c in range(bins.shape[1]):
            bins[m, c] += wa * row[a, c] + wb * row[b, c]


@jit_inner
def add_scaled(out, w, a):
    """out += w a."""
    for k in range(len(out)):
        out[k] += w * a[k]


@jit_parallel
def crop(x, batch, vy, county, vx, countx):
    """x (N, H, W, C) channels last -> out (R, C, P, Q)."""
    N, H, W, C = x.shape
    R, P, Q = len(batch), vy.shape[1], vx.shape[1]
    out = np.empty((R, C, P, Q), x.dtype)
    for r in numba.prange(R):
        Ty, Tx = 2 * max(county[r], 1), 2 * max(countx[r], 1)
        celly, wy, tapsy = np.empty((P, Ty), np.int64), np.empty((P, Ty), x.dtype), np.empty(P, np.int64)
        cellx, wx, tapsx = np.empty((Q, Tx), np.int64), np.empty((Q, Tx), x.dtype), np.empty(Q, np.int64)
        find_taps(vy[r], county[r], H, celly, wy, tapsy)
        lo, hi = find_taps(vx[r], countx[r], W, cellx, wx, tapsx)
        image, row, bins = x[batch[r]], np.empty((hi - lo, C), x.dtype), np.empty((P * Q, C), x.dtype)
        for p in range(P):
            for k in range(0, tapsy[p], 2):                                # down the columns: Wy @ x
                above, below = image[celly[p, k], lo:hi], image[celly[p, k + 1], lo:hi]
                two_rows(above, wy[p, k], below, wy[p, k + 1], k == 0, row)
            for q in range(Q):
                for k in range(0, tapsx[q], 2):                            # along the row: @ Wx^T
                    two_cells(row, cellx[q, k] - lo, wx[q, k], cellx[q, k + 1] - lo, wx[q, k + 1], k == 0, bins, p * Q + q)
        crops = out[r].reshape(C, P * Q)
        for c in range(C):
            for m in range(P * Q):
                crops[c, m] = bins[m, c]
    return out


@jit_parallel
def spread(dout, batch, vy, county, vx, countx, rows, dx):
    """dout (R, C, P, Q) -> dx (N, C, H, W), which comes as zeros: every bin's gradient to the cells it read."""
    R, C, P, Q = dout.shape
    N, _, H, W = dx.shape
    chunks = (C + CHANNELS - 1) // CHANNELS
    Ty, Tx = 2 * max(vy.shape[2], 1), 2 * max(vx.shape[2], 1)
    for t in numba.prange(N * chunks):
        n, first = t // chunks, t % chunks * CHANNELS
        D, top = min(CHANNELS, C - first), rows[n, 0]
        celly, wy, tapsy = np.empty((P, Ty), np.int64), np.empty((P, Ty), dx.dtype), np.empty(P, np.int64)
        cellx, wx, tapsx = np.empty((Q, Tx), np.int64), np.empty((Q, Tx), dx.dtype), np.empty(Q, np.int64)
        image = np.zeros((max(rows[n, 1] - top, 0), W * D), dx.dtype)
        row, bin_ = np.empty(W * D, dx.dtype), np.empty(D, dx.dtype)
        for r in range(R):
            if batch[r] == n:
                find_taps(vy[r], county[r], H, celly, wy, tapsy)
                lo, hi = find_taps(vx[r], countx[r], W, cellx, wx, tapsx)
                for p in range(P):
                    row[lo * D:hi * D] = 0
                    for q in range(Q):
                        for c in range(D):
                            bin_[c] = dout[r, first + c, p, q]
                        for k in range(tapsx[q]):
                            add_scaled(row[cellx[q, k] * D:(cellx[q, k] + 1) * D], wx[q, k], bin_)
                    for k in range(tapsy[p]):
                        add_scaled(image[celly[p, k] - top, lo * D:hi * D], wy[p, k], row[lo * D:hi * D])
        for i in range(len(image)):
            for c in range(D):
                for j in range(W):
                    dx[n, first + c, top + i, j] = image[i, j * D + c]


@jit_inner
def row_slopes(g, image, y, vx, slope_y, slopes_x):
    """The samples of a row of bins that lie at height y and at vx (Q, S): add their slopes to slope_y (C,) and slopes_x (Q, S, C).

    g (Q, C): the bins' gradients; image (H, W, C). The channels stay apart, so that the loops run along vectors; and every number has all
    its indices, because a view such as image[i, j] would be made, and counted, for every sample, which costs more than the arithmetic.
    """
    H, W, C = image.shape
    zero, one = g.dtype.type(0), g.dtype.type(1)
    if not (y >= -one and y <= H):                                                     # the samples are 0 here and all around
        return
    moves_y, y = y >= zero and y < H - 1, min(max(y, zero), g.dtype.type(H - 1))       # clamped: the samples stay where they are
    i = int(y)
    below, fy = min(i + 1, H - 1), y - g.dtype.type(i)
    for q in range(vx.shape[0]):
        for t in range(vx.shape[1]):
            x = vx[q, t]
            moves_x, inside = x >= zero and x < W - 1, x >= -one and x <= W
            x = min(max(x, zero), g.dtype.type(W - 1))
            j = int(x)
            right, fx = min(j + 1, W - 1), x - g.dtype.type(j)
            if inside and moves_y:                                                     # L16-A05
                for c in range(C):
                    slope_y[c] += g[q, c] * ((one - fx) * (image[below, j, c] - image[i, j, c])
                                             + fx * (image[below, right, c] - image[i, right, c]))
            if moves_x:
                for c in range(C):
                    slopes_x[q, t, c] += g[q, c] * ((one - fy) * (image[i, right, c] - image[i, j, c])
                                                    + fy * (image[below, right, c] - image[below, j, c]))


@jit_inner
def share_sides(slope, u, near, far):
    """A sample at the share u of the way from a box's near to its far side follows both: near += (1 - u) slope, far += u slope."""
    for c in range(len(slope)):
        near[c] += (slope.dtype.type(1) - u) * slope[c]
        far[c] += u * slope[c]


@jit_parallel
def move(dout, x, batch, vy, uy, county, vx, ux, countx):
    """dout (R, C, P, Q), x (N, H, W, C) -> gradient to (y1, y2, x1, x2) of every RoI in cells, (4, R)."""
    R, C, P, Q = dout.shape
    out = np.zeros((4, R), x.dtype)
    for r in numba.prange(R):
        ky, kx, image = county[r], countx[r], x[batch[r]]
        bins, sides = np.empty((P, Q, C), x.dtype), np.zeros((4, C), x.dtype)
        slope_y, slopes_x = np.empty(C, x.dtype), np.zeros((Q, kx, C), x.dtype)
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    bins[p, q, c] = dout[r, c, p, q]
        for p in range(P):
            for s in range(ky):
                slope_y[:] = 0
                row_slopes(bins[p], image, vy[r, p, s], vx[r, :, :kx], slope_y, slopes_x)
                share_sides(slope_y, uy[r, p, s], sides[0], sides[1])
        for q in range(Q):
            for t in range(kx):
                share_sides(slopes_x[q, t], ux[r, q, t], sides[2], sides[3])
        for k in range(4):
            out[k, r] = sides[k].sum() / x.dtype.type(max(ky * kx, 1))                 # the mean over a bin's samples
    return out


def roi_align(x, batch, vy, county, vx, countx):
    """x (N, C, H, W), samples of ops.roi.sample_points -> (R, C, P, Q)."""
    rows = touched_rows(batch, vy, county, x.shape[0], x.shape[2])
    return crop(channels_last(x, rows), batch, vy, county, vx, countx)


def roi_align_dx(dout, batch, vy, county, vx, countx, x_shape):
    """dout (R, C, P, Q) -> dx (N, C, H, W)."""
    dx = np.zeros(x_shape, dout.dtype)
    spread(dout, batch, vy, county, vx, countx, touched_rows(batch, vy, county, x_shape[0], x_shape[2]), dx)
    return dx


def roi_align_dbox(dout, x, batch, vy, uy, county, vx, ux, countx):
    """dout (R, C, P, Q), x (N, C, H, W) -> gradients to y1, y2, x1, x2 in cells, (4, R)."""
    rows = touched_rows(batch, vy, county, x.shape[0], x.shape[2])
    return move(dout, channels_last(x, rows), batch, vy, uy, county, vx, ux, countx)
