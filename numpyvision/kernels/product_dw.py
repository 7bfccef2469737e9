"""The matrix product of `product.py` with the sum over pixels: the gradient to the filters of every direct convolution,
and to the input of a linear layer (inner products of rows with rows).

    products_of_runs  dw[f, t] = sum over n and q of d[n, f, q] * x[n, offset[t] + q]

The columns are taps here, and the rows of a panel pixels: LANES runs of x are turned upright, so that one pixel of them fills a register.

Shapes here: N images, G groups, F channels out, T taps; a *run* is a row of neighbouring numbers; *blocks* are 8 channels.
"""
from collections import namedtuple

import numba
import numpy as np
from numba import prange

from numpyvision.kernels import vector
from numpyvision.kernels.elementwise import LANES, fold
from numpyvision.kernels.jit import jit, jit_parallel
from numpyvision.kernels.product import DEPTH, ROWS, THIN, Source, cut_tasks, first_row, product_tile
from numpyvision.kernels.workspace import workspace

Runs = namedtuple("Runs", "channels plane width offsets far taps")
flush_denormals, turn_tile = vector.flush_denormals, vector.turn_tile


def products_of_runs(d, x, offsets, groups, length):
    """dw (F, T): dw[f, t] = sum over images and q < length of d[n, f, q] * x[n, g, offset[t] + q].   d (N, F, Pd), x (N, C, Px)."""
    N, F, Pd = d.shape
    per_group, T, tile = F // groups, len(offsets), 2 * vector.lanes(x.dtype)
    if per_group < THIN and groups > 1:
        dw = np.zeros((F, T), x.dtype)
        _thin_products(d.reshape(-1), x.reshape(-1), dw, N, groups, Pd, Source(*x.shape[1:], length, offsets, 0))
        return dw
    if per_group < ROWS:
        filled = np.zeros((N, groups, ROWS, Pd), d.dtype)
        filled[:, :, :per_group] = d.reshape(N, groups, per_group, Pd)
        dw = products_of_runs(filled.reshape(N, groups * ROWS, Pd), x, offsets, groups, length)
        return np.ascontiguousarray(dw.reshape(groups, ROWS, T)[:, :per_group].reshape(F, T))
    blocks, columns = -(-per_group // ROWS), -(-T // tile)
    offsets = np.concatenate([offsets, np.repeat(offsets[-1:], -T % tile)])          # fill up to whole tiles; cut off when copied out
    cut = cut_tasks(groups, columns, blocks, tile, numba.get_num_threads())
    dw, work = np.empty((F, T), x.dtype), workspace("product", cut.workers * cut.size, x.dtype)
    source = Runs(*x.shape[1:], length, offsets, int(offsets.max()), T)
    _products_loop(d.reshape(-1), x.reshape(-1), dw.reshape(-1), work, N, groups, Pd, source, np.arange(vector.lanes(x.dtype)) * tile,
                   np.zeros(tile, x.dtype), cut)
    return dw


@jit_parallel
def _products_loop(d, x, dw, work, N, groups, plane, source, upright, zeros, cut):
    tasks = groups * cut.strips * cut.parts
    for k in prange(cut.workers):
        worker = np.int64(k)
        flush_denormals(True)
        for task in range(tasks * worker // cut.workers, tasks * (worker + 1) // cut.workers):
            g, strip, part = task // (cut.parts * cut.strips), task // cut.parts % cut.strips, task % cut.parts
            _product_strip(g, strip, part, d, x, dw, work, worker * cut.size, N, groups, plane, source, upright, zeros, cut)
        flush_denormals(False)


@jit
def _product_strip(g, strip, part, d, x, dw, work, sums, N, groups, plane, source, upright, zeros, cut):
    """Some blocks of channels at one strip of taps of one group, over all images."""
    T, tile, channels = source.taps, cut.tile, source.channels // groups
    F = len(dw) // T
    per_group, panels = F // groups, len(source.offsets) // tile
    blocks = -(-per_group // ROWS)
    b0, b1 = blocks * part // cut.parts, blocks * (part + 1) // cut.parts
    p0, p1 = panels * strip // cut.strips, panels * (strip + 1) // cut.strips
    panel = sums + (b1 - b0) * (p1 - p0) * ROWS * tile
    pieces = -(-source.width // DEPTH)
    piece = -(-source.width // (pieces * len(upright))) * len(upright)
    for k in range(N * pieces):
        n, q = k // pieces, k % pieces * piece
        count, run = min(piece, source.width - q), (n * source.channels + g * channels) * source.plane + q
        for p in range(p0, p1):
            _turn_panel(x, run, source, p * tile, count, work, panel + (p - p0) * DEPTH * tile, upright, tile)
        for b in range(b0, b1):
            f = g * per_group + first_row(b, per_group)
            for p in range(p0, p1):
                o = sums + ((b - b0) * (p1 - p0) + p - p0) * ROWS * tile
                before, s, s_row, to, at, row = work, o, tile, work, o, tile
                if k == 0:
                    before, s, s_row = zeros, 0, 0
                if k == N * pieces - 1 and (p + 1) * tile <= T:
                    to, at, row = dw, f * T + p * tile, T
                product_tile(d, (n * F + f) * plane + q, plane, 1, work, panel + (p - p0) * DEPTH * tile, tile, count, before, s, s_row,
                             to, at, row)
    if p1 * tile > T:                                                                # the last panel is only partly there
        for b in range(b0, b1):
            o = sums + ((b - b0) * (p1 - p0) + p1 - 1 - p0) * ROWS * tile
            first = (g * per_group + first_row(b, per_group)) * T
            for m in range(ROWS):
                for t in range((p1 - 1) * tile, T):
                    dw[first + m * T + t] = work[o + m * tile + t - (p1 - 1) * tile]


@jit
def _turn_panel(x, run, source, t0, count, work, panel, upright, tile):
    """panel[q, j] = x[run + offsets[t0 + j] + q] for `count` pixels q, and a few more that nobody reads."""
    lanes, offsets = len(upright), source.offsets
    for q in range(0, count, lanes):
        if run + source.far + q + lanes <= len(x):
            for j in range(0, tile, lanes):
                turn_tile(x, run + q, offsets, t0 + j, work, panel + q * tile + j, upright, 0)
        else:                                                                        # near the end of x: number by number
            for j in range(tile):
                for i in range(q, q + lanes):
                    k = run + offsets[t0 + j] + i
                    work[panel + i * tile + j] = x[k] if k < len(x) else 0


@jit_parallel
def _thin_products(d, x, dw, N, groups, plane, source):
    """products_of_runs, one product after the other, in LANES partial sums side by side."""
    F, T = dw.shape
    for k in prange(F):
        f, lanes = np.int64(k), np.empty(LANES, x.dtype)
        for t in range(T):
            for n in range(N):
                a = (n * F + f) * plane
                b = (n * source.channels + f // (F // groups) * (source.channels // groups)) * source.plane + source.offsets[t]
                lanes[:] = 0
                for q in range(0, source.width, LANES):
                    end = min(q + LANES, source.width)
                    _add_products(lanes, d[a + q:a + end], x[b + q:b + end])
                dw[f, t] += fold(lanes)


@jit
def _add_products(lanes, left, right):
    for j in range(len(left)):
        lanes[j] += left[j] * right[j]
