"""The matrix product of `product.py` with the sum over pixels: the gradient to the filters of every direct convolution,
and to the input of a linear layer (inner products of rows with rows).

    products_of_runs  dw[f, t] = sum over n, r and q of d[n, f, r, q] * x[n, offset[t] + r*step + q]

Two ways to do it:

    panels  LANES runs of one side are turned upright, so that one pixel of them fills a register. Then tiles as in product.py multiply;
            the other side is read number by number, in its place. To turn a panel costs as much as to multiply ROWS runs with it:
            d is turned if it has fewer runs than x, else x, and dw comes out turned or not.
    inner   For few channels, which do not fill a panel. Tiles of 8 x 3 inner products read both sides from where they lie, LANES
            pixels at a time, and leave LANES partial sums of each product; the lanes are added up at the very end.

All tiles of a way stand in one long list, and each thread takes an equal share of it.

Shapes here: N images, G groups, F channels out, T taps; a *run* is a row of neighbouring numbers; *blocks* are 8 runs.
"""
from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import prange

from numpyvision.kernels import vector
from numpyvision.kernels.jit import alone, jit_inner, jit_parallel
from numpyvision.kernels.product import LITTLE_WORK, first_of, steps
from numpyvision.kernels.workspace import workspace

ROWS, gather_tile, gather_run, turn_tile = vector.ROWS, vector.gather_tile, vector.gather_run, vector.turn_tile
flush_denormals = vector.flush_denormals
inner_tile_1, inner_tile_rows, sum_register = vector.inner_tile_1, vector.inner_tile_rows, vector.sum_register
DEPTH = 320                  # pixels of a panel at most: 320 x 32 float32 are 40 KiB, most of a first-level cache
TILES, COLUMNS = 512, 64     # of a share at once, with panels and without: their sums fill a part of the second-level cache
FEW, RUN = 16, 512           # channels that are not worth a panel, if runs are long: the partial sums have their price too; pixels at once
LITTLE, SHORT = 64, 32       # taps that are not worth a copy of d's rows, with x's distance between them, unless the rows are short
MANY = 512                   # 512 x 320 float32 are 640 KiB
PANEL = 2 * vector.lanes(np.float32)

# One side of the product, d or x: the channels of an image, numbers of each; how many runs a group has, where they begin, and some a
# second time, so that they fill whole tiles; the last of these places.
Side = namedtuple("Side", "channels plane count runs far")
# What both have in common. groups; width: how long a run is; rows: how many follow each other in d, `step` apart in x; turned: d is.
Runs = namedtuple("Runs", "images groups width rows step turned")
# What shapes decide: dw's shape, the way, workers and the size of each one's workspace, and what the loop is told, before and behind zeros.
Products = namedtuple("Products", "shape inner turned workers size width tables cut")


def reads_rows(per_group, T, rows, length):
    """Whether products_of_runs can take many short runs, and is faster than with one that they were copied to."""
    if takes_inner(per_group, rows * length):
        return T < LITTLE and length >= SHORT
    return turns_d(per_group, T, rows)


def takes_inner(per_group, length):
    return per_group < ROWS or per_group <= FEW and length >= RUN * per_group // FEW


def turns_d(per_group, T, rows):
    """Whether that costs less, in whole tiles. Runs that share no pixels, as those of a matrix, are too much for the cache if many."""
    return (rows > 1 or T <= MANY) and -(-per_group // PANEL) * (-(-T // ROWS) + 1) <= -(-T // PANEL) * (-(-per_group // ROWS) + 1)


def products_of_runs(d, x, plan):
    """dw (F, T): dw[f, t] = sum over images, r < rows and q < length of d[n, f, r*length + q] * x[n, g, offset[t] + r*step + q].

    d (N, F, Pd), x (N, C, Px).
    """
    dw, work = np.empty(plan.shape, x.dtype), workspace("product", plan.workers * plan.size, x.dtype)
    d, x = d.reshape(-1), x.reshape(-1)
    a, b = (x, d) if plan.turned else (d, x)
    loop = _products_loop if plan.workers > 1 else alone(_products_loop)
    loop(plan.inner, a, b, dw.reshape(-1), work, *plan.tables, np.zeros(plan.width, x.dtype), *plan.cut, plan.size, plan.workers)
    return dw


def plan_products(d_shape, x_shape, lanes, threads, offsets, groups, length, rows=1, step=0):
    """All of products_of_runs that depends on shapes alone, for callers to keep. More than one row only where reads_rows says so."""
    (N, F, Pd), (_, C, Px), T = d_shape, x_shape, len(offsets)
    per_group = F // groups
    sides = (F, Pd, per_group, steps(per_group, Pd)), (C, Px, T, offsets)
    inner = takes_inner(per_group, rows * length)
    turned = not inner and turns_d(per_group, T, rows)
    if turned:
        sides = sides[::-1]
    high, width = (1 if per_group <= 2 else ROWS, 3) if inner else (ROWS, 2 * lanes)
    left, right = _side(*sides[0], high), _side(*sides[1], width)
    blocks, panels = len(left.runs) // high, len(right.runs) // width
    most = COLUMNS if inner else max(1, TILES // blocks) * blocks if blocks <= TILES else TILES         # tiles at once
    size = most * 3 * high * lanes if inner else (most * ROWS + DEPTH) * width
    workers = 1 if N * rows * length * F * T < LITTLE_WORK else min(threads, groups * blocks * panels)
    if inner:
        rows_of_d = np.minimum(np.arange(high), per_group - 1) * Pd                  # fewer channels than rows: the last again
        places, pixels = np.concatenate([rows_of_d, right.runs]), rows_of_d
    else:
        places, pixels = steps(lanes, width), _pixels(rows, length, step) if turned else steps(length, 1)
    source = Runs(N, groups, length, rows, step, turned)
    return Products((F, T), inner, turned, workers, size, width, (source, left, right, places, pixels), (high, lanes, most))


def _side(channels, plane, count, runs, tile):
    if count % tile:
        runs = np.concatenate([runs, np.repeat(runs[-1:], -count % tile)])
    return Side(channels, plane, count, runs, int(runs.max()))


@lru_cache(maxsize=64)
def _pixels(rows, length, step):
    """Where the pixels of many runs stand."""
    return (np.arange(rows)[:, None] * step + np.arange(length)).reshape(-1)


@jit_parallel
def _products_loop(inner, a, b, dw, work, source, left, right, places, pixels, zeros, high, lanes, most, size, workers):
    """Both ways to find dw in one loop, because compiling a parallel loop takes half a second. places, pixels, zeros: see there."""
    for k in prange(workers):
        worker = np.int64(k)                                                         # prange counts in unsigned numbers
        flush_denormals(True)
        if inner:
            _share_of_columns(worker, workers, a, b, dw, work, source, left, right, places, high, lanes, size)
        else:
            _share_of_panels(worker, workers, a, b, dw, work, source, left, right, places, pixels, zeros, most, size)
        flush_denormals(False)


# ---------------------------------------------------------------------------------------------------------------- panels
@jit_inner
def _share_of_panels(worker, workers, a, b, dw, work, source, left, right, upright, pixels, zeros, most, size):
    """One worker's share of the list: blocks of one panel, then of the next, group after group."""
    width = len(zeros)
    blocks, panels, sums = len(left.runs) // ROWS, len(right.runs) // width, worker * size
    tiles = source.groups * panels * blocks
    tile, end = tiles * worker // workers, tiles * (worker + 1) // workers
    while tile < end:
        g = tile // (panels * blocks)
        first = g * panels * blocks
        start = tile - first
        stop = min(end - first, panels * blocks, (start // most + 1) * most)
        _add_panels(g, start, stop, blocks, a, b, dw, work, sums, source, left, right, upright, pixels, zeros)
        for p in range(start // blocks, -(-stop // blocks)):
            row0, row1 = max(start - p * blocks, 0) * ROWS, min(stop - p * blocks, blocks) * ROWS
            at, row1 = sums + (p * blocks - start) * ROWS * width, min(row1, left.count)
            if source.turned:
                _put_columns(work, at, row0, row1, p * width, min((p + 1) * width, right.count), dw, g * right.count, left.count, width)
            else:
                _put_rest(work, at, row0, row1, p * width, min((p + 1) * width, right.count), dw, g * left.count, right.count, width)
        tile = first + stop


@jit_inner
def _add_panels(g, start, stop, blocks, a, b, dw, work, sums, source, left, right, upright, pixels, zeros):
    """Tiles `start` to `stop` of one group, over all images."""
    width, T = len(zeros), right.count
    panel, pieces = sums + (stop - start) * ROWS * width, -(-len(pixels) // DEPTH)
    piece = -(-len(pixels) // (pieces * len(upright))) * len(upright)
    for k in range(source.images * pieces):
        n, q = k // pieces, k % pieces * piece
        count = min(piece, len(pixels) - q)
        a0 = (n * left.channels + g * (left.channels // source.groups)) * left.plane
        b0 = (n * right.channels + g * (right.channels // source.groups)) * right.plane + q
        for p in range(start // blocks, -(-stop // blocks)):
            _turn_panel(b, b0, right, p * width, count, work, panel, upright, width)
            for tile in range(max(start, p * blocks), min(stop, (p + 1) * blocks)):
                m, o = (tile - p * blocks) * ROWS, sums + (tile - start) * ROWS * width
                before, s, s_row, to, at, row = work, o, width, work, o, width
                if k == 0:
                    before, s, s_row = zeros, 0, 0
                if k == source.images * pieces - 1 and not source.turned and m + ROWS <= left.count and (p + 1) * width <= T:
                    to, at, row = dw, (g * left.count + m) * T + p * width, T        # complete: to where it belongs
                gather_tile(a, a0, left.runs, m, pixels, q, work, panel, count, before, s, s_row, to, at, row)


@jit_inner
def _turn_panel(x, run, side, t0, count, work, panel, upright, width):
    """panel[q, j] = x[run + runs[t0 + j] + q] for `count` pixels q, and a few more that nobody reads."""
    lanes, runs = len(upright), side.runs
    for q in range(0, count, lanes):
        if run + side.far + q + lanes <= len(x):
            for j in range(0, width, lanes):
                turn_tile(x, run + q, runs, t0 + j, work, panel + q * width + j, upright, 0)
        else:                                                                        # near the end of x: number by number
            for j in range(width):
                for i in range(q, q + lanes):
                    k = run + runs[t0 + j] + i
                    work[panel + i * width + j] = x[k] if k < len(x) else 0


@jit_inner
def _put_rest(work, at, row0, row1, col0, col1, dw, first, T, width):
    """Of the sums in these rows and columns, those of tiles that are only partly there."""
    for r in range(row0, row1):
        if col1 < col0 + width or r >= row1 // ROWS * ROWS:
            for c in range(col0, col1):
                dw[(first + r) * T + c] = work[at + r * width + c - col0]


@jit_inner
def _put_columns(work, at, row0, row1, col0, col1, dw, first, T, width):
    """The sums in these rows and columns, which are taps and channels here: so many rows at once as stay in the first-level cache."""
    for r in range(row0, row1, DEPTH):
        for c in range(col0, col1):
            gather_run(work, at + r * width + c - col0, width, min(DEPTH, row1 - r), dw, (first + c) * T + r)


# ---------------------------------------------------------------------------------------------------------------- inner products
@jit_inner
def _share_of_columns(worker, workers, d, x, dw, work, source, left, right, places, high, lanes, size):
    """One worker's share of the list: columns of 3 taps of one block, then of the next, group after group."""
    per_group, columns = left.count, len(right.runs) // 3
    blocks = -(-per_group // high)
    tiles = source.groups * blocks * columns
    tile, end = tiles * worker // workers, tiles * (worker + 1) // workers
    while tile < end:
        block, c0 = tile // columns, tile % columns
        c1 = min(columns, c0 + COLUMNS, c0 + end - tile)
        f = block // blocks * per_group + first_of(block % blocks, per_group, high)
        _add_inner_products(block // blocks, f, c0, c1, d, x, dw, work, worker * size, source, left, right, places, high, lanes)
        tile += c1 - c0


@jit_inner
def _add_inner_products(g, f, c0, c1, d, x, dw, work, sums, source, left, right, places, high, lanes):
    """Channels f to f + high with taps 3*c0 to 3*c1, over all images."""
    T, size = right.count, 3 * high * lanes
    work[sums:sums + (c1 - c0) * size] = 0
    pieces = -(-source.width // RUN)
    piece, rows = -(-source.width // (pieces * lanes)) * lanes, max(1, RUN // source.width)
    for n in range(source.images):
        for r in range(0, source.rows, rows):
            for q in range(0, source.width, piece):
                run = (n * right.channels + g * (right.channels // source.groups)) * right.plane + r * source.step + q
                from_d = (n * left.channels + f) * left.plane + r * source.width + q
                down, count = min(rows, source.rows - r), min(piece, source.width - q)
                for c in range(c0, c1):
                    o = sums + (c - c0) * size
                    if high == 1:
                        inner_tile_1(d, from_d, source.width, x, run, source.step, down, count, places, high + 3 * c, work, o)
                    else:
                        inner_tile_rows(d, from_d, source.width, x, run, source.step, down, count, places, high + 3 * c, work, o)
    for m in range(min(high, left.count)):
        for t in range(3 * c0, min(3 * c1, T)):
            dw[(f + m) * T + t] = sum_register(work, sums + (t // 3 - c0) * size + (m * 3 + t % 3) * lanes)
