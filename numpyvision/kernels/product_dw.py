"""The matrix product of `product.py` with the sum over pixels: the gradient to the filters of every direct convolution,
and to the input of a linear layer (inner products of rows with rows).

    products_of_runs  dw[f, t] = sum over n and q of d[n, f, q] * x[n, offset[t] + q]

Two ways to do it:

    panels  Columns are taps here, and the rows of a panel pixels: LANES runs of x are turned upright, so that one pixel of them fills a
            register. Then the tiles of product.py multiply. To turn a panel costs as much as to multiply one block of channels with it.
    inner   For few channels, which do not earn that back. Tiles of 8 x 3 inner products read both sides from where they lie, LANES
            pixels at a time, and leave LANES partial sums of each product; the lanes are added up at the very end.

All tiles of a way stand in one long list, column by column of dw, and each thread takes an equal share of it.

Shapes here: N images, G groups, F channels out, T taps; a *run* is a row of neighbouring numbers; *blocks* are 8 channels.
"""
from collections import namedtuple

import numpy as np
from numba import prange

from numpyvision.kernels import vector
from numpyvision.kernels.jit import jit, jit_parallel, num_threads
from numpyvision.kernels.product import first_of, steps
from numpyvision.kernels.workspace import workspace

ROWS, product_tile, flush_denormals, turn_tile = vector.ROWS, vector.product_tile_2, vector.flush_denormals, vector.turn_tile
inner_tile_1, inner_tile_rows, sum_register = vector.inner_tile_1, vector.inner_tile_rows, vector.sum_register
DEPTH = 320                  # pixels of a panel at most: 320 x 32 float32 are 40 KiB, most of a first-level cache
TILES, COLUMNS = 512, 64     # of a share at once, with panels and without: their sums fill a part of the second-level cache
FEW, RUN = 32, 512           # channels that are not worth a panel, if runs are long: the partial sums have their price too; pixels at once
LITTLE, SHORT = 64, 32       # taps that are not worth a copy of d's rows, with x's distance between them, unless the rows are short

# How the runs lie in x. width: how long a run is; far: the largest offset; offsets: of T = `taps` taps, and more to fill the last tile;
# rows: how many runs follow each other in d, `step` apart in x.
Runs = namedtuple("Runs", "channels plane width offsets far taps groups rows step")


def reads_rows(per_group, T, rows, length):
    """Whether products_of_runs can take many short runs, and is faster than with one that they were copied to."""
    return T < LITTLE and length >= SHORT and takes_inner(per_group, rows * length)


def takes_inner(per_group, length):
    return per_group < ROWS or per_group <= FEW and length >= RUN * per_group // FEW


def products_of_runs(d, x, offsets, groups, length, rows=1, step=0):
    """dw (F, T): dw[f, t] = sum over images, r < rows and q < length of d[n, f, r*length + q] * x[n, g, offset[t] + r*step + q].

    d (N, F, Pd), x (N, C, Px). More than one row only where reads_rows says so.
    """
    (N, F, Pd), T, lanes = d.shape, len(offsets), vector.lanes(x.dtype)
    per_group, dw = F // groups, np.empty((F, T), x.dtype)
    inner = takes_inner(per_group, rows * length)
    high, width = (1 if per_group <= 2 else ROWS, 3) if inner else (ROWS, 2 * lanes)
    offsets = np.concatenate([offsets, np.repeat(offsets[-1:], -T % width)])         # fill up to whole tiles; cut off when copied out
    source = Runs(*x.shape[1:], length, offsets, int(offsets.max()), T, groups, rows, step)
    blocks = -(-per_group // high)
    workers = min(num_threads(), groups * blocks * (len(offsets) // width))
    most = COLUMNS if inner else max(1, TILES // blocks) * blocks                    # tiles at once
    size = most * 3 * high * lanes if inner else (most * ROWS + DEPTH) * width
    work, flat = workspace("product", workers * size, x.dtype), (d.reshape(-1), x.reshape(-1), dw.reshape(-1))
    rows_of_d = np.minimum(np.arange(high), per_group - 1) * Pd                      # fewer channels than rows: the last again
    places = np.concatenate([rows_of_d, offsets]) if inner else steps(lanes, width)
    _products_loop(inner, *flat, work, N, Pd, source, places, np.zeros(width, x.dtype), high, lanes, most, size, workers)
    return dw


@jit_parallel
def _products_loop(inner, d, x, dw, work, N, plane, source, places, zeros, high, lanes, most, size, workers):
    """Both ways to find dw in one loop, because compiling a parallel loop takes a second. places, zeros: see there."""
    for k in prange(workers):
        worker = np.int64(k)                                                         # prange counts in unsigned numbers
        flush_denormals(True)
        if inner:
            _share_of_columns(worker, workers, d, x, dw, work, N, plane, source, places, high, lanes, size)
        else:
            _share_of_panels(worker, workers, d, x, dw, work, N, plane, source, places, zeros, most, size)
        flush_denormals(False)


# ---------------------------------------------------------------------------------------------------------------- panels
@jit
def _share_of_panels(worker, workers, d, x, dw, work, N, plane, source, upright, zeros, most, size):
    """One worker's share of the list: blocks of one panel, then of the next, group after group."""
    per_group, panels = len(dw) // source.taps // source.groups, len(source.offsets) // len(zeros)
    blocks = -(-per_group // ROWS)
    tiles = source.groups * panels * blocks
    tile, end = tiles * worker // workers, tiles * (worker + 1) // workers
    while tile < end:
        g = tile // (panels * blocks)
        first = g * panels * blocks
        stop = min(end, first + panels * blocks, tile // blocks * blocks + most)
        _add_panels(g, tile - first, stop - first, d, x, dw, work, worker * size, N, plane, source, upright, zeros)
        tile = stop


@jit
def _add_panels(g, start, stop, d, x, dw, work, sums, N, plane, source, upright, zeros):
    """Tiles `start` to `stop` of one group, over all images."""
    F, T, width, channels = len(dw) // source.taps, source.taps, len(zeros), source.channels // source.groups
    per_group = F // source.groups
    blocks = -(-per_group // ROWS)
    p0, p1, panel = start // blocks, -(-stop // blocks), sums + (stop - start) * ROWS * width
    pieces = -(-source.width // DEPTH)
    piece = -(-source.width // (pieces * len(upright))) * len(upright)
    for k in range(N * pieces):
        n, q = k // pieces, k % pieces * piece
        count, run = min(piece, source.width - q), (n * source.channels + g * channels) * source.plane + q
        for p in range(p0, p1):
            _turn_panel(x, run, source, p * width, count, work, panel, upright, width)
            for tile in range(max(start, p * blocks), min(stop, (p + 1) * blocks)):
                f, o = g * per_group + first_of(tile - p * blocks, per_group, ROWS), sums + (tile - start) * ROWS * width
                before, s, s_row, to, at, row = work, o, width, work, o, width
                if k == 0:
                    before, s, s_row = zeros, 0, 0
                if k == N * pieces - 1 and (p + 1) * width <= T:                     # complete, and all of it taps: to where it belongs
                    to, at, row = dw, f * T + p * width, T
                product_tile(d, (n * F + f) * plane + q, plane, 1, work, panel, width, count, before, s, s_row, to, at, row)
    last = T // width * width
    if p1 * width > T:                                                               # the last panel is only partly there
        for tile in range(max(start, (p1 - 1) * blocks), stop):
            f, o = g * per_group + first_of(tile - (p1 - 1) * blocks, per_group, ROWS), sums + (tile - start) * ROWS * width
            for m in range(ROWS):
                for t in range(last, T):
                    dw[(f + m) * T + t] = work[o + m * width + t - last]


@jit
def _turn_panel(x, run, source, t0, count, work, panel, upright, width):
    """panel[q, j] = x[run + offsets[t0 + j] + q] for `count` pixels q, and a few more that nobody reads."""
    lanes, offsets = len(upright), source.offsets
    for q in range(0, count, lanes):
        if run + source.far + q + lanes <= len(x):
            for j in range(0, width, lanes):
                turn_tile(x, run + q, offsets, t0 + j, work, panel + q * width + j, upright, 0)
        else:                                                                        # near the end of x: number by number
            for j in range(width):
                for i in range(q, q + lanes):
                    k = run + offsets[t0 + j] + i
                    work[panel + i * width + j] = x[k] if k < len(x) else 0


# ---------------------------------------------------------------------------------------------------------------- inner products
@jit
def _share_of_columns(worker, workers, d, x, dw, work, N, plane, source, places, high, lanes, size):
    """One worker's share of the list: columns of 3 taps of one block, then of the next, group after group."""
    per_group, columns = len(dw) // source.taps // source.groups, len(source.offsets) // 3
    blocks = -(-per_group // high)
    tiles = source.groups * blocks * columns
    tile, end = tiles * worker // workers, tiles * (worker + 1) // workers
    while tile < end:
        block, c0 = tile // columns, tile % columns
        c1 = min(columns, c0 + COLUMNS, c0 + end - tile)
        f = block // blocks * per_group + first_of(block % blocks, per_group, high)
        _add_inner_products(block // blocks, f, c0, c1, d, x, dw, work, worker * size, N, plane, source, places, high, lanes)
        tile += c1 - c0


@jit
def _add_inner_products(g, f, c0, c1, d, x, dw, work, sums, N, plane, source, places, high, lanes):
    """Channels f to f + high with taps 3*c0 to 3*c1, over all images."""
    F, T, channels, size = len(dw) // source.taps, source.taps, source.channels // source.groups, 3 * high * lanes
    work[sums:sums + (c1 - c0) * size] = 0
    pieces = -(-source.width // RUN)
    piece, rows = -(-source.width // (pieces * lanes)) * lanes, max(1, RUN // source.width)
    for n in range(N):
        for r in range(0, source.rows, rows):
            for q in range(0, source.width, piece):
                run = (n * source.channels + g * channels) * source.plane + r * source.step + q
                left, down, count = (n * F + f) * plane + r * source.width + q, min(rows, source.rows - r), min(piece, source.width - q)
                for c in range(c0, c1):
                    o = sums + (c - c0) * size
                    if high == 1:
                        inner_tile_1(d, left, source.width, x, run, source.step, down, count, places, high + 3 * c, work, o)
                    else:
                        inner_tile_rows(d, left, source.width, x, run, source.step, down, count, places, high + 3 * c, work, o)
    for m in range(min(high, F // source.groups)):
        for t in range(3 * c0, min(3 * c1, T)):
            dw[(f + m) * T + t] = sum_register(work, sums + (t // 3 - c0) * size + (m * 3 + t % 3) * lanes)
