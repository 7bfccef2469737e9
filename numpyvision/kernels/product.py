"""Matrix products whose right matrix is read out of an image: the loop under every direct convolution and every linear layer.

A matrix product is fast when each number that is loaded takes part in many multiplications. `product_tile` (vector.py) does it for 8 rows x
2 registers of columns, if its piece of the right matrix lies together in memory: a *panel*, TILE columns wide, at most DEPTH rows deep,
which stays in the first-level cache while all rows of the left matrix pass by. So a task of one thread is

    for each DEPTH rows of the right matrix:       (the sum over taps is cut in pieces)
        copy them into panels, for a strip of columns
        for each 8 rows of the left matrix:
            for each panel: 8 x TILE sums += 8 rows @ panel

and no column buffer as large as nine images is ever written: panels are made, used and forgotten.

    sums_of_runs  out[f, q] = b[f] + sum over t of w[f, t] * x[offset[t] + q]       columns: pixels; a panel copies runs of pixels

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

ROWS, load_panels, product_tile = vector.ROWS, vector.load_panels, vector.product_tile_2
flush_denormals = vector.flush_denormals
DEPTH = 320             # rows of a panel at most: 320 x 32 float32 are 40 KiB, most of a first-level cache
STRIP = 8               # panels of a task at most: they and their sums fill a share of the second-level cache
BLOCKS = 64             # blocks of a task at most, for the same reason
THIN, RUN = 3, 1024     # groups of fewer than 3 channels ("depthwise": of one) are no matrix: plain loops, 1024 numbers at once

# How the runs lie in x. width: from row to row (of products_of_runs: how long a run is); far: the largest offset.
Source = namedtuple("Source", "channels plane width offsets far")
Left = namedtuple("Left", "step columns")                                       # columns: where w's columns begin, if it lies on its side
Target = namedtuple("Target", "channels plane row sy sx")                       # how the pixels lie in out
Cut = namedtuple("Cut", "workers strips parts panels blocks tile size")         # into tasks; panels, blocks of one at most; its workspace


def sums_of_runs(x, w, step, bias, offsets, phases, groups, width, out, stride=(1, 1)):
    """out[n, f, y0 + r*sy, x0 + q*sx] = bias[f] + sum over t of w[f, t] * x[n, g, offset[t] + r*width + q], for each phase.

    x (N, C, P): may be read up to TILE numbers beyond a run; what is read there is thrown away. w: flat, each phase's (F, T) after the
    last's; w[f, t] stands at start + f*T + t if step is 1, at start + f + t*step if not (a matrix that lies on its side). bias (F,).
    offsets: of all phases' taps, one after the other. phases (count, 7): rows, columns, y0, x0, first offset, T, where w starts.
    groups: F/G channels read C/G each. out (N, F, Ho, Wo) is written.
    """
    per_group, (F, Ho, Wo) = out.shape[1] // groups, out.shape[1:]
    blocks, tile = -(-per_group // ROWS), 2 * vector.lanes(x.dtype)
    source, target = Source(*x.shape[1:], width, offsets, int(offsets.max(initial=0))), Target(F, Ho * Wo, Wo, *stride)
    if per_group < THIN and groups > 1 and step == 1:
        _thin_sums(x.reshape(-1), w, bias, out.reshape(-1), len(x), groups, phases, source, target)
        return
    if per_group < ROWS:                                          # fewer rows than a tile has: fill up with zeros
        w, bias, phases = _fill_up(w, step, bias, phases, groups, per_group)
        step = 1
    longest = int(max(-(-((p[0] - 1) * width + p[1]) // tile) for p in phases.tolist()))
    cut = cut_tasks(len(x) * groups * len(phases), longest, blocks, tile, numba.get_num_threads())
    work = workspace("product", cut.workers * cut.size, x.dtype)
    left = Left(step, np.arange(phases[0, 5]) * step if step > 1 else offsets[:0])
    _sums_loop(x.reshape(-1), w, np.repeat(bias, tile), out.reshape(-1), work, len(x), groups, phases, source, left, target, cut)


@lru_cache(maxsize=512)
def cut_tasks(jobs, panels, blocks, tile, threads):
    """How `jobs` products of `panels` x `blocks` tiles are cut into tasks: strips of panels, parts of blocks.

    As few tasks as the cache allows, since each reads all of its piece of both matrices; but a few for every thread.
    """
    strips = max(-(-panels // STRIP), min(panels, -(-2 * threads // jobs)))
    parts = max(-(-blocks // BLOCKS), min(blocks, -(-threads // (jobs * strips))))
    panels, blocks = -(-panels // strips), -(-blocks // parts)
    size = blocks * ROWS * panels * tile + (panels + 1) * DEPTH * tile                # sums, panels, one for w
    return Cut(min(threads, jobs * strips * parts), strips, parts, panels, blocks, tile, size)


def _fill_up(w, step, bias, phases, groups, per_group):
    """w, bias and phases with ROWS channels a group, the new ones zero."""
    pieces, moved, start = [], phases.copy(), 0
    for k, (*_, T, first) in enumerate(phases.tolist()):
        rows = w[first:first + groups * per_group * T]
        rows = rows.reshape(groups, per_group, T) if step == 1 else rows.reshape(1, T, step).swapaxes(1, 2)
        piece = np.zeros((groups, ROWS, T), w.dtype)
        piece[:, :per_group] = rows
        pieces.append(piece.reshape(-1))
        moved[k, 6], start = start, start + piece.size
    filled = np.zeros((groups, ROWS), bias.dtype)
    filled[:, :per_group] = bias.reshape(groups, per_group)
    return np.concatenate(pieces), filled.reshape(-1), moved


@jit_parallel
def _sums_loop(x, w, bias, out, work, N, groups, phases, source, left, target, cut):
    tasks = N * groups * len(phases) * cut.strips * cut.parts
    for k in prange(cut.workers):
        worker = np.int64(k)                                                         # prange counts in unsigned numbers
        flush_denormals(True)
        for task in range(tasks * worker // cut.workers, tasks * (worker + 1) // cut.workers):
            part, strip, job = task % cut.parts, task // cut.parts % cut.strips, task // (cut.parts * cut.strips)
            phase, g, n = job % len(phases), job // len(phases) % groups, job // (len(phases) * groups)
            _sum_strip(n, g, phases[phase], strip, part, x, w, bias, out, work, worker * cut.size, groups, source, left, target, cut)
        flush_denormals(False)


@jit
def _sum_strip(n, g, phase, strip, part, x, w, bias, out, work, sums, groups, source, left, target, cut):
    """Some blocks of channels at one strip of pixels, for one phase of one group of one image."""
    (rows, cols, y0, x0, first, T, w0), width, tile = _seven(phase), source.width, cut.tile
    real = target.channels // groups
    per_group = max(real, ROWS)
    blocks, length = -(-per_group // ROWS), (rows - 1) * width + cols
    panels = -(-length // tile)
    b0, b1 = blocks * part // cut.parts, blocks * (part + 1) // cut.parts
    p0, p1 = panels * strip // cut.strips, panels * (strip + 1) // cut.strips
    block_size = ROWS * (p1 - p0) * tile
    panel = sums + (b1 - b0) * block_size
    upright, edge = panel + (p1 - p0) * DEPTH * tile, np.int64(0)
    run = (n * source.channels + g * (source.channels // groups)) * source.plane + p0 * tile
    corner = (n * groups + g) * real * target.plane + y0 * target.row + x0
    pieces = max(1, -(-T // DEPTH))
    for piece in range(pieces):
        t0, t1 = T * piece // pieces, T * (piece + 1) // pieces
        _load_strip(x, run, source.far, source.offsets, first + t0, t1 - t0, p1 - p0, work, panel, tile)
        for b in range(b0, b1):
            f = first_row(b, per_group)
            a, a0, a_row, a_step = w, w0 + (g * per_group + f) * T + t0, T, 1
            if left.step > 1:                                                        # w lies on its side: read a panel of its columns
                if b == b0 or f + ROWS > edge + tile:
                    edge = f
                    _load_strip(w, w0 + f, (T - 1) * left.step, left.columns, t0, t1 - t0, 1, work, upright, tile)
                a, a0, a_row, a_step = work, upright + f - edge, 1, tile
            for p in range(p0, p1):
                o = sums + (b - b0) * block_size + (p - p0) * ROWS * tile
                q = p * tile
                r, c = q // width, q % width
                inside = target.sx == 1 and c + tile <= cols and real >= ROWS        # a tile in one row of out needs no copying
                before, s, to, at, row = work, o, work, o, tile
                if piece == 0:
                    before, s = bias, (g * per_group + f) * tile
                if inside and piece == pieces - 1:
                    to, at, row = out, corner + f * target.plane + r * target.sy * target.row + c, target.plane
                product_tile(a, a0, a_row, a_step, work, panel + (p - p0) * DEPTH * tile, tile, t1 - t0, before, s, tile, to, at, row)
                if not inside and piece == pieces - 1:
                    _store_tile(work, o, min(real - f, ROWS), q, min(q + tile, length), width, cols, out, corner + f * target.plane, target,
                                tile)


@jit
def _seven(phase):
    """A row of the table as seven numbers."""
    return phase[0], phase[1], phase[2], phase[3], phase[4], phase[5], phase[6]


@jit
def first_row(block, rows):
    """The last block steps back, so as not to run over: it makes a few rows a second time, in a place of its own."""
    return min(block * ROWS, rows - ROWS)


@jit
def _load_strip(x, at, far, offsets, t0, count, panels, work, panel, tile):
    """panel[p, t, j] = x[at + offsets[t0 + t] + p*tile + j]."""
    if at + far + panels * tile <= len(x):
        load_panels(x, at, offsets, t0, count, panels, work, panel, DEPTH * tile)
        return
    for p in range(panels):                                                          # near the end of x: number by number
        for t in range(count):
            for j in range(tile):
                k = at + offsets[t0 + t] + p * tile + j
                work[panel + (p * DEPTH + t) * tile + j] = x[k] if k < len(x) else 0


@jit
def _store_tile(work, start, count, q0, q1, width, cols, out, corner, target, tile):
    """The sums of `count` channels for q0 <= q < q1 into the rows of out; what ran across the end of a row is left behind."""
    for r in range(q0 // width, (q1 - 1) // width + 1):
        first, last = max(q0, r * width), min(q1, r * width + cols)
        for m in range(count):
            source, at = start + m * tile + first - q0, corner + m * target.plane + r * target.sy * target.row
            at += (first - r * width) * target.sx
            if target.sx == 1:
                for i in range(last - first):
                    out[at + i] = work[source + i]
            else:
                for i in range(last - first):
                    out[at + i * target.sx] = work[source + i]


@jit_parallel
def _thin_sums(x, w, bias, out, N, groups, phases, source, target):
    """sums_of_runs, one channel after the other: the sum for a run grows in the first-level cache, tap by tap."""
    F = target.channels
    for k in prange(N * F):
        n, f = np.int64(k) // F, np.int64(k) % F
        sums = np.empty(RUN, x.dtype)
        for p in range(len(phases)):
            rows, cols, y0, x0, first, T, w0 = _seven(phases[p])
            plane = (n * source.channels + f // (F // groups) * (source.channels // groups)) * source.plane
            corner, length = (n * F + f) * target.plane + y0 * target.row + x0, (rows - 1) * source.width + cols
            for q in range(0, length, RUN):
                count = min(RUN, length - q)
                sums[:count] = bias[f]
                for t in range(T):
                    start = plane + source.offsets[first + t] + q
                    _add_run(sums, w[w0 + f * T + t], x[start:start + count])
                _store_tile(sums, 0, 1, q, q + count, source.width, cols, out, corner, target, RUN)


@jit
def _add_run(sums, weight, run):
    for j in range(len(run)):
        sums[j] += weight * run[j]
