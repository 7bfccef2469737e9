"""Convolution without a column buffer: forward, dx and dw from one idea.

Lay the padded image out as one long row of numbers. Then the pixel that tap (c, i, j) of the filter reads, for the output at row r and
column q, stands at a fixed distance from it:

    out[f, r, q] = b[f] + sum over t of w[f, t] * x[offset[t] + r*width + q]           t = (c, i, j),  offset[t] = (c*Hp + i)*Wp + j

so a whole run of outputs is a sum of shifted runs of inputs, and no pixel is copied nine times as im2col does. (The few outputs whose run
crosses the end of a row are computed too and thrown away.) With stride s the padded image is first split into s*s smaller ones, "phases",
that hold every s-th row and column; within a phase the taps are again a fixed distance away.

    forward  the sum above
    dx       the same sum over dout, with the filter turned by 180 degrees, once for each phase of x
    dw       dw[f, t] = sum over r, q of dout[f, r, q] * x[offset[t] + r*width + q]

3x3 filters at stride 1 in float32, most of a network, are handed on to `winograd.py`.

Shapes here: N images, C and F channels in and out, G groups, T = C/G * kh * kw taps, P numbers in a padded plane.
"""
from functools import lru_cache

import numpy as np
from numba import prange

from numpyvision.kernels import vector, winograd
from numpyvision.kernels.jit import jit_parallel

ROWS, TAPS, REGISTERS = vector.ROWS, vector.TAPS, vector.REGISTERS
multiply_tile, correlate_tile = vector.multiply_tile, vector.correlate_tile
RUN = 1024              # pixels that correlate_tile sums in one go: four channels of them stay in the first-level cache


def conv2d(x, w, b, stride, padding, dilation, groups):
    """(N, C, H, W), (F, C/G, kh, kw), (F,) or None -> (N, F, Ho, Wo)."""
    if winograd.suits(x, w.shape, stride, padding, dilation, groups) and winograd.pays_forward(x, w.shape, padding):
        return winograd.conv2d(x, w, b, padding)
    (N, C, H, W), (F, _, kh, kw) = x.shape, w.shape
    Ho, Wo = (_out_size(size, k, s, p, d) for size, k, s, p, d in zip((H, W), (kh, kw), stride, padding, dilation, strict=True))
    out = np.empty((N, F, Ho, Wo), x.dtype)
    if out.size:
        planes, width, offsets = _read_plan(x, w.shape, stride, padding, dilation, groups, Ho)
        bias = np.zeros(F, x.dtype) if b is None else b
        _sum_of_runs(planes, w.reshape(F, -1), bias, offsets, groups, width, out, Ho, Wo, 0, 0, 1, 1)
    return out


def conv2d_dx(dout, w, x_shape, stride, padding, dilation, groups):
    """Gradient to x: dx[y] collects w[i] * dout[(y + p - i*d) / s] over the taps i for which that is a whole number."""
    if winograd.suits(dout, w.shape, stride, padding, dilation, groups):
        return winograd.conv2d_dx(dout, w, padding)
    (N, C, H, W), (F, Cg, kh, kw) = x_shape, w.shape
    if (kh, kw, groups) == (1, 1, 1) and stride == (1, 1) and padding == (0, 0):
        return conv2d(dout, np.ascontiguousarray(w.swapaxes(0, 1)), None, stride, padding, dilation, groups)      # dx = w.T @ dout
    dx = np.empty(x_shape, dout.dtype)
    if not dx.size:
        return dx
    by_input = w.reshape(groups, F // groups, Cg, kh, kw).swapaxes(1, 2).reshape(C, F // groups, kh, kw)       # (C, F/G, kh, kw)
    rows = _phase_taps(H, kh, stride[0], padding[0], dilation[0])
    cols = _phase_taps(W, kw, stride[1], padding[1], dilation[1])
    Ho, Wo = dout.shape[2:]
    top, bottom = _margins(rows, Ho)
    left, right = _margins(cols, Wo)
    planes, width = _padded_phases(dout, (1, 1), top, left, Ho + top + bottom, Wo + left + right, ((0, 0),))
    P, bias = planes.shape[2], np.zeros(C, dout.dtype)
    for y0, ny, taps_y in rows:
        for x0, nx, taps_x in cols:
            wp = by_input[:, :, [i for i, _ in taps_y]][:, :, :, [j for j, _ in taps_x]].reshape(C, -1)          # (C, F/G * taps)
            offsets = np.array([f * P + (oy + top) * width + ox + left
                                for f in range(F // groups) for _, oy in taps_y for _, ox in taps_x], np.int64)
            _sum_of_runs(planes, wp, bias, offsets, groups, width, dx, ny, nx, y0, x0, *stride)
    return dx


def conv2d_dw(dout, x, w_shape, stride, padding, dilation, groups):
    """Gradient to w: for each tap, the inner product of dout with the run of x that the tap reads."""
    if winograd.suits(x, w_shape, stride, padding, dilation, groups):
        return winograd.conv2d_dw(dout, x, padding)
    (N, F, Ho, Wo), T = dout.shape, int(np.prod(w_shape[1:]))
    dw = np.zeros((F, T), x.dtype)
    if dout.size and dw.size:
        planes, width, offsets = _read_plan(x, w_shape, stride, padding, dilation, groups, Ho)
        if width == Wo:
            runs = dout.reshape(N, F, Ho * Wo)
        else:                                    # lay dout's rows as far apart as x's, zeros between: the thrown-away outputs count nothing
            runs = _padded_phases(dout, (1, 1), 0, 0, Ho, width, ((0, 0),))[0]
        _inner_products(runs, planes, offsets, groups, (Ho - 1) * width + Wo, dw)
    return dw.reshape(w_shape)


@jit_parallel
def conv2d_db(dout):
    """Gradient to b: dout summed over images and pixels. (N, F, Ho*Wo) -> (F,)."""
    N, F, P = dout.shape
    db = np.zeros(F, dout.dtype)
    for f in prange(F):
        for n in range(N):
            run, total = dout[n, f], dout.dtype.type(0)
            for i in range(P):
                total += run[i]
            db[f] += total
    return db


def _out_size(size, k, s, p, d):
    return (size + 2 * p - d * (k - 1) - 1) // s + 1


def _phase_taps(size, k, s, p, d):
    """For one axis of dx, per phase that exists: (first index, how many, [(tap, where in dout it starts to read)])."""
    phases = []
    for y0 in range(min(s, size)):
        taps = [(i, (y0 + p - i * d) // s) for i in range(k) if (y0 + p - i * d) % s == 0]
        phases.append((y0, -(-(size - y0) // s), taps))
    return phases


def _margins(phases, size):
    """Zeros that dout needs before and behind, so that every tap of every phase reads inside."""
    before = max([0] + [-start for _, _, taps in phases for _, start in taps])
    behind = max([0] + [start + count - size for _, count, taps in phases for _, start in taps])
    return before, behind


def _read_plan(x, w_shape, stride, padding, dilation, groups, Ho):
    """The padded phases of x (N, C, P), their row width, and the offset of each tap (T,)."""
    (N, C, H, W), (F, Cg, kh, kw) = x.shape, w_shape
    if (kh, kw) == (1, 1) and padding == (0, 0) and stride == (1, 1) and H * W >= REGISTERS * vector.lanes(x.dtype):
        return x.reshape(N, C, H * W), W, _tap_offsets(Cg, 1, 1, (1, 1), (1, 1), W, H * W, 0)       # nothing to pad: read x itself
    phases = tuple(dict.fromkeys((i * dilation[0] % stride[0], j * dilation[1] % stride[1]) for i in range(kh) for j in range(kw)))
    Hp, Wp = H + 2 * padding[0], W + 2 * padding[1]
    planes, width = _padded_phases(x, stride, padding[0], padding[1], Hp, Wp, phases)
    phase_size = -(-Hp // stride[0]) * width
    return planes, width, _tap_offsets(Cg, kh, kw, stride, dilation, width, planes.shape[2], phase_size)


@lru_cache(maxsize=256)
def _tap_offsets(C, kh, kw, stride, dilation, width, plane, phase_size):
    phases = {}
    offsets = np.empty((C, kh, kw), np.int64)
    for i in range(kh):
        for j in range(kw):
            (y, py), (x, px) = divmod(i * dilation[0], stride[0]), divmod(j * dilation[1], stride[1])
            number = phases.setdefault((py, px), len(phases))
            offsets[:, i, j] = number * phase_size + y * width + x + np.arange(C) * plane
    return offsets.ravel()


def _padded_phases(x, stride, top, left, Hp, Wp, phases):
    """Copy x into zeros, `top` rows down and `left` columns in, each phase as one flat run; returns (N, C, P) and the row width."""
    N, C = x.shape[:2]
    height, width = -(-Hp // stride[0]), -(-Wp // stride[1])
    slack = REGISTERS * vector.lanes(x.dtype)                    # the last tile of a plane may read, and discard, this much beyond it
    planes = np.empty((N, C, len(phases) * height * width + slack), x.dtype)
    _copy_phases(x, planes, np.array(phases, np.int64), *stride, top, left, height, width)
    return planes, width


@jit_parallel
def _copy_phases(x, planes, phases, sy, sx, top, left, height, width):
    N, C, H, W = x.shape
    zero = x.dtype.type(0)
    for nc in prange(N * C):
        image, plane = x[nc // C, nc % C], planes[nc // C, nc % C]
        plane[len(phases) * height * width:] = zero
        for p in range(len(phases)):
            py, px = phases[p]
            lo = max(0, -((px - left) // sx))                    # first column whose source px - left + q*sx is inside
            hi = max(lo, min(width, (W - 1 - px + left) // sx + 1))
            for r in range(height):
                y = r * sy + py - top
                target = plane[(p * height + r) * width:(p * height + r + 1) * width]
                if y < 0 or y >= H:
                    target[:] = zero
                    continue
                target[:lo] = zero
                target[hi:] = zero
                row, first = image[y], px - left
                if sx == 1:
                    target[lo:hi] = row[lo + first:hi + first]
                else:
                    for q in range(lo, hi):
                        target[q] = row[first + q * sx]


def _sum_of_runs(planes, w, bias, offsets, groups, width, out, rows, cols, y0, x0, sy, sx):
    """out[:, :, y0::sy, x0::sx] (rows x cols of it) = bias + sum over taps of w (F, T) times the runs at `offsets` of each group."""
    F, T = w.shape
    per_group = F // groups
    blocks = -(-per_group // ROWS)
    packed = np.zeros((groups, blocks * ROWS, T), w.dtype)                   # channels filled up to whole tiles with zeros
    packed[:, :per_group] = w.reshape(groups, per_group, T)
    packed = np.ascontiguousarray(packed.reshape(groups * blocks, ROWS, T).swapaxes(1, 2))      # (blocks, T, ROWS): as a tile reads them
    biases = np.zeros((groups, blocks * ROWS), w.dtype)
    biases[:, :per_group] = bias.reshape(groups, per_group)
    _sum_of_runs_loop(planes, packed.reshape(-1), biases.reshape(-1), offsets, groups, blocks, width, out, rows, cols, y0, x0, sy, sx,
                      REGISTERS * vector.lanes(w.dtype))


@jit_parallel
def _sum_of_runs_loop(planes, weights, bias, offsets, groups, blocks, width, out, rows, cols, y0, x0, sy, sx, tile):
    N, C, P = planes.shape
    F, T = out.shape[1], len(offsets)
    per_group, length = F // groups, (rows - 1) * width + cols
    flat = planes.reshape(-1)
    for task in prange(N * groups * blocks):                                 # one image, one group, ROWS output channels
        n, gb = task // (groups * blocks), task % (groups * blocks)
        g, block = gb // blocks, gb % blocks
        start = (n * C + g * (C // groups)) * P
        runs = np.empty(ROWS * (length + tile), planes.dtype)
        row = length + tile
        q = 0
        while q < length:
            at = q if length < tile else min(q, length - tile)               # the last tile steps back, so as not to read beyond the end
            multiply_tile(weights, gb * T * ROWS, flat, start + at, offsets, bias, gb * ROWS, runs, at, row)
            q += tile
        for m in range(min(ROWS, per_group - block * ROWS)):
            channel = out[n, g * per_group + block * ROWS + m]
            for r in range(rows):
                source, target = runs[m * row + r * width:m * row + r * width + cols], channel[y0 + r * sy]
                if sx == 1:
                    target[x0:x0 + cols] = source
                else:
                    for q in range(cols):
                        target[x0 + q * sx] = source[q]


def _inner_products(runs, planes, offsets, groups, length, dw):
    """dw (F, T) += sum over images of <runs of dout, runs of x at the offsets>, group by group."""
    F, T = dw.shape
    pad = -T % TAPS
    offsets = np.concatenate([offsets, np.repeat(offsets[-1:], pad)])        # fill up to whole tiles; the extra sums are cut off below
    lanes = vector.lanes(dw.dtype)
    N, _, P = runs.shape
    per_group = F // groups
    rows = -(-per_group // TAPS) * TAPS
    sums = np.zeros((groups, rows, T + pad), dw.dtype)
    chunks = max(1, min((T + pad) // TAPS, 16 * TAPS // rows))               # few channels: share out the taps, so that no thread idles
    _inner_products_loop(runs.reshape(-1), planes.reshape(-1), offsets, sums, N, F, P, *planes.shape[1:], length, chunks, lanes)
    dw += sums[:, :per_group, :T].reshape(F, T)


@jit_parallel
def _inner_products_loop(d, x, offsets, sums, N, F, Pd, C, Px, length, chunks, lanes):
    groups, rows, T = sums.shape
    per_group, tiles = F // groups, T // TAPS
    flat = sums.reshape(-1)
    blocks = rows // TAPS
    for task in prange(groups * blocks * chunks):                            # TAPS channels of one group, a share of the taps
        g, block, chunk = task // (blocks * chunks), task // chunks % blocks, task % chunks
        f = g * per_group + block * TAPS
        real = min(TAPS, per_group - block * TAPS)
        row = np.empty(TAPS * RUN, d.dtype)
        for n in range(N):
            for q in range(0, length, RUN):
                count = min(RUN, length - q)
                whole = -(-count // lanes)
                row[:] = 0                                                   # behind the end of the run: zeros, whatever x holds there
                for m in range(real):
                    source = ((n * F) + f + m) * Pd + q
                    row[m * RUN:m * RUN + count] = d[source:source + count]
                inside = n * C * Px + g * (C // groups) * Px + q
                for tile in range(tiles * chunk // chunks, tiles * (chunk + 1) // chunks):
                    t0 = tile * TAPS
                    safe = whole
                    last = inside + max(max(offsets[t0], offsets[t0 + 1]), max(offsets[t0 + 2], offsets[t0 + 3]))
                    if last + whole * lanes > len(x):                        # the very end of x: the last register by single steps
                        safe = (len(x) - last) // lanes
                        for m in range(TAPS):
                            for t in range(TAPS):
                                total = d.dtype.type(0)
                                for j in range(safe * lanes, count):
                                    total += row[m * RUN + j] * x[inside + offsets[t0 + t] + j]
                                flat[(g * rows + block * TAPS + m) * T + t0 + t] += total
                    correlate_tile(row, 0, RUN, x, inside, offsets, t0, safe, flat, (g * rows + block * TAPS) * T + t0, T)
