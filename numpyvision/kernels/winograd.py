"""3x3 convolution at stride 1 with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin and Gray 2016, section 4).

Six neighbouring pixels and a filter of three make four outputs: 12 products if done one by one. Seen as polynomials they are a product
of degree 5, which is known from its values at six points: 6 products. The points are 0, 1, -1, 2, -2 and infinity; the matrices below take
pixels (B) and filter (G) to the values there, and the products back to outputs (A). In two dimensions the same is done to rows and
columns, and 36 products replace 144. Summing over channels before going back makes of each of the 36 points a matrix product:

    forward  out = A.T [sum over c of (G w G.T) * (B.T x B)] A            x a 6x6 tile, out a 4x4 tile
    dx       the same with the filter turned by 180 degrees and its two channel axes exchanged
    dw       dw  = G.T [sum over tiles of (B.T x B) * (A dout A.T)] G     the same chain, transposed: gradients of linear maps

The price is rounding: values at the point 2 grow to 2**5 times the pixels. Float32 keeps 1e-5 of the largest output, ten times less exact
than the direct sum: enough to train, not for a gradient check, so float64 never comes here.

Inside, LANES neighbouring channels share a register; a pixel of an image (N, C, H, W) is a column of such registers. A *strip* is R x Q
tiles of one image, a *block* as many strips as keep the second-level cache busy; a task (one thread) works off whole blocks in its own part
of a workspace: strip (pixels, LANES) -> values (36, tiles, C) -> products (36, tiles, F) -> strip -> out.

Shapes here: N images, C and F channels in and out, th x tw tiles an image; U (36, C, F) filters at the points, in panels of 2 registers.
"""
from collections import namedtuple
from functools import lru_cache

import numba
import numpy as np
from numba import prange

from numpyvision.kernels import vector
from numpyvision.kernels.jit import jit, jit_parallel
from numpyvision.kernels.workspace import workspace

LANES, ROWS = vector.lanes(np.float32), vector.ROWS
PANEL = 2 * LANES
OUT, IN, POINTS = 4, 6, 36                       # side of a tile of outputs, of inputs; number of points
ONE = 7                                          # the point (1, 1), whose value every output contains once: where the bias is added
B = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
              [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]).T
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]).T
flush_denormals, turn_tile = vector.flush_denormals, vector.turn_tile
product_tile_1, product_tile_2 = vector.product_tile_1, vector.product_tile_2
pixels_to_points, products_to_pixels = vector.transform_tile(B.T), vector.transform_tile(A.T)
gradients_to_points, points_to_weights = vector.transform_tile(A), vector.transform_tile(G.T)
weights_to_points = vector.transform_tile(G)


def suits(x, w_shape, stride, padding, dilation, groups):
    """Whether the three functions below take this convolution, and are the faster way. x: the image or the gradient to it, its shape."""
    (F, C, kh, kw), (H, W) = w_shape, x.shape[2:]
    return (x.dtype == np.float32 and (kh, kw) == (3, 3) and stride == dilation == (1, 1) and groups == 1 and max(padding) <= 2
            and C % LANES == 0 and F % LANES == 0 and min(H, W) >= OUT and len(x) > 0)


def pays_forward(x, w_shape, padding):
    """Whether there are tiles enough to share the work on the filters. Only where `suits`.

    U is four times as large as w, and with many channels writing it takes longer than the products of a small map. Measured on one
    thread, direct against Winograd in ms: 512 -> 512 channels 5.8 and 8.2 at 12x12 (9 tiles), 8.3 and 8.1 at 16x16, 13 and 11 at 20x20,
    29 and 18 at 25x38; 256 -> 256 channels 2.1 and 1.5 at 16x16; 96 -> 96 0.5 and 0.2 at 8x8. Backward, Winograd always wins: the direct
    dx first turns the filters, and dw gathers no U before its products.
    """
    (F, C), (N, _, H, W) = w_shape[:2], x.shape
    tiles = N * -(-(H + 2 * padding[0] - 2) // OUT) * -(-(W + 2 * padding[1] - 2) // OUT)
    return tiles >= 16 or F * C < 256 * 256


# How the tiles lie in x (side IN) or out (side OUT). channels: those that one task looks at, of `total`.
Image = namedtuple("Image", "channels total height width top left side planes places")
Plan = namedtuple("Plan", "th tw R Q down across strips per_block blocks tasks tiles size")
Taps = namedtuple("Taps", "channel filter source target")     # the taps from channel c to filter f begin at w[c*channel + f*filter]
FILTERS, FORWARD, PRODUCTS, WEIGHTS, SLICE, SLICE_WEIGHTS = range(6)                 # the jobs of _spread
FEW = 128                                                      # tiles for each thread: with fewer, threads share out the filters


def conv2d(x, w, b, padding):
    """(N, C, H, W), (F, C, 3, 3), (F,) or None -> (N, F, Ho, Wo)."""
    F, C = w.shape[:2]
    return _convolve(x, w, np.zeros(F, np.float32) if b is None else b, _taps(9, 9 * C, False), padding)


def conv2d_dx(dout, w, padding):
    """Gradient to x: dout convolved with the turned filter; what the padding added falls away."""
    C = w.shape[1]
    return _convolve(dout, w, np.zeros(C, np.float32), _taps(9 * C, 9, True), (2 - padding[0], 2 - padding[1]))


def conv2d_dw(dout, x, padding):
    """Gradient to w: dout (N, F, Ho, Wo), x (N, C, H, W) -> (F, C, 3, 3)."""
    F, C, threads = dout.shape[1], x.shape[1], numba.get_num_threads()
    slices = _slices(x.shape, F, *padding, threads)
    source, target, plan = _plan(x.shape, F, *padding, threads, slices)
    tasks = slices if slices > 1 else plan.tasks
    dw, sums = np.empty((F, C, 3, 3), np.float32), workspace("points", tasks * POINTS * target.channels * C)
    rest = dw.reshape(-1), NOTHING, workspace("blocks", tasks * plan.size), source, target, TAPS_OUT, plan
    _spread(SLICE_WEIGHTS if slices > 1 else PRODUCTS, tasks, x.reshape(-1), dout.reshape(-1), sums, *rest)
    if slices == 1:
        _spread(WEIGHTS, F, x.reshape(-1), dout.reshape(-1), sums, *rest)
    return dw


def _convolve(x, w, bias, taps, padding):
    """The forward sum, its filters read from w through `taps`."""
    threads = numba.get_num_threads()
    slices = _slices(x.shape, len(bias), *padding, threads)
    source, target, plan = _plan(x.shape, len(bias), *padding, threads, slices)
    tasks = slices if slices > 1 else plan.tasks
    out = np.empty((len(x), len(bias), target.height, target.width), np.float32)
    U, blocks = workspace("points", POINTS * x.shape[1] * len(bias)), workspace("blocks", tasks * plan.size)
    rest = x.reshape(-1), out.reshape(-1), U, w.reshape(-1), bias, blocks, source, target, taps, plan
    if slices == 1:
        _spread(FILTERS, x.shape[1], *rest)
    _spread(SLICE if slices > 1 else FORWARD, tasks, *rest)
    return out


@lru_cache(maxsize=512)
def _slices(x_shape, F, py, px, threads):
    """Into how many slices of filters the work is cut, one for a thread, instead of cutting the image: 1 for none.

    Shared by tiles, each thread fetches all of U, half of it out of the other's cache; shared by filters, each transforms all pixels.
    Measured on two threads, in ms: 96 -> 96 channels at 4x8x8 0.24 by tiles and 0.10 by filters, 512 -> 512 at 25x38 14 and 8.2,
    64 -> 64 at 4x32x32 0.51 and 0.48, at 4x64x64 1.61 and 1.72; 32 -> 32 at 8x32x32 0.28 and 0.34.
    """
    tiles = x_shape[0] * -(-(x_shape[2] + 2 * py - 2) // OUT) * -(-(x_shape[3] + 2 * px - 2) // OUT)
    return threads if tiles <= FEW * threads and F % (LANES * threads) == 0 and F >= PANEL * threads else 1


@lru_cache(maxsize=512)
def _plan(x_shape, F, py, px, threads, slices):
    """How the tiles lie in x and in out, how they are cut into strips and blocks, and how the blocks are shared out."""
    (N, C, H, W), total, F, threads = x_shape, F, F // slices, threads if slices == 1 else 1
    Ho, Wo = H + 2 * py - 2, W + 2 * px - 2
    th, tw = -(-Ho // OUT), -(-Wo // OUT)
    most = 32 if C + F < 256 else 48                                               # tiles in a block; many filters: read U less often
    most = max(ROWS, min(most, -(-N * th * tw // threads)))
    across = -(-tw // most)
    Q = -(-tw // across)
    down = -(-th // max(1, min(th, most // Q))) if across == 1 else th
    R = -(-th // down)
    strips = N * down * across
    per_block = max(1, most // (R * Q))
    rounds = -(-strips // (per_block * threads))
    per_block = -(-strips // (rounds * threads))                                   # as many blocks for every thread
    blocks = -(-strips // per_block)
    tiles = -(-per_block * R * Q // ROWS) * ROWS
    size = (OUT * R + 2) * (OUT * Q + 2) * LANES + POINTS * (tiles * (C + F) + 2 * LANES)
    plan = Plan(th, tw, R, Q, down, across, strips, per_block, blocks, min(threads, blocks), tiles, size)
    return Image(C, C, H, W, py, px, IN, *_places(H, W, IN, R, Q)), Image(F, total, Ho, Wo, 0, 0, OUT, *_places(Ho, Wo, OUT, R, Q)), plan


def _places(height, width, side, R, Q):
    """Where the LANES planes of a register begin in an image, and where the p-th pixel of a run of its rows stands in a strip."""
    p = np.arange((OUT * R + 2) * width)
    pitch = OUT * Q + side - OUT
    return np.arange(LANES) * height * width, (p // width * pitch + p % width) * LANES


@lru_cache(maxsize=512)
def _taps(channel, filter, turned):
    """Where LANES filters begin in w, and where their taps go; what is read behind the ninth is thrown on a heap."""
    t = np.arange(LANES)
    return Taps(channel, filter, t * filter, np.where(t < 9, 8 - t if turned else t, 9) * LANES)


TAPS_OUT = Taps(9, 9, np.arange(LANES) * LANES, np.arange(LANES) * 9)
NOTHING = np.empty(0, np.float32)


@jit_parallel
def _spread(job, count, x, y, points, w, bias, work, source, target, taps, plan):
    """The jobs that are shared between threads, in one loop, because compiling a parallel loop takes a second.

    FILTERS   points (U) of one channel from w                   FORWARD  one task's blocks of y (out) from x, points (U), bias
    PRODUCTS  one task's points (sums) from x and y (dout)       WEIGHTS  w (dw) of one filter from all tasks' points
    SLICE     FILTERS and FORWARD for one slice of filters       SLICE_WEIGHTS  PRODUCTS and WEIGHTS for one slice
    """
    for part in prange(count):
        k = np.int64(part)                                                         # prange counts in unsigned numbers
        C, F = source.channels, target.channels
        first, u0 = k * F, k * POINTS * F * C                                      # of a slice: its first filter, its part of points
        flush_denormals(True)
        if job == FILTERS:
            _filters_to_points(k, w, 0, points, 0, C, F, taps)
        elif job == WEIGHTS:
            _points_to_weights(k, points, 0, w, k, C, F, plan.tasks, taps)
        elif job == SLICE:
            for c in range(C):
                _filters_to_points(c, w, first * taps.filter, points, u0, C, F, taps)
            _blocks(k, 0, plan.blocks, FORWARD, x, y, first, points, u0, bias, work, source, target, plan)
        elif job == SLICE_WEIGHTS:
            _blocks(k, 0, plan.blocks, PRODUCTS, x, y, first, points, u0, bias, work, source, target, plan)
            for f in range(F):
                _points_to_weights(f, points, u0, w, first + f, C, F, 1, taps)
        else:
            begin, end = plan.blocks * k // plan.tasks, plan.blocks * (k + 1) // plan.tasks
            _blocks(k, begin, end, job, x, y, 0, points, u0 if job == PRODUCTS else 0, bias, work, source, target, plan)
        flush_denormals(False)


@jit
def _blocks(task, begin, end, job, x, y, first, points, u0, bias, work, source, target, plan):
    """One task's blocks of FORWARD or PRODUCTS, for the channels of y from `first` on, whose points begin at u0."""
    C, F = source.channels, target.channels
    strip = task * plan.size
    values = strip + (OUT * plan.R + 2) * (OUT * plan.Q + 2) * LANES
    v_step, p_step = plan.tiles * C + LANES, plan.tiles * F + LANES               # + LANES: a power of two would fill one set of the cache
    products = values + POINTS * v_step
    if job == PRODUCTS:
        points[u0:u0 + POINTS * F * C] = 0
    for block in range(begin, end):
        strips = range(block * plan.per_block, min(plan.strips, (block + 1) * plan.per_block))
        count = np.int64(0)
        for s in strips:
            if job == PRODUCTS:
                _strip_to_points(s, y, first, target, work, strip, products, p_step, count, plan)
            count = _strip_to_points(s, x, 0, source, work, strip, values, v_step, count, plan)
        if job == PRODUCTS:
            _add_products(work, values, v_step, products, p_step, count, points, u0, C, F)
            continue
        _multiply_points(work, values, v_step, products, p_step, count, points, u0, bias, first, C, F)
        count = np.int64(0)
        for s in strips:
            count = _products_to_strip(s, y, first, target, work, strip, products, p_step, count, plan)


@jit
def _multiply_points(work, values, v_step, products, p_step, count, U, u0, bias, first, C, F):
    """products (36, tiles, F) = values (36, tiles, C) @ U (36, C, F), U from u0 on, and the bias of channel `first` and the next."""
    zeros = np.zeros(first + F, np.float32)
    for point in range(POINTS):
        start = bias if point == ONE else zeros
        for f in range(0, F, PANEL):
            u = u0 + (point * F + f) * C
            for t in range(0, count, ROWS):                                        # the last step may multiply rows that hold no tile
                a, o = values + point * v_step + t * C, products + point * p_step + t * F + f
                if f + PANEL <= F:
                    product_tile_2(work, a, C, 1, U, u, PANEL, C, start, first + f, 0, work, o, F)
                else:
                    product_tile_1(work, a, C, 1, U, u, LANES, C, start, first + f, 0, work, o, F)


@jit
def _add_products(work, values, v_step, grads, g_step, count, sums, s0, C, F):
    """sums (36, F, C) += grads (36, tiles, F).T @ values (36, tiles, C)."""
    for point in range(POINTS):
        for f in range(0, F, ROWS):
            for c in range(0, C, PANEL):
                a, b, o = grads + point * g_step + f, values + point * v_step + c, s0 + (point * F + f) * C + c
                if c + PANEL <= C:
                    product_tile_2(work, a, 1, F, work, b, C, count, sums, o, C, sums, o, C)
                else:
                    product_tile_1(work, a, 1, F, work, b, C, count, sums, o, C, sums, o, C)


@jit
def _origin(s, plan):
    """Strip s: its image, its first tile's row and column, and how many rows and columns of tiles it holds."""
    n, part = s // (plan.down * plan.across), s % (plan.down * plan.across)
    y, x = part // plan.across * plan.R, part % plan.across * plan.Q
    return n, y, x, min(plan.R, plan.th - y), min(plan.Q, plan.tw - x)


@jit
def _strip_to_points(s, x, first, image, work, strip, values, step, count, plan):
    """The tiles of strip s of x or of dout, channels from `first` on, at the 36 points, behind `count` tiles of the block.

    Returns the new count.
    """
    n, y, q, rows, cols = _origin(s, plan)
    C, border = image.channels, image.side - OUT
    pitch = OUT * plan.Q + border
    for c in range(0, C, LANES):
        _load_strip(x, (n * image.total + first + c) * image.height * image.width, image, y * OUT - image.top, q * OUT - image.left,
                    rows * OUT + border, cols * OUT + border, work, strip, pitch)
        at = values + count * C + c
        for i in range(rows):
            for j in range(cols):
                corner = strip + (i * OUT * pitch + j * OUT) * LANES
                if border:
                    pixels_to_points(work, corner, pitch * LANES, LANES, work, at, IN * step, step)
                else:
                    gradients_to_points(work, corner, pitch * LANES, LANES, work, at, IN * step, step)
                at += C
    return count + rows * cols


@jit
def _load_strip(x, plane, image, h0, w0, rows, cols, work, strip, pitch):
    """Pixels (h0.., w0..) of LANES planes, channels last; zeros outside of the image."""
    H, W, planes, places = image.height, image.width, image.planes, image.places
    top, bottom, left, right = max(0, -h0), min(rows, H - h0), max(0, -w0), min(cols, W - w0)
    for r in range(rows):
        row = strip + r * pitch * LANES
        if r < top or r >= bottom:
            work[row:row + cols * LANES] = 0
        else:
            work[row:row + left * LANES] = 0
            work[row + right * LANES:row + cols * LANES] = 0
    whole = right - left == W                                                      # rows follow each other: one long run
    length = (bottom - top) * W if whole else right - left
    for r in range(top, top + 1 if whole else bottom):
        start, target = plane + (h0 + r) * W + w0 + left, strip + (r * pitch + left) * LANES
        if length < LANES:
            for p in range(length):
                for i in range(LANES):
                    work[target + places[p] + i] = x[start + planes[i] + p]
        for k in range(0, length if length >= LANES else 0, LANES):
            p = min(k, length - LANES)                                             # the last step turns back, so as not to run over
            turn_tile(x, start + p, planes, 0, work, target, places, p)


@jit
def _products_to_strip(s, out, first, image, work, strip, products, step, count, plan):
    """Strip s of out (N, F, Ho, Wo), channels from `first` on, from the products at the 36 points.

    Returns how many tiles of the block are done.
    """
    n, y, q, rows, cols = _origin(s, plan)
    F, Ho, Wo, planes, places, pitch = image.channels, image.height, image.width, image.planes, image.places, OUT * plan.Q
    height, width = min(rows * OUT, Ho - y * OUT), min(cols * OUT, Wo - q * OUT)
    whole = width == Wo
    length = height * Wo if whole else width
    for f in range(0, F, LANES):
        at = products + count * F + f
        for i in range(rows):
            for j in range(cols):
                products_to_pixels(work, at, IN * step, step, work, strip + (i * OUT * pitch + j * OUT) * LANES, pitch * LANES, LANES)
                at += F
        for r in range(1 if whole else height):
            start, target = strip + r * pitch * LANES, ((n * image.total + first + f) * Ho + y * OUT + r) * Wo + q * OUT
            if length < LANES:
                for i in range(LANES):
                    for p in range(length):
                        out[target + planes[i] + p] = work[start + places[p] + i]
            for k in range(0, length if length >= LANES else 0, LANES):
                p = min(k, length - LANES)
                turn_tile(work, start, places, p, out, target + p, planes, 0)
    return count + rows * cols


@jit
def _filters_to_points(c, w, w0, U, u0, C, F, taps):
    """U (36, panels of F, C, PANEL), from u0 on, of the F filters from w0 on that read channel c: G w G.T."""
    nine = np.empty(LANES * LANES, np.float32)
    for f in range(0, F, LANES):
        start = w0 + c * taps.channel + f * taps.filter
        if start + taps.source[LANES - 1] + LANES <= len(w):                       # LANES numbers of each filter, nine of them its taps
            turn_tile(w, start, taps.source, 0, nine, 0, taps.target, 0)
        else:
            for i in range(LANES):
                for t in range(9):
                    nine[taps.target[t] + i] = w[start + taps.source[i] + t]
        panel = f // PANEL * PANEL
        width = min(PANEL, F - panel)
        weights_to_points(nine, 0, 3 * LANES, LANES, U, u0 + panel * C + c * width + f - panel, IN * F * C, F * C)


@jit
def _points_to_weights(f, sums, u0, dw, row, C, F, tasks, taps):
    """dw[row] = G.T [the tasks' sums for filter f, from u0 on] G."""
    for task in range(1, tasks):
        for point in range(POINTS):
            total, part = (point * F + f) * C, ((task * POINTS + point) * F + f) * C
            for c in range(C):
                sums[total + c] += sums[part + c]
    nine, turned = np.empty(LANES * LANES, np.float32), np.empty(LANES * LANES, np.float32)
    for c in range(0, C, LANES):
        points_to_weights(sums, u0 + f * C + c, IN * F * C, F * C, nine, 0, 3 * LANES, LANES)
        turn_tile(nine, 0, taps.source, 0, turned, 0, taps.target, 0)              # each channel's nine cover what was too much of the last
        for i in range(9 * LANES):
            dw[(row * C + c) * 9 + i] = turned[i]
