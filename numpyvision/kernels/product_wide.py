"""The gradient to filters whose rows are whole registers, as in FCN's learnable upsampling (16 x 16 at stride 8).

    dw[f, c, i, j] = sum over n, r, q of d[n, f, r, q] * x[n, c, r*sy + i - py, q*sx + j - px]

For every output (r, q), LANES neighbouring taps of a filter's row are LANES neighbouring pixels of x. So the tiles of product.py read them
where they lie, whatever the stride: no phases are split, as `product_dw.py` needs them, and no panels turned. Only the border must be
there. Each thread lays one channel of one image at a time into zeros, in memory of its own that stays in its cache.

Shapes here: N images, C and F channels of x and d, G groups, T = kh * kw taps of a channel.
"""
from collections import namedtuple

import numpy as np
from numba import prange

from numpyvision.kernels import vector
from numpyvision.kernels.jit import jit_inner, jit_parallel, num_threads
from numpyvision.kernels.product import first_of, steps, tall_pays
from numpyvision.kernels.workspace import workspace

ROWS, TALL, table_tile, tall_tile, at = vector.ROWS, vector.TALL, vector.table_tile, vector.tall_tile, vector.at
put_rows_1, gather_run, flush_denormals = vector.put_rows_1, vector.gather_run, vector.flush_denormals
DEPTH = 512             # pixels of a sum at once: long sums of float32 are more exact in pieces

# x and d, and how x lies in the zeros: its first number, the numbers of a row and in all. tiles: of dw, of `high`
# filters; size: a thread's workspace.
Planes = namedtuple("Planes", "N C H W F pixels groups corner width plane tiles high size")


def suits(w_shape, dilation, groups, dtype):
    """Whether the rows of these filters are whole registers, and the taps of a channel whole tiles."""
    F, _, kh, kw = w_shape
    lanes = vector.lanes(dtype)
    return dilation == (1, 1) and F // groups >= ROWS and kw % lanes == 0 and kh * kw % (2 * lanes) == 0


def products(d, x, w_shape, stride, padding, groups):
    """d (N, F, Ho, Wo), x (N, C, H, W) -> dw (F, C/G, kh, kw)."""
    (N, F, Ho, Wo), (_, C, H, W), (kh, kw) = d.shape, x.shape, w_shape[2:]
    width, tile, dw = W + 2 * padding[1], 2 * vector.lanes(x.dtype), np.empty(w_shape, x.dtype)
    taps = (np.arange(kh)[:, None] * width + np.arange(kw)).reshape(-1)
    pixels = (np.arange(Ho)[:, None] * stride[0] * width + np.arange(Wo) * stride[1]).reshape(-1)
    high = TALL if tall_pays(F // groups) else ROWS
    plane, tiles = (H + 2 * padding[0]) * width, C * (kh * kw // tile) * -(-F // groups // high)
    workers = min(num_threads(), tiles)
    size = plane + -(-tiles // workers) * high * tile
    planes = Planes(N, C, H, W, F, Ho * Wo, groups, padding[0] * width + padding[1], width, plane, tiles, high, size)
    flat = d.reshape(-1), x.reshape(-1), dw.reshape(-1), workspace("planes", workers * size, x.dtype)
    _products_loop(*flat, steps(H, width), taps, pixels, np.zeros(tile, x.dtype), planes, workers)
    return dw


@jit_parallel
def _products_loop(d, x, dw, work, lines, taps, pixels, zeros, planes, workers):
    """All tiles stand in one list: blocks of `high` filters with the first two registers of taps, with the next two, channel by channel."""
    tile, blocks = len(zeros), -(-planes.F // planes.groups // planes.high)
    of_channel = len(taps) // tile * blocks
    for worker in prange(workers):
        k = np.int64(worker)                                                         # prange counts in unsigned numbers
        flush_denormals(True)
        first, end, begin = planes.tiles * k // workers, planes.tiles * (k + 1) // workers, k * planes.size
        work[begin:begin + planes.plane] = 0
        for n in range(planes.N):
            for number in range(first, end):
                c, t, block = number // of_channel, number % of_channel // blocks * tile, number % blocks
                if number == first or number % of_channel == 0:
                    _lay_into_zeros(x, n * planes.C + c, work, begin + planes.corner, lines, planes, tile // 2)
                sums = begin + planes.plane + (number - first) * planes.high * tile
                _add_tile(n, c, t, block, d, dw, work, begin, sums, taps, pixels, zeros, planes, tile)
        flush_denormals(False)


@jit_inner
def _lay_into_zeros(x, plane, work, corner, lines, planes, lanes):
    for r in range(planes.H):
        row = (plane * planes.H + r) * planes.W
        if row + planes.W + lanes <= len(x):
            put_rows_1(x, row, 0, 1, planes.W, work, corner, lines, r)
        else:                                                                        # whole registers would be read beyond x
            gather_run(x, row, 1, planes.W, work, corner + lines[r])


@jit_inner
def _add_tile(n, c, t, block, d, dw, work, plane, sums, taps, pixels, zeros, planes, tile):
    """A tile of taps from t on, for a block of filters: what image n adds. The last image's sums go to their place in dw."""
    T, per_group, channels, lanes = len(taps), planes.F // planes.groups, planes.C // planes.groups, tile // 2
    f, gap = c // channels * per_group + first_of(block, per_group, planes.high), taps[t + lanes] - taps[t]
    for q in range(0, planes.pixels, DEPTH):
        count = min(DEPTH, planes.pixels - q)
        before, before_row, to, to_row = at(work, sums), tile, at(work, sums), tile
        if n == 0 and q == 0:
            before, before_row = at(zeros, 0), 0
        if n == planes.N - 1 and q + count == planes.pixels:
            to, to_row = at(dw, (f * channels + c % channels) * T + t), channels * T
        left, right = at(d, (n * planes.F + f) * planes.pixels + q), at(work, plane + taps[t])
        if planes.high > ROWS:
            tall_tile(left, planes.pixels, 1, right, at(pixels, q), gap, count, before, before_row, to, to_row, lanes, dw)
        else:
            table_tile(left, planes.pixels, 1, right, at(pixels, q), gap, count, before, before_row, to, to_row, lanes, dw)
