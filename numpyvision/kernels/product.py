"""Matrix products whose right matrix is read out of an image: the loop under every direct convolution and every linear layer.

    sums_of_runs  out[f, q] = b[f] + sum over t of w[f, t] * x[offset[t] + q]       columns: pixels

A matrix product is fast when each number that is loaded takes part in many multiplications. `product_tile` (vector.py) does it for 8 rows x
2 registers of columns. Its piece of the right matrix may be read in x itself, where the rows of a tile lie far apart. If many rows of the
left matrix are to pass by, it is copied together first: a *panel*, TILE columns wide, at most DEPTH rows deep, which stays in the
first-level cache meanwhile. So a task of one thread is

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
from collections import namedtuple
from functools import lru_cache

import numba
import numpy as np
from numba import prange

from numpyvision.kernels import vector
from numpyvision.kernels.jit import jit, jit_parallel
from numpyvision.kernels.workspace import workspace

ROWS, load_panels, product_tile, thin_tile = vector.ROWS, vector.load_panels, vector.product_tile_2, vector.thin_tile
flush_denormals, put_run_1, put_run_2, put_pairs = vector.flush_denormals, vector.put_run_1, vector.put_run_2, vector.put_pairs
DEPTH = 256             # rows of a panel at most: 320 x 32 float32 are 40 KiB, most of a first-level cache
STRIP = 8               # panels of a task at most: they and their sums fill a share of the second-level cache
BLOCKS = 64             # blocks of a task at most, for the same reason
FEW = 4                 # so few blocks take less time to read x in its place than its panels to copy
THIN = 3                # groups of fewer channels ("depthwise": of one) take tiles of one row, 8 registers wide: THIN_TILE

# How the runs lie in x. width: from row to row (of products_of_runs: how long a run is); far: the largest offset.
Source = namedtuple("Source", "channels plane width offsets far")
Left = namedtuple("Left", "step columns begin")       # columns: where w's begin, if it lies on its side; begin: 1 if a bias begins the sums
Target = namedtuple("Target", "channels plane row sy sx starts")           # how the pixels lie in out; starts: where each row's first goes
# How a product is cut into tasks. panels, blocks: of one at most; high, tile: rows and columns of a tile; places: of the rows of a panel.
Cut = namedtuple("Cut", "workers strips parts panels blocks high tile size places")
Product = namedtuple("Product", "rows cols channels first_row first T w0 near") # one matrix product of a group


def sums_of_runs(x, w, step, bias, offsets, products, starts, groups, width, out, stride=(1, 1)):
    """out[n, g][starts[i] + r*sy*Wo + q*sx] = bias[i] + sum over t of w[i, t] * x[n, g, offset[t] + r*width + q], i: rows of products.

    x (N, C, P): may be read up to a tile beyond a run; what is read there is thrown away. w: flat, each product's (G, rows, T) after the
    last's; w[i, t] stands at w0 + i*T + t if step is 1, at w0 + i + t*step if not (a matrix that lies on its side). bias (F,) or None,
    for a single product. offsets: of all products' taps, one after the other. products: a tuple of Products, for one group: pixel rows
    and columns, rows of w, the first of them in starts, the first of its taps in offsets, taps, where w starts.
    starts: for each row, its first place in the F/G planes of a group. out (N, F, Ho, Wo) is written.
    """
    N, (F, Ho, Wo), lanes = len(x), out.shape[1:], vector.lanes(x.dtype)
    thin = groups > 1 and step == 1 and max(p.channels for p in products) < THIN
    high, tile = (1, 8 * lanes) if thin else (ROWS, 2 * lanes)
    if min(p.channels for p in products) < high:                  # fewer rows than a tile has: fill up with zeros
        w, bias, products = _fill_up(w, step, bias, products, groups)
        step = 1
    table, tiles, cut = _plan(products, width, N * groups, high, tile, numba.get_num_threads())
    work = workspace("product", cut.workers * cut.size, x.dtype)
    source = Source(*x.shape[1:], width, offsets, int(offsets.max(initial=0)))
    step = step if products[0].T else 1
    left = Left(step, steps(products[0].T, step) if step > 1 else offsets[:0], int(bias is not None))
    begin = np.zeros(tile, x.dtype) if bias is None else np.repeat(bias, tile)
    target = Target(F // groups, Ho * Wo, Wo, *stride, starts)
    _sums_loop(x.reshape(-1), w, begin, out.reshape(-1), work, N, groups, table, tiles, source, left, target, cut)


@lru_cache(maxsize=64)
def steps(count, step):
    """0, step, 2*step, ...: a table of places."""
    return np.arange(count) * step


@lru_cache(maxsize=512)
def _plan(products, width, jobs, high, tile, threads):
    """The products as a table, the first column of each of their tiles, and the cut.

    A row of pixels has tiles of its own where that makes few more of them than one long run from the first pixel to the last, in which
    a tile may go across the end of a row.
    """
    tiles, table = [], []
    for p in products:
        across = -(-p.cols // tile)
        length = (p.rows - 1) * width + p.cols
        if p.rows * across > 1.05 * length / tile + 1:
            q = np.arange(0, length, tile)
        else:
            q = (np.arange(p.rows)[:, None] * width + np.arange(across) * tile).reshape(-1)
        table.append([*p, sum(map(len, tiles)), len(q)])
        tiles.append(np.append(q, length))
    blocks = -(-max(p.channels for p in products) // high)
    cut = cut_tasks(jobs * len(products), max(row[-1] for row in table), blocks, tile, threads, high)
    return np.array(table), np.concatenate(tiles), cut


@lru_cache(maxsize=512)
def cut_tasks(jobs, panels, blocks, tile, threads, high=ROWS):
    """How `jobs` products of `panels` x `blocks` tiles are cut into tasks: strips of panels, parts of blocks.

    As few tasks as the cache allows, since each reads all of its piece of both matrices; but a few for every thread.
    """
    strips = max(-(-panels // STRIP), min(panels, -(-2 * threads // jobs)))
    parts = max(-(-blocks // BLOCKS), min(blocks, -(-threads // (jobs * strips))))
    panels, blocks = -(-panels // strips), -(-blocks // parts)
    upright = -(-blocks * high // tile)
    size = blocks * high * panels * tile + (panels + upright) * DEPTH * tile          # sums, panels, those of w
    return Cut(min(threads, jobs * strips * parts), strips, parts, panels, blocks, high, tile, size, steps(DEPTH, tile))


def _fill_up(w, step, bias, products, groups):
    """w, bias and products with ROWS rows at least, the new ones zero."""
    pieces, moved, start = [], [], 0
    for p in products:
        rows = w[p.w0:p.w0 + groups * p.channels * p.T]
        rows = rows.reshape(groups, p.channels, p.T) if step == 1 else rows.reshape(1, p.T, step).swapaxes(1, 2)
        piece = np.zeros((groups, max(ROWS, p.channels), p.T), w.dtype)
        piece[:, :p.channels] = rows
        pieces.append(piece.reshape(-1))
        moved.append(p._replace(w0=start))
        start += piece.size
    if bias is not None:
        filled = np.zeros((groups, ROWS), bias.dtype)
        filled[:, :products[0].channels] = bias.reshape(groups, -1)
        bias = filled.reshape(-1)
    return np.concatenate(pieces), bias, tuple(moved)


@jit_parallel
def _sums_loop(x, w, begin, out, work, N, groups, products, tiles, source, left, target, cut):
    tasks = N * groups * len(products) * cut.strips * cut.parts
    for k in prange(cut.workers):
        worker = np.int64(k)                                                         # prange counts in unsigned numbers
        flush_denormals(True)
        for task in range(tasks * worker // cut.workers, tasks * (worker + 1) // cut.workers):
            part, job = task % cut.parts, task // cut.parts
            product, job = products[job % len(products)], job // len(products)
            strip, g, n = job % cut.strips, job // cut.strips % groups, job // (cut.strips * groups)
            _sum_strip(n, g, product, strip, part, x, w, begin, tiles, out, work, worker * cut.size, groups, source, left, target, cut)
        flush_denormals(False)


@jit
def _sum_strip(n, g, product, strip, part, x, w, begin, tiles, out, work, sums, groups, source, left, target, cut):
    """Some blocks of rows at one strip of pixels, of one product, for one group of one image."""
    (cols, channels, first_row, first, T), width, tile, high = _five(product), source.width, cut.tile, cut.high
    w0, near, tile0, panels, padded = product[6], min(product[7], high), product[8], product[9], max(channels, high)
    blocks = -(-padded // high)
    b0, b1 = blocks * part // cut.parts, blocks * (part + 1) // cut.parts
    p0, p1 = tile0 + panels * strip // cut.strips, tile0 + panels * (strip + 1) // cut.strips
    if p0 == p1:
        return
    pieces, size = max(1, -(-T // DEPTH)), high * tile
    panel = sums + ((b1 - b0) * (p1 - p0) * size if pieces > 1 else size)            # a sum in one piece goes out at once
    upright = panel + (p1 - p0) * DEPTH * tile
    run = (n * source.channels + g * (source.channels // groups)) * source.plane
    corner, regular = (n * groups + g) * target.channels * target.plane, target.sx == 1 and target.sy == 1
    near_end = run + source.far + tiles[p1 - 1] + tile > len(x)
    copied = near_end or b1 - b0 > FEW
    for piece in range(pieces):
        t0, t1 = T * piece // pieces, T * (piece + 1) // pieces
        places = cut.places if copied else source.offsets[first + t0:]
        if copied:
            _load_strip(x, run, near_end, source.offsets[first + t0:], t1 - t0, tiles, p0, p1 - p0, work, panel, tile)
        if left.step > 1:
            _load_upright(w, w0, left, t0, t1, b0, b1, padded, work, upright, tile)
        for p in range(p0, p1):
            q = tiles[p]
            r, c = q // width, q % width
            inside = regular and c + tile <= cols and channels >= high               # a tile in one row of out needs no copying
            right, r0 = (work, panel + (p - p0) * DEPTH * tile) if copied else (x, run + q)
            for b in range(b0, b1):
                f = first_of(b, padded, high)
                a, a0, a_row, a_step = w, w0 + (g * padded + f) * T + t0, T, 1
                if left.step > 1:
                    a, a0, a_row, a_step = work, _in_upright(b, b0, padded, upright, tile), 1, tile
                o = sums + ((b - b0) * (p1 - p0) + p - p0) * size if pieces > 1 else sums
                before, s, s_row, to, at, row = work, o, tile, work, o, tile
                if piece == 0:
                    before, s, s_row = begin, (g * padded + f) * tile * left.begin, tile * left.begin
                if inside and piece == pieces - 1:
                    to, at, row = out, corner + target.starts[first_row + f] + r * target.row + c, target.plane
                if high == 1:
                    thin_tile(a, a0, a_row, a_step, right, r0, places, t1 - t0, before, s, s_row, to, at, row)
                else:
                    product_tile(a, a0, a_row, a_step, right, r0, places, t1 - t0, before, s, s_row, to, at, row)
                if not inside and piece == pieces - 1:
                    end = min(q + tile, tiles[p + 1])
                    _store_tile(work, o, first_row + f, min(channels - f, high), near, q, end, width, cols, out, corner, target, tile)


@jit
def _five(product):
    return product[1], product[2], product[3], product[4], product[5]


@jit
def first_of(block, rows, high):
    """The last block steps back, so as not to run over: it makes a few rows a second time, in a place of its own."""
    return min(block * high, rows - high)


@jit
def first_row(block, rows):
    return first_of(block, rows, ROWS)


@jit
def _load_strip(x, at, near_end, offsets, count, tiles, p0, panels, work, panel, tile):
    """panel[p, t, j] = x[at + offsets[t] + tiles[p0 + p] + j]."""
    if not near_end:
        load_panels(x, at, offsets, count, tiles, p0, panels, work, panel, DEPTH * tile)
        return
    for p in range(panels):                                                          # near the end of x: number by number
        for t in range(count):
            for j in range(tile):
                k = at + offsets[t] + tiles[p0 + p] + j
                work[panel + (p * DEPTH + t) * tile + j] = x[k] if k < len(x) else 0


@jit
def _load_upright(w, w0, left, t0, t1, b0, b1, rows, work, upright, tile):
    """A w that lies on its side: the columns of its blocks b0 to b1 in panels, tile/ROWS blocks in each."""
    for b in range(b0, b1, tile // ROWS):
        at = w0 + first_row(b, rows)
        near_end = at + left.columns[t1 - 1] + tile > len(w)
        _load_strip(w, at, near_end, left.columns[t0:], t1 - t0, left.columns, 0, 1, work, _in_upright(b, b0, rows, upright, tile), tile)


@jit
def _in_upright(b, b0, rows, upright, tile):
    """Where a block begins there."""
    number = (b - b0) // (tile // ROWS)
    return upright + number * DEPTH * tile + first_row(b, rows) - first_row(b0 + number * (tile // ROWS), rows)


@jit
def _store_tile(work, start, first, count, near, q0, q1, width, cols, out, corner, target, tile):
    """The sums of `count` rows for q0 <= q < q1 to their places in out; what ran across the end of a row of pixels is left behind."""
    for r in range(q0 // width, (q1 - 1) // width + 1):
        c0, c1 = max(q0 - r * width, 0), min(q1 - r * width, cols)
        for m in range(0, count, near):
            source = start + m * tile + r * width + c0 - q0
            at = corner + target.starts[first + m] + r * target.sy * target.row + c0 * target.sx
            if target.sx == 1:
                put_run_1(work, source, 0, c1 - c0, out, at)
            elif target.sx == 2 and near == 2:
                put_pairs(work, source, tile, c1 - c0, out, at)
            elif target.sx == 2:
                put_run_2(work, source, 0, c1 - c0, out, at)
            else:
                for k in range(near):
                    for i in range(c1 - c0):
                        out[at + i * target.sx + k] = work[source + k * tile + i]
