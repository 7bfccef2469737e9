"""How `conv.py` reads, splits and writes images: all that depends on the shapes alone, worked out once for each.

Shapes here: N images, C and F channels in and out, G groups, T = C/G * kh * kw taps, P numbers in a padded plane.
"""
from collections import namedtuple
from functools import lru_cache

import numpy as np

from numpyvision.kernels import product, product_dw

# How an image is laid into zeros and split, for _copy_phases: planes (N, C, P), rows `width` apart. phases: None if it stays as it is.
Phases = namedtuple("Phases", "shape phases stride top left height width")
# What shapes decide, worked out once for each. reads: how x or dout is laid out; sums, products: for product.py, product_dw.py.
Forward = namedtuple("Forward", "shape reads sums")
ToImage = namedtuple("ToImage", "reads taps sums all_read")                # taps: of each product; all_read: no pixel stays zero
ToFilters = namedtuple("ToFilters", "reads reads_d products")


@lru_cache(maxsize=512)
def forward(x_shape, w_shape, stride, padding, dilation, groups, with_bias, lanes, threads):
    """For out of x: one product."""
    (N, C, H, W), (F, _, kh, kw) = x_shape, w_shape
    Ho, Wo = (_out_size(size, k, s, p, d) for size, k, s, p, d in zip((H, W), (kh, kw), stride, padding, dilation, strict=True))
    if not N * F * Ho * Wo:
        return Forward((N, F, Ho, Wo), None, None)
    reads, offsets = reads_of(x_shape, w_shape, stride, padding, dilation, groups, lanes)
    rows, cols = (1, Ho * Wo) if reads.width == Wo else (Ho, Wo)           # without padding, the rows of a plane are one long row
    products = (product.Product(rows, cols, F // groups, 0, 0, len(offsets), 0, 1),)
    sums = product.plan_sums(reads.shape, (N, F, Ho, Wo), lanes, threads, offsets, products, product.steps(F // groups, Ho * Wo), groups,
                             max(reads.width, cols), with_bias=with_bias)
    return Forward((N, F, Ho, Wo), reads, sums)


@lru_cache(maxsize=512)
def to_image(d_shape, w_shape, x_shape, stride, padding, dilation, groups, lanes, threads):
    """For dx of dout: the phases of x as products of dout."""
    (Ho, Wo), (H, W), (F, Cg, kh, kw) = d_shape[2:], x_shape[2:], w_shape
    rows = _phase_taps(H, kh, stride[0], padding[0], dilation[0])
    cols = _phase_taps(W, kw, stride[1], padding[1], dilation[1])
    (top, bottom), (left, right) = _margins(rows, Ho), _margins(cols, Wo)
    reads = _phases(d_shape, (1, 1), top, left, Ho + top + bottom, Wo + left + right, ((0, 0),), lanes, groups)
    plane, width = reads.shape[2], reads.width
    products, taps, offsets, starts = _write_plan(rows, cols, kw, Cg, F // groups, groups, (H, W), plane, width, top, left)
    sums = products and product.plan_sums(reads.shape, x_shape, lanes, threads, offsets, products, starts, groups, width, stride)
    return ToImage(reads, taps, sums, all(taps for *_, taps in rows + cols))


@lru_cache(maxsize=512)
def to_filters(d_shape, x_shape, w_shape, stride, padding, dilation, groups, lanes, threads):
    """For dw of dout and x."""
    N, F, Ho, Wo = d_shape
    reads, offsets = reads_of(x_shape, w_shape, stride, padding, dilation, groups, lanes)
    width = reads.width
    if width != Wo and product_dw.reads_rows(F // groups, len(offsets), Ho, Wo):
        apart, lengths = Wo, (Wo, Ho, width)
    else:                                        # lay dout's rows as far apart as x's, zeros between: the thrown-away outputs count nothing
        apart, lengths = width, ((Ho - 1) * width + Wo,)
    runs = _phases(d_shape, (1, 1), 0, 0, Ho, apart, ((0, 0),), lanes)
    return ToFilters(reads, runs, product_dw.plan_products(runs.shape, reads.shape, lanes, threads, offsets, groups, *lengths))


@lru_cache(maxsize=512)
def reads_of(x_shape, w_shape, stride, padding, dilation, groups, lanes):
    """How x is padded and split into phases, and the offset of each tap in its planes (T,)."""
    (H, W), (Cg, kh, kw) = x_shape[2:], w_shape[1:]
    phases = tuple(dict.fromkeys((i * dilation[0] % stride[0], j * dilation[1] % stride[1]) for i in range(kh) for j in range(kw)))
    Hp, Wp = H + 2 * padding[0], W + 2 * padding[1]
    reads = _phases(x_shape, stride, padding[0], padding[1], Hp, Wp, phases, lanes, groups)
    phase_size = -(-Hp // stride[0]) * reads.width
    return reads, _tap_offsets(Cg, kh, kw, stride, dilation, reads.width, reads.shape[2], phase_size)


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


def _phases(x_shape, stride, top, left, Hp, Wp, phases, lanes, groups=1):
    """x in zeros (N, C, Hp, Wp), `top` rows down and `left` columns in, each of the phases as one flat run."""
    N, C, H, W = x_shape
    if (H, W) == (Hp, Wp) and stride == (1, 1):
        return Phases((N, C, H * W), None, stride, top, left, H, W)
    height, width = -(-Hp // stride[0]), -(-Wp // stride[1])
    slack = (4 if groups == 1 else 8) * lanes                    # the last tile of a plane may read, and discard, this much beyond it
    P = -(-(len(phases) * height * width + slack) // lanes) * lanes        # every plane begins on a cache line
    return Phases((N, C, P), np.array(phases, np.int64), stride, top, left, height, width)


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
