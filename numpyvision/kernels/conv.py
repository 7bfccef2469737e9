"""Convolution without a column buffer: forward, dx and dw from one idea.

Lay the padded image out as one long row of numbers. Then the pixel that tap (c, i, j) of the filter reads, for the output at row r and
column q, stands at a fixed distance from it:

    out[f, r, q] = b[f] + sum over t of w[f, t] * x[offset[t] + r*width + q]           t = (c, i, j),  offset[t] = (c*Hp + i)*Wp + j

so a whole run of outputs is a sum of shifted runs of inputs, and no pixel is copied nine times as im2col does. (The few outputs whose run
crosses the end of a row are computed too and thrown away.) With stride s the padded image is first split into s*s smaller ones, "phases",
that hold every s-th row and column; within a phase the taps are again a fixed distance away.

    forward  the sum above
    dx       the same sum over dout, with the filter turned by 180 degrees, for each phase of x; those that read the same places as one
    dw       dw[f, t] = sum over r, q of dout[f, r, q] * x[offset[t] + r*width + q]

3x3 filters at stride 1 in float32, most of a network, are handed on to `winograd.py`; dw of filters as wide as registers to
`product_wide.py`.

Shapes here: N images, C and F channels in and out, G groups, T = C/G * kh * kw taps, P numbers in a padded plane.
"""
from functools import lru_cache

import numpy as np
from numba import prange

from numpyvision.kernels import product, product_dw, product_wide, vector, winograd
from numpyvision.kernels.elementwise import LANES as SUM_LANES
from numpyvision.kernels.elementwise import SMALL, add_up
from numpyvision.kernels.jit import alone_below, jit, jit_parallel
from numpyvision.kernels.workspace import workspace

LANES, copy_rows_1, copy_rows_2, gather_run = vector.lanes(np.float32), vector.copy_rows_1, vector.copy_rows_2, vector.gather_run


def conv2d(x, w, b, stride, padding, dilation, groups, plan=None):
    """(N, C, H, W), (F, C/G, kh, kw), (F,) or None -> (N, F, Ho, Wo).   plan: read_plan's, if made before."""
    if winograd.suits(x, w.shape, stride, padding, dilation, groups) and winograd.pays_forward(x, w.shape, padding):
        return winograd.conv2d(x, w, b, padding)
    (N, C, H, W), (F, _, kh, kw) = x.shape, w.shape
    Ho, Wo = (_out_size(size, k, s, p, d) for size, k, s, p, d in zip((H, W), (kh, kw), stride, padding, dilation, strict=True))
    out = np.empty((N, F, Ho, Wo), x.dtype)
    if out.size:
        planes, width, offsets = plan or _read_plan(x, w.shape, stride, padding, dilation, groups, Ho)
        rows, cols = (1, Ho * Wo) if width == Wo else (Ho, Wo)             # without padding, the rows of a plane are one long row
        products = (product.Product(rows, cols, F // groups, 0, 0, len(offsets), 0, 1),)
        starts = product.steps(F // groups, Ho * Wo)
        product.sums_of_runs(planes, w.reshape(-1), 1, b, offsets, products, starts, groups, max(width, cols), out)
    return out


def conv2d_dx(dout, w, x_shape, stride, padding, dilation, groups):
    """Gradient to x: dx[y] collects w[i] * dout[(y + p - i*d) / s] over the taps i for which that is a whole number."""
    if winograd.suits(dout, w.shape, stride, padding, dilation, groups):
        return winograd.conv2d_dx(dout, w, padding)
    (N, C, H, W), (F, Cg, kh, kw) = x_shape, w.shape
    if (kh, kw, groups) == (1, 1, 1) and stride == (1, 1) and padding == (0, 0) and dout.shape[2:] == x_shape[2:]:
        return conv2d(dout, np.ascontiguousarray(w.swapaxes(0, 1)), None, stride, padding, dilation, groups)      # dx = w.T @ dout
    dx = np.empty(x_shape, dout.dtype)
    if not dx.size * dout.size:
        return np.zeros_like(dx)
    Ho, Wo = dout.shape[2:]
    rows = _phase_taps(H, kh, stride[0], padding[0], dilation[0])
    cols = _phase_taps(W, kw, stride[1], padding[1], dilation[1])
    (top, bottom), (left, right) = _margins(rows, Ho), _margins(cols, Wo)
    planes, width = _padded_phases(dout, (1, 1), top, left, Ho + top + bottom, Wo + left + right, ((0, 0),), groups=groups)
    if not all(taps for *_, taps in rows + cols):
        dx[:] = 0                                                          # pixels that no output reads
    products, taps, offsets, starts = _write_plan(rows, cols, kw, Cg, F // groups, groups, (H, W), planes.shape[2], width, top, left)
    if products:
        product.sums_of_runs(planes, _turned(w, groups, taps), 1, None, offsets, products, starts, groups, width, dx, stride)
    return dx


def conv2d_dw(dout, x, w_shape, stride, padding, dilation, groups, plan=None):
    """Gradient to w: for each tap, the inner product of dout with the run of x that the tap reads.   plan: read_plan's, if made before."""
    if winograd.suits(x, w_shape, stride, padding, dilation, groups):
        return winograd.conv2d_dw(dout, x, padding)
    N, F, Ho, Wo = dout.shape
    if not dout.size * x.size:
        return np.zeros(w_shape, x.dtype)
    if product_wide.suits(w_shape, dilation, groups, x.dtype):
        return product_wide.products(dout, x, w_shape, stride, padding, groups)
    planes, width, offsets = plan or _read_plan(x, w_shape, stride, padding, dilation, groups, Ho)
    runs = dout.reshape(N, F, Ho * Wo)
    if width != Wo and product_dw.reads_rows(F // groups, len(offsets), Ho, Wo):
        return product_dw.products_of_runs(runs, planes, offsets, groups, Wo, Ho, width).reshape(w_shape)
    if width != Wo:                              # lay dout's rows as far apart as x's, zeros between: the thrown-away outputs count nothing
        runs = _padded_phases(dout, (1, 1), 0, 0, Ho, width, ((0, 0),), "runs")[0]
    return product_dw.products_of_runs(runs, planes, offsets, groups, (Ho - 1) * width + Wo).reshape(w_shape)


@alone_below(SMALL)
@jit_parallel
def conv2d_db(dout):
    """Gradient to b: dout summed over images and pixels. (N, F, Ho*Wo) -> (F,)."""
    N, F = dout.shape[:2]
    db = np.zeros(F, dout.dtype)
    for f in prange(F):
        lanes = np.empty(SUM_LANES, dout.dtype)
        for n in range(N):
            db[f] += add_up(dout[n, f], lanes)
    return db


def _out_size(size, k, s, p, d):
    return (size + 2 * p - d * (k - 1) - 1) // s + 1


@lru_cache(maxsize=256)
def _phase_taps(size, k, s, p, d):
    """For one axis of dx, per phase that exists: (first index, how many, ((tap, where in dout it starts to read), ...))."""
    phases = []
    for y0 in range(min(s, size)):
        taps = tuple((i, (y0 + p - i * d) // s) for i in range(k) if (y0 + p - i * d) % s == 0)
        phases.append((y0, -(-(size - y0) // s), taps))
    return tuple(phases)


def _margins(phases, size):
    """Zeros that dout needs before and behind, so that every tap of every phase reads inside."""
    before = max([0] + [-start for _, _, taps in phases for _, start in taps])
    behind = max([0] + [start + count - size for _, count, taps in phases for _, start in taps])
    return before, behind


@lru_cache(maxsize=256)
def _write_plan(rows, cols, kw, C, F, groups, size, P, width, top, left):
    """The phases of dx as products for product.py: (products, the taps of each (phases, places), offsets in planes of P numbers, starts).

    Phases that read the same places of dout are the rows of one product, and so are others that cost less together than apart.
    """
    merged = []
    for y0, ny, taps_y in rows:
        for x0, nx, taps_x in cols:
            taps = {(oy + top) * width + ox + left: i * kw + j for i, oy in taps_y for j, ox in taps_x}
            if taps:
                _merge(merged, C, (ny, nx), set(taps), y0 * size[1] + x0, taps)
    products, tables, offsets, starts, w0 = [], [], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for (ny, nx), places, members in merged:
        places, phases = sorted(places), len(members)
        tables.append(np.array([[taps.get(place, -1) for place in places] for _, taps in members], np.int64))
        first_row, first, T = sum(map(len, starts)), sum(map(len, offsets)), F * len(places)
        corners = [corner for corner, _ in members]
        products.append(product.Product(ny, nx, phases * C, first_row, first, T, w0, _neighbours(corners, size[1])))
        offsets.append((np.arange(F)[:, None] * P + np.array(places, np.int64)).reshape(-1))
        starts.append((np.arange(C)[:, None] * size[0] * size[1] + corners).reshape(-1))
        w0 += groups * phases * C * T
    return tuple(products), tables, np.concatenate(offsets), np.concatenate(starts)


def _merge(merged, C, size, places, corner, taps):
    """Add a phase of C channels to the list, to the product with which it costs least."""
    def cost(rows, places):                                      # multiplications with whole tiles, and the copying of panels
        return len(places) * (-(-rows // product.ROWS) * product.ROWS + 2)

    best, saved = None, -1
    for k, (other_size, other, members) in enumerate(merged):
        rows = C * len(members)
        gain = cost(rows, other) + cost(C, places) - cost(rows + C, other | places)
        if other_size == size and gain > saved:
            best, saved = k, gain
    if best is None:
        merged.append((size, places, [(corner, taps)]))
    else:
        _, other, members = merged[best]
        merged[best] = size, other | places, [*members, (corner, taps)]


def _neighbours(corners, W):
    """How many pixels that follow one another in a row the phases are, all over: 1, 2, 4 or as many as a tile has rows."""
    near, apart = product.ROWS, [k + 1 for k, (a, b) in enumerate(zip(corners, corners[1:], strict=False)) if b != a + 1 or b % W == 0]
    while len(corners) % near or any(k % near for k in apart):
        near //= 2
    return near


def _turned(w, groups, taps):
    """w for dx, of each product (G, C/G, phases, F/G, places): 0 where a phase has no tap at a place."""
    F, Cg = w.shape[:2]
    filters, start = np.empty(F * Cg * sum(table.size for table in taps), w.dtype), 0
    for table in taps:
        end = start + F * Cg * table.size
        _turn(w.reshape(groups, F // groups, Cg, -1), table, filters[start:end].reshape(groups, Cg, len(table), F // groups, -1))
        start = end
    return filters


@jit
def _turn(w, table, out):
    G, F, C, _ = w.shape
    for g in range(G):
        for c in range(C):
            for s in range(len(table)):
                for f in range(F):
                    for t in range(table.shape[1]):
                        tap = table[s, t]
                        out[g, c, s, f, t] = w[g, f, c, tap] if tap >= 0 else 0


def read_plan(x, w_shape, stride, padding, dilation, groups, Ho):
    """x padded and split once, for the next conv2d and conv2d_dw that read it (it lies in a workspace); None if they don't."""
    if winograd.suits(x, w_shape, stride, padding, dilation, groups) or not x.size:
        return None
    return _read_plan(x, w_shape, stride, padding, dilation, groups, Ho)


def _read_plan(x, w_shape, stride, padding, dilation, groups, Ho):
    """The padded phases of x (N, C, P), their row width, and the offset of each tap (T,)."""
    (N, C, H, W), (F, Cg, kh, kw) = x.shape, w_shape
    phases = _read_phases(kh, kw, stride, dilation)
    Hp, Wp = H + 2 * padding[0], W + 2 * padding[1]
    planes, width = _padded_phases(x, stride, padding[0], padding[1], Hp, Wp, phases, groups=groups)
    phase_size = -(-Hp // stride[0]) * width
    return planes, width, _tap_offsets(Cg, kh, kw, stride, dilation, width, planes.shape[2], phase_size)


@lru_cache(maxsize=256)
def _read_phases(kh, kw, stride, dilation):
    return tuple(dict.fromkeys((i * dilation[0] % stride[0], j * dilation[1] % stride[1]) for i in range(kh) for j in range(kw)))


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


def _padded_phases(x, stride, top, left, Hp, Wp, phases, name="planes", groups=1):
    """Copy x into zeros, `top` rows down and `left` columns in, each phase as one flat run; returns (N, C, P) and the row width.

    The copy lies in a workspace: the next one of this name takes its place. Where nothing is to be padded or split, it is x itself.
    """
    N, C, H, W = x.shape
    if (H, W) == (Hp, Wp) and stride == (1, 1):
        return x.reshape(N, C, H * W), W
    height, width = -(-Hp // stride[0]), -(-Wp // stride[1])
    slack = (4 if groups == 1 else 8) * vector.lanes(x.dtype)    # the last tile of a plane may read, and discard, this much beyond it
    line = vector.lanes(x.dtype)                                 # every plane begins on a cache line
    P = -(-(len(phases) * height * width + slack) // line) * line
    planes = workspace(name, N * C * P, x.dtype)[:N * C * P]
    _copy_phases(x.reshape(-1), planes, P, *x.shape[1:], np.array(phases, np.int64), *stride, top, left, height, width)
    return planes.reshape(N, C, P), width


@alone_below(SMALL)
@jit_parallel
def _copy_phases(x, planes, P, C, H, W, phases, sy, sx, top, left, height, width):
    for k in prange(len(planes) // P):
        plane = np.int64(k)                                      # prange counts in unsigned numbers
        at = plane * P
        for p in range(len(phases)):
            py, px = phases[p, 0] - top, phases[p, 1] - left
            r0, r1 = _inside(py, sy, H, height)
            lo, hi = _inside(px, sx, W, width)
            _fill(planes, at, r0 * width)
            _copy_rows(x, (plane * H + r0 * sy + py) * W + px + lo * sx, sy * W, r1 - r0, hi - lo, planes, at + r0 * width + lo, width, sx)
            for row in range(at + r0 * width, at + r1 * width, width):
                for q in range(row, row + lo):
                    planes[q] = 0
                for q in range(row + hi, row + width):
                    planes[q] = 0
            _fill(planes, at + r1 * width, (height - r1) * width)
            at += height * width
        _fill(planes, at, (plane + 1) * P - at)


@jit
def _inside(start, step, size, count):
    """Which of the places start + q*step, q < count, are places of an array of this size: first <= q < end."""
    first = max(0, -(start // step))
    return first, max(first, min(count, (size - 1 - start) // step + 1))


@jit
def _fill(planes, start, count):
    for q in range(start, start + count):
        planes[q] = 0


@jit
def _copy_rows(x, start, x_row, rows, count, planes, at, row, step):
    """What a register writes behind the end of a row is written again with the next row, or with the zeros behind the last."""
    if step <= 2 and count > 0:
        whole = max(0, min(rows, (len(x) - start - step * (count + LANES)) // x_row + 1))      # rows that no register reads beyond x for
        if step == 1:
            copy_rows_1(x, start, x_row, whole, count, planes, at, row)
        else:
            copy_rows_2(x, start, x_row, whole, count, planes, at, row)
    else:
        whole = 0
    for r in range(whole, rows):
        gather_run(x, start + r * x_row, step, count, planes, at + r * row)
