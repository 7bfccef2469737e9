"""Matrix products whose right matrix is read out of an image: the loop under every direct convolution and every linear layer.

    sums_of_runs  out[f, q] = b[f] + sum over t of w[f, t] * x[offset[t] + q]       columns: pixels

A matrix product is fast when each number that is loaded takes part in many multiplications. `table_tile` (vector.py) does it for 8 rows x
2 registers of columns, its like for 12, 4 or 1 rows. Its piece of the right matrix may be read in x itself, where the rows of a tile lie
far apart. If many rows of the left matrix are to pass by, it is copied together first: a *panel*, TILE columns wide, at most DEPTH rows
deep, which stays in the first-level cache meanwhile. So a task of one thread is

    for each DEPTH rows of the right matrix:       (the sum over taps is cut in pieces)
        copy them into panels, for a strip of columns
        for each panel:
            for each 8 rows of the left matrix:
                8 x TILE sums += 8 rows @ panel

and no column buffer as large as nine images is ever written: panels are made, used and forgotten.

The sum over pixels instead of taps, a gradient to filters, is in `product_dw.py`. A linear layer is sums_of_runs with x a matrix (K, J)
of one "image" of K channels, offset[t] = t*J.

Shapes here: N images, G groups, F channels out, T taps; a *run* is a row of neighbouring numbers; *blocks* are 8 channels.
"""
import itertools
import math
from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import prange

from numpyvision.kernels import vector
from numpyvision.kernels.jit import alone, jit_inner, jit_parallel
from numpyvision.kernels.workspace import workspace

ROWS, TALL, load_panels, at = vector.ROWS, vector.TALL, vector.load_panels, vector.at
table_tile, tall_tile, low_tile, thin_tile = vector.table_tile, vector.tall_tile, vector.low_tile, vector.thin_tile
put_rows_1, put_rows_2, put_pairs, put_quads = vector.put_rows_1, vector.put_rows_2, vector.put_pairs, vector.put_quads
flush_denormals = vector.flush_denormals
DEPTH = 256             # rows of a panel at most: 256 x 32 float32 are 32 KiB, most of a first-level cache
UPRIGHT_DEPTH = 160     # the same where w's columns are copied too: of each row, a tile of w then fetches two cache lines more
STRIP = 8               # panels of a task at most: they and their sums fill a share of the second-level cache
BLOCKS = 64             # blocks of a task at most, for the same reason
LITTLE_WORK = 2**18     # multiplications that one thread does sooner than wake a second: 6 microseconds of them
FEW, FEW_NEAR = 4, 8    # so few blocks read x in its place faster than its panels are copied; where taps are neighbours
THIN = 3                # groups of fewer channels ("depthwise": of one) take tiles of one row, 8 registers wide

# How the runs lie in x and w. width: from row to row; far: the largest offset; step: of a w that lies on its side; few: blocks that
# read x in its place.
Source = namedtuple("Source", "channels plane width far step few")
Target = namedtuple("Target", "channels plane row sy sx begin")              # how the pixels lie in out; begin: from row to row of the bias
# How a product is cut into tasks. panels, blocks: of one at most; high, tile: rows and columns of a tile; size: of its workspace.
Cut = namedtuple("Cut", "workers strips parts panels blocks high tile lanes size")
Product = namedtuple("Product", "rows cols channels first_row first T w0 near") # one matrix product of a group
# What shapes decide. filled: products have fewer rows than a tile; products, groups, step: how to fill them up; tables: for the loop.
Sums = namedtuple("Sums", "filled products groups step tables cut")


def sums_of_runs(x, w, bias, out, plan):
    """out[n, g][starts[i] + r*sy*Wo + q*sx] = bias[i] + sum over t of w[i, t] * x[n, g, offset[t] + r*width + q], i: rows of products.

    x (N, C, P): may be read up to a tile beyond a run; what is read there is thrown away. w: flat. bias (F,) or None, for a single product.
    out (N, F, Ho, Wo) is written. The rest is in the plan.
    """
    if plan.filled:
        w, bias = _fill_up(w, bias, plan)
    cut = plan.cut
    work = workspace("product", cut.workers * cut.size, x.dtype)
    begin = np.zeros(cut.tile, x.dtype) if bias is None else np.repeat(bias, cut.tile)
    loop = _sums_loop if cut.workers > 1 else alone(_sums_loop)
    loop(x.reshape(-1), w, begin, out.reshape(-1), work, *plan.tables, cut)


def plan_sums(x_shape, out_shape, lanes, threads, offsets, products, starts, groups, width, stride=(1, 1), step=1, with_bias=False):
    """All of sums_of_runs that depends on shapes alone. Callers keep it: to work it out takes longer than many a product.

    w has each product's (G, rows, T) after the last's; w[i, t] stands at w0 + i*T + t if step is 1, at w0 + i + t*step if not (a matrix
    that lies on its side). offsets: of all products' taps, one after the other. products: a tuple of Products, for one group: pixel rows
    and columns, rows of w, the first of them in starts, the first of its taps in offsets, taps, where w starts.
    starts: for each row, its first place in the F/G planes of a group.
    """
    N, (F, Ho, Wo) = x_shape[0], out_shape[1:]
    most, high, tile, given = max(p.channels for p in products), ROWS, 2 * lanes, products
    if step == 1 and most <= ROWS // 2:                           # few rows: lower tiles, and wider ones
        high, tile = (1, 8 * lanes) if groups > 1 and most < THIN else (ROWS // 2, 4 * lanes)
    elif step == 1 and tall_pays(most) and min(p.channels for p in products) >= TALL and not any(TALL % p.near for p in products):
        high = TALL
    filled = min(p.channels for p in products) < high             # fewer rows than a tile has: fill up with zeros
    if filled:
        sizes = [groups * max(high, p.channels) * p.T for p in products]
        begins = itertools.accumulate(sizes[:-1], initial=0)
        products = tuple(p._replace(w0=begin) for p, begin in zip(products, begins, strict=True))
    across = step if products[0].T and not filled else 1
    table, tiles, cut = _plan(products, width, N * groups, high, tile, lanes, threads)
    few = FEW_NEAR if len(offsets) > 1 and 0 <= offsets[1] - offsets[0] < lanes else FEW
    source = Source(*x_shape[1:], width, int(offsets.max(initial=0)), across, few)
    columns, places = steps(products[0].T, across) if across > 1 else offsets, steps(DEPTH, tile)    # of a row of w, of a panel
    target = Target(F // groups, Ho * Wo, Wo, *stride, tile if with_bias else 0)
    return Sums(filled, given, groups, step, (table, offsets, columns, places, tiles, starts, N, groups, source, target), cut)


def tall_pays(rows):
    """Whether tiles of TALL rows make no more than tiles of ROWS that is not needed."""
    return rows >= TALL and -rows % TALL <= -rows % ROWS


@lru_cache(maxsize=64)
def steps(count, step):
    """0, step, 2*step, ...: a table of places."""
    return np.arange(count) * step


def _plan(products, width, jobs, high, tile, lanes, threads):
    """The products as a table, the first column of each of their tiles, and the cut."""
    tiles, table = [], []
    for p in products:
        q, down = _tiles(p.rows, p.cols, width, tile, lanes)
        table.append([*p, sum(map(len, tiles)), len(q), down])
        tiles.append(np.append(q, (p.rows - 1) * width + p.cols))
    blocks = -(-max(p.channels for p in products) // high)
    threads = 1 if jobs * sum(p.rows * p.cols * p.channels * p.T for p in products) < LITTLE_WORK else threads
    cut = cut_tasks(jobs * len(products), max(row[-2] for row in table), blocks, tile, lanes, threads, high)
    return np.array(table), np.concatenate(tiles), cut


def _tiles(rows, cols, width, tile, lanes):
    """Where the tiles of an image of pixels begin, and how many rows of it each has; 0: none of its own.

    A tile has `tile` pixels of one row or, if rows are shorter, LANES of several, where that makes few more of them than one long run from
    the first pixel to the last, in which a tile may go across the end of a row. The last rows step back, so as not to run over.
    """
    length, down = (rows - 1) * width + cols, tile // lanes
    lines, blocks = rows * -(-cols // tile), -(-rows // down) * -(-cols // lanes)
    short = cols < tile and rows >= down and blocks < lines
    if (blocks if short else lines) > 1.05 * length / tile + 1:
        return np.arange(0, length, tile), 0
    if not short:
        return (np.arange(rows)[:, None] * width + np.arange(0, cols, tile)).reshape(-1), 0
    return (np.minimum(np.arange(0, rows, down), rows - down)[:, None] * width + np.arange(0, cols, lanes)).reshape(-1), down


def cut_tasks(jobs, panels, blocks, tile, lanes, threads, high):
    """How `jobs` products of `panels` x `blocks` tiles are cut into tasks: strips of panels, parts of blocks.

    As few tasks as the cache allows, since each reads all of its piece of both matrices; but as many for one thread as for the other.
    """
    parts = -(-blocks // BLOCKS)
    parts = -(-parts // threads) * threads if parts > 1 else 1
    even = threads // math.gcd(threads, jobs * parts)
    strips = max(-(-panels // STRIP), min(panels, even, -(-2 * threads // (jobs * parts))))
    parts = max(parts, min(blocks, -(-threads // (jobs * strips))))
    panels, blocks = -(-panels // strips), -(-blocks // parts)
    upright = -(-blocks * high // tile)
    size = blocks * high * panels * tile + (panels + upright) * DEPTH * tile          # sums, panels, those of w
    return Cut(min(threads, jobs * strips * parts), strips, parts, panels, blocks, high, tile, lanes, size)


def _fill_up(w, bias, plan):
    """w and bias with `high` rows at least a product, the new ones zero."""
    pieces, groups, high = [], plan.groups, plan.cut.high
    for p in plan.products:
        rows = w[p.w0:p.w0 + groups * p.channels * p.T]
        rows = rows.reshape(groups, p.channels, p.T) if plan.step == 1 else rows.reshape(1, p.T, plan.step).swapaxes(1, 2)
        piece = np.zeros((groups, max(high, p.channels), p.T), w.dtype)
        piece[:, :p.channels] = rows
        pieces.append(piece.reshape(-1))
    if bias is not None:
        filled = np.zeros((groups, high), bias.dtype)
        filled[:, :plan.products[0].channels] = bias.reshape(groups, -1)
        bias = filled.reshape(-1)
    return np.concatenate(pieces), bias


@jit_parallel
def _sums_loop(x, w, begin, out, work, products, offsets, columns, places, tiles, starts, N, groups, source, target, cut):
    tasks = N * groups * len(products) * cut.strips * cut.parts
    for k in prange(cut.workers):
        worker = np.int64(k)                                                         # prange counts in unsigned numbers
        flush_denormals(True)
        for task in range(tasks * worker // cut.workers, tasks * (worker + 1) // cut.workers):
            _sum_strip(task, x, w, begin, out, work, worker * cut.size, products, offsets, columns, places, tiles, starts, groups, source,
                       target, cut)
        flush_denormals(False)


@jit_inner
def _sum_strip(task, x, w, begin, out, work, sums, products, offsets, columns, places, tiles, starts, groups, source, target, cut):
    """Some blocks of rows at one strip of pixels, of one product, for one group of one image."""
    part, k = task % cut.parts, task // cut.parts % len(products)
    strip, job = task // (cut.parts * len(products)) % cut.strips, task // (cut.parts * len(products) * cut.strips)      # job: n, g
    cols, channels, first_row, first, T, w0 = products[k, 1], products[k, 2], products[k, 3], products[k, 4], products[k, 5], products[k, 6]
    tile0, panels, down, width, tile, high = products[k, 8], products[k, 9], products[k, 10], source.width, cut.tile, cut.high
    gap, o_gap = (width, target.row) if down else (cut.lanes, cut.lanes)             # from register to register of a tile, in x and out
    near, padded = min(products[k, 7], high), max(channels, high)
    blocks, pieces, size = -(-padded // high), max(1, -(-T // (UPRIGHT_DEPTH if source.step > 1 else DEPTH))), high * tile
    b0, b1 = blocks * part // cut.parts, blocks * (part + 1) // cut.parts
    p0, p1 = tile0 + panels * strip // cut.strips, tile0 + panels * (strip + 1) // cut.strips
    panel = sums + ((b1 - b0) * (p1 - p0) * size if pieces > 1 else size)            # a sum in one piece goes out at once
    upright = panel + (p1 - p0) * DEPTH * tile
    run = (job // groups * source.channels + job % groups * (source.channels // groups)) * source.plane
    corner, regular = job * target.channels * target.plane, target.sx == 1 and target.sy == 1 and channels >= high
    near_end = run + source.far + tiles[max(p0, p1 - 1)] + (tile // cut.lanes - 1) * gap + cut.lanes > len(x)
    copied = near_end or b1 - b0 > source.few
    for piece in range(pieces if p1 > p0 else 0):
        t0, t1, is_last = T * piece // pieces, T * (piece + 1) // pieces, piece == pieces - 1
        if copied:
            _load_strip(x, run, near_end, offsets, first + t0, t1 - t0, tiles, p0, p1 - p0, gap, work, panel, tile, cut.lanes)
        if source.step > 1:
            _load_upright(w, w0, columns, t0, t1, b0, b1, padded, work, upright, tile, cut.lanes)
        for p in range(p0, p1):
            q, end = tiles[p], min(tiles[p] + tile, tiles[p + 1])
            c, row = q % width, q // width * target.row
            inside = is_last and regular and c + (cut.lanes if down else tile) <= cols                 # this tile needs no copying
            right, table, apart = at(x, run + q), at(offsets, first + t0), gap
            if copied:
                right, table, apart = at(work, panel + (p - p0) * DEPTH * tile), at(places, 0), cut.lanes
            for b in range(b0, b1):
                f = first_of(b, padded, high)
                i = job % groups * padded + f
                left, left_row, left_step = at(w, w0 + i * T + t0), T, 1
                if source.step > 1:
                    left, left_row, left_step = at(work, _in_upright(b, b0, padded, upright, tile)), 1, tile
                o = sums + ((b - b0) * (p1 - p0) + p - p0) * size if pieces > 1 else sums
                before, before_row = at(work, o), tile
                if piece == 0:
                    before, before_row = at(begin, i * target.begin), target.begin
                to, to_row, to_gap = at(work, o), tile, cut.lanes
                if inside:
                    to, to_row, to_gap = at(out, corner + starts[first_row + f] + row + c), target.plane, o_gap
                if high == 1:
                    thin_tile(left, left_row, left_step, right, table, apart, t1 - t0, before, before_row, to, to_row, to_gap, work)
                elif high < ROWS:
                    low_tile(left, left_row, left_step, right, table, apart, t1 - t0, before, before_row, to, to_row, to_gap, work)
                elif high > ROWS:
                    tall_tile(left, left_row, left_step, right, table, apart, t1 - t0, before, before_row, to, to_row, to_gap, work)
                else:
                    table_tile(left, left_row, left_step, right, table, apart, t1 - t0, before, before_row, to, to_row, to_gap, work)
                if is_last and not inside:
                    count = min(channels - f, high)
                    _store_tile(work, o, starts, first_row + f, count, near, q, end, down, width, cols, out, corner, target, cut)


@jit_inner
def first_of(block, rows, high):
    """The last block of `high` rows steps back, so as not to run over: it makes a few rows a second time."""
    return max(0, min(block * high, rows - high))


@jit_inner
def _load_strip(x, begin, near_end, offsets, t0, count, tiles, p0, panels, gap, work, panel, tile, lanes):
    """panel[p, t, j] = x[begin + offsets[t0 + t] + tiles[p0 + p] + j // LANES * gap + j % LANES]; load_panels can tiles of 2 registers."""
    whole, reach = count, tiles[p0 + panels - 1] + (tile // lanes - 1) * gap + lanes
    if near_end:                                                                     # rows before the first that runs over go by registers
        whole = np.int64(0)
        while tile == 2 * lanes and whole < count and begin + offsets[t0 + whole] + reach <= len(x):
            whole += 1
    load_panels(x, begin, offsets, t0, whole, tiles, p0, panels, gap, work, panel, DEPTH * tile)
    for p in range(panels if whole < count else 0):                                  # near the end of x: number by number
        for t in range(whole, count):
            for j in range(tile):
                k = begin + offsets[t0 + t] + tiles[p0 + p] + j // lanes * gap + j % lanes
                work[panel + (p * DEPTH + t) * tile + j] = x[k] if k < len(x) else 0


@jit_inner
def _load_upright(w, w0, columns, t0, t1, b0, b1, rows, work, upright, tile, lanes):
    """A w that lies on its side: the columns of its blocks b0 to b1 in panels, tile/ROWS blocks in each."""
    for b in range(b0, b1, tile // ROWS):
        begin = w0 + first_of(b, rows, ROWS)
        near_end = begin + columns[t1 - 1] + tile > len(w)
        _load_strip(w, begin, near_end, columns, t0, t1 - t0, columns, np.int64(0), np.int64(1), lanes, work,  # 0 would be compiled anew
                    _in_upright(b, b0, rows, upright, tile), tile, lanes)


@jit_inner
def _in_upright(b, b0, rows, upright, tile):
    """Where a block begins there."""
    number = (b - b0) // (tile // ROWS)
    return upright + number * DEPTH * tile + first_of(b, rows, ROWS) - first_of(b0 + number * (tile // ROWS), rows, ROWS)


@jit_inner
def _store_tile(work, begin, starts, first, rows, near, q0, q1, down, width, cols, out, corner, target, cut):
    """The sums of each row for q0 <= q < q1 to their places in out, `near` rows next to each other.

    What ran across the end of a row of pixels is left behind.
    """
    top, step, tile = q0 // width, target.sx, cut.tile
    for r in range(top, top + down if down else (q1 - 1) // width + 1):
        c0, source = max(q0 - r * width, 0), begin + max(r * width - q0, 0)
        c1 = max(c0, min(q1 - r * width, cols))
        if down:
            c0 = q0 - top * width
            c1, source = min(c0 + cut.lanes, cols), begin + (r - top) * cut.lanes
        count, to = c1 - c0, corner + r * target.sy * target.row + c0 * step
        if step == 1:
            put_rows_1(work, source, tile, rows, count, out, to, starts, first)
        elif step == 2 and near == 2:
            put_pairs(work, source, tile, rows, count, out, to, starts, first)
        elif step == 2:
            put_rows_2(work, source, tile, rows, count, out, to, starts, first)
        elif near % 4 == 0:
            put_quads(work, source, tile, rows, count, out, to, starts, first, step)
        else:
            for m in range(rows):
                for i in range(count):
                    out[to + starts[first + m] + i * step] = work[source + m * tile + i]
