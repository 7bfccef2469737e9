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
of a workspace: strip (pixels, LANES) -> values (36, tiles, C) -> products (36, tiles, panel of F) -> strip -> out.

With many tiles all filters are taken to their points first. With few that would take longest: U is four times as large as w, and leaves the
cache before it is used. Then the blocks are large, and tasks share out the filters instead of the blocks: each takes a panel of its filters
to the points, multiplies, and forgets them. `winograd_plan.py` decides.

Shapes here: N images, C and F channels in and out, th x tw tiles an image; U (36, C, F) filters at the points, in panels of 2 registers.
"""
import numpy as np
from numba import prange

from numpyvision.kernels import vector
from numpyvision.kernels import winograd_plan as planning
from numpyvision.kernels.jit import jit_inner, jit_parallel, num_threads
from numpyvision.kernels.winograd_plan import IN, LANES, OUT, PANEL, PIECE, POINTS, ROWS
from numpyvision.kernels.workspace import workspace

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

    Measured on one thread, direct against Winograd in ms: 512 -> 512 channels 1.1 and 2.2 at 4x4 (one tile), 3.1 and 2.3 at 8x8, 5.8 and
    3.2 at 12x12; 128 -> 128 0.13 and 0.16 at 4x4. Backward, Winograd always wins: the direct dx first turns the filters.
    """
    (F, C), (N, _, H, W) = w_shape[:2], x.shape
    tiles = N * -(-(H + 2 * padding[0] - 2) // OUT) * -(-(W + 2 * padding[1] - 2) // OUT)
    return tiles > 2 or F * C < 128 * 128


FILTERS, FORWARD, PRODUCTS, WEIGHTS, SLICE, SLICE_WEIGHTS = range(6)                 # the jobs of _spread
NOTHING = np.empty(0, np.float32)


def conv2d(x, w, b, padding):
    """(N, C, H, W), (F, C, 3, 3), (F,) or None -> (N, F, Ho, Wo)."""
    F, C = w.shape[:2]
    return _convolve(x, w, np.zeros(F, np.float32) if b is None else b, planning.taps(9, 9 * C, False), padding)


def conv2d_dx(dout, w, padding):
    """Gradient to x: dout convolved with the turned filter; what the padding added falls away."""
    C = w.shape[1]
    return _convolve(dout, w, np.zeros(C, np.float32), planning.taps(9 * C, 9, True), (2 - padding[0], 2 - padding[1]))


def conv2d_dw(dout, x, padding):
    """Gradient to w: dout (N, F, Ho, Wo), x (N, C, H, W) -> (F, C, 3, 3)."""
    F, C = dout.shape[1], x.shape[1]
    source, target, plan = planning.plan(x.shape, F, *padding, num_threads(), True)
    dw, sums = np.empty((F, C, 3, 3), np.float32), NOTHING if plan.slices else workspace("points", plan.tasks * POINTS * plan.u_step)
    rest = x.reshape(-1), dout.reshape(-1), sums, dw.reshape(-1), NOTHING, workspace("blocks", plan.tasks * plan.size)
    _spread(SLICE_WEIGHTS if plan.slices else PRODUCTS, plan.tasks, *rest, source, target, planning.TAPS_OUT, plan)
    if not plan.slices:
        _spread(WEIGHTS, F, *rest, source, target, planning.TAPS_OUT, plan)
    return dw


def _convolve(x, w, bias, taps, padding):
    """The forward sum, its filters read from w through `taps`."""
    source, target, plan = planning.plan(x.shape, len(bias), *padding, num_threads(), False)
    out = np.empty((len(x), len(bias), target.height, target.width), np.float32)
    U = NOTHING if plan.slices else workspace("points", (plan.tasks if plan.alone else 1) * POINTS * plan.u_step)
    rest = x.reshape(-1), out.reshape(-1), U, w.reshape(-1), bias, workspace("blocks", plan.tasks * plan.size), source, target, taps, plan
    if not plan.slices and not plan.alone:
        _spread(FILTERS, plan.tasks, *rest)
    _spread(SLICE if plan.slices else FORWARD, plan.tasks, *rest)
    return out


@jit_parallel
def _spread(job, count, x, y, points, w, bias, work, source, target, taps, plan):
    """The jobs that are shared between threads, in one loop, because compiling a parallel loop takes half a second.

    FILTERS   points (U) of one task's channels from w       FORWARD  one task's blocks of y (out) from x, points (U), bias
    PRODUCTS  one task's points (sums) from x and y (dout)   WEIGHTS  w (dw) of one filter from all tasks' points
    SLICE     one task's channels of y from x, w and bias    SLICE_WEIGHTS  w (dw) of one task's filters from x and y
    """
    for part in prange(count):
        k = np.int64(part)                                                         # prange counts in unsigned numbers
        flush_denormals(True)
        if job == FILTERS:
            C = source.channels
            _all_filters_to_points(w, C * k // count, C * (k + 1) // count, points, np.int64(0), C, target.channels, plan.u_step, taps)
        elif job == WEIGHTS:
            _add_sums(k, points, source.channels, plan)
            _points_to_weights(points, k * source.channels, w, k * source.channels * 9, source.channels, plan.u_step, taps)
        elif job == SLICE:
            _slice(k, x, y, w, bias, work, source, target, taps, plan)
        elif job == SLICE_WEIGHTS:
            _slice_weights(k, x, y, w, work, source, target, taps, plan)
        else:
            _blocks(k, job, x, y, points, w, bias, work, source, target, taps, plan)
        flush_denormals(False)


@jit_inner
def _blocks(task, job, x, y, points, w, bias, work, source, target, taps, plan):
    """One task's blocks of FORWARD or PRODUCTS. Filters that are soon done, each task takes to their points for itself."""
    C, F, zero = source.channels, target.channels, np.int64(0)                    # a plain 0 would be a type, and a compilation, of its own
    strip = task * plan.size
    values, products = strip + plan.values, strip + plan.products
    own = task * POINTS * plan.u_step if job == PRODUCTS or plan.alone else zero
    if job == FORWARD and plan.alone:
        _all_filters_to_points(w, zero, C, points, own, C, F, plan.u_step, taps)
    begin, end = plan.blocks * task // plan.tasks, plan.blocks * (task + 1) // plan.tasks
    for block in range(begin, end):
        strips = range(block * plan.per_block, min(plan.strips, (block + 1) * plan.per_block))
        count = zero
        for s in strips:
            if job == PRODUCTS:
                _strip_to_points(s, y, zero, F, target, work, strip, products, plan.p_step, count, plan)
            count = _strip_to_points(s, x, zero, C, source, work, strip, values, plan.v_step, count, plan)
        if job == PRODUCTS:
            _add_products(work, values, products, F, count, points, own, C, F, block - begin, plan)
            continue
        for f in range(0, F, PANEL):
            many, done = min(PANEL, F - f), zero
            _multiply_panel(work, values, C, products, many, count, points, own + f * C, bias, f, many, zero, plan)
            for s in strips:
                done = _products_to_strip(s, y, f, many, target, work, strip, products, plan.p_step, done, plan)


@jit_inner
def _slice(task, x, y, w, bias, work, source, target, taps, plan):
    """One task's channels of out: U only ever exists for PIECE channels and PANEL filters, which stay in the second-level cache."""
    first, F = _share(task, target.channels, plan)
    strip = task * plan.size
    values, products, U = strip + plan.values, strip + plan.products, strip + plan.points
    for block in range(plan.blocks):
        strips = range(block * plan.per_block, min(plan.strips, (block + 1) * plan.per_block))
        for c in range(0, source.channels, PIECE):
            C, count = min(PIECE, source.channels - c), np.int64(0)
            for s in strips:
                count = _strip_to_points(s, x, c, C, source, work, strip, values, plan.v_step, count, plan)
            for f in range(0, F, PANEL):
                many = min(PANEL, F - f)
                _filters_to_points(w, c * taps.channel + (first + f) * taps.filter, C, many, work, U, plan.u_step, taps)
                _multiply_panel(work, values, C, products + f, F, count, work, U, bias, first + f, many, c, plan)
        count = np.int64(0)
        for s in strips:
            count = _products_to_strip(s, y, first, F, target, work, strip, products, plan.p_step, count, plan)


@jit_inner
def _slice_weights(task, x, y, dw, work, source, target, taps, plan):
    """The dw of one task's filters, the sums over all tiles for PIECE channels and LANES filters at a time."""
    first, F = _share(task, target.channels, plan)
    strip = task * plan.size
    values, grads, sums = strip + plan.values, strip + plan.products, strip + plan.points
    count = np.int64(0)
    for s in range(plan.strips):
        count = _strip_to_points(s, y, first, F, target, work, strip, grads, plan.p_step, count, plan)
    for c in range(0, source.channels, PIECE):
        C = min(PIECE, source.channels - c)
        count = np.int64(0)
        for s in range(plan.strips):
            count = _strip_to_points(s, x, c, C, source, work, strip, values, plan.v_step, count, plan)
        for f in range(0, F, LANES):
            _add_products(work, values, grads + f, F, count, work, sums, C, min(LANES, F - f), np.int64(0), plan)
            for i in range(LANES):
                _points_to_weights(work, sums + i * C, dw, ((first + f + i) * source.channels + c) * 9, C, plan.u_step, taps)


@jit_inner
def _share(task, channels, plan):
    """The first of a task's channels, and how many it has: whole registers."""
    first, last = channels // LANES * task // plan.slices * LANES, channels // LANES * (task + 1) // plan.slices * LANES
    return first, last - first


@jit_inner
def _multiply_panel(work, values, C, products, row, count, U, u0, bias, first, F, before, plan):
    """products (36, tiles, F of a row) = values (36, tiles, C) @ U (36, C, F), U from u0 on, and the bias of channel `first` and the next.

    F: the filters of one panel. before: with 0 nothing was added yet; else this is added to it, instead of the bias.
    """
    zeros = np.zeros(PANEL, np.float32)
    for point in range(POINTS):
        a, u, o = values + point * plan.v_step, u0 + point * plan.u_step, products + point * plan.p_step
        start, s0, step = (work, o, row) if before else (bias, first, 0) if point == ONE else (zeros, 0, 0)
        for t in range(0, count, ROWS):                                            # the last step may multiply rows that hold no tile
            if F == PANEL:
                product_tile_2(work, a + t * C, C, 1, U, u, PANEL, C, start, s0 + t * step, step, work, o + t * row, row)
            else:
                product_tile_1(work, a + t * C, C, 1, U, u, LANES, C, start, s0 + t * step, step, work, o + t * row, row)


@jit_inner
def _add_products(work, values, grads, row, count, sums, s0, C, F, before, plan):
    """sums (36, F, C), from s0 on, = grads (36, tiles, F of a row).T @ values (36, tiles, C); added to, unless `before` is 0."""
    zeros = np.zeros(PANEL, np.float32)
    for point in range(POINTS):
        for f in range(0, F, ROWS):
            for c in range(0, C, PANEL):
                a, b, o = grads + point * plan.p_step + f, values + point * plan.v_step + c, s0 + point * plan.u_step + f * C + c
                start, begin, step = (sums, o, C) if before else (zeros, 0, 0)
                if c + PANEL <= C:
                    product_tile_2(work, a, 1, row, work, b, C, count, start, begin, step, sums, o, C)
                else:
                    product_tile_1(work, a, 1, row, work, b, C, count, start, begin, step, sums, o, C)


@jit_inner
def _origin(s, plan):
    """Strip s: its image, its first tile's row and column, and how many rows and columns of tiles it holds."""
    n, part = s // (plan.down * plan.across), s % (plan.down * plan.across)
    y, x = part // plan.across * plan.R, part % plan.across * plan.Q
    return n, y, x, min(plan.R, plan.th - y), min(plan.Q, plan.tw - x)


@jit_inner
def _strip_to_points(s, x, first, C, image, work, strip, values, step, count, plan):
    """The tiles of strip s of x or of dout, C channels from `first` on, at the 36 points, behind `count` tiles of the block.

    Returns the new count.
    """
    n, y, q, rows, cols = _origin(s, plan)
    border = image.side - OUT
    pitch = OUT * plan.Q + border
    for c in range(0, C, LANES):
        _load_strip(x, (n * image.channels + first + c) * image.height * image.width, image, y * OUT - image.top, q * OUT - image.left,
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


@jit_inner
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


@jit_inner
def _products_to_strip(s, out, first, F, image, work, strip, products, step, count, plan):
    """Strip s of out, F channels from `first` on, from the products at the 36 points.

    Returns how many tiles of the block are done.
    """
    n, y, q, rows, cols = _origin(s, plan)
    Ho, Wo, planes, places, pitch = image.height, image.width, image.planes, image.places, OUT * plan.Q
    height, width = min(rows * OUT, Ho - y * OUT), min(cols * OUT, Wo - q * OUT)
    whole, first_line = width == Wo, out.ctypes.data // out.itemsize
    length = height * Wo if whole else width
    for f in range(0, F, LANES):
        at = products + count * F + f
        for i in range(rows):
            for j in range(cols):
                products_to_pixels(work, at, IN * step, step, work, strip + (i * OUT * pitch + j * OUT) * LANES, pitch * LANES, LANES)
                at += F
        for r in range(1 if whole else height):
            start, target = strip + r * pitch * LANES, ((n * image.channels + first + f) * Ho + y * OUT + r) * Wo + q * OUT
            if length < LANES:
                for i in range(LANES):
                    for p in range(length):
                        out[target + planes[i] + p] = work[start + places[p] + i]
            k = -(first_line + target) % LANES - LANES                             # stores begin on a line of the cache, but for the first
            while k < length and length >= LANES:
                p = min(max(k, 0), length - LANES)
                turn_tile(work, start, places, p, out, target + p, planes, 0)
                k += LANES
    return count + rows * cols


@jit_inner
def _all_filters_to_points(w, first, last, U, u0, C, F, u_step, taps):
    """U (36, panels of F, C, PANEL), from u0 on, of channels `first` to `last`."""
    for f in range(0, F, PANEL):
        many = min(PANEL, F - f)
        _filters_to_points(w, first * taps.channel + f * taps.filter, last - first, many, U, u0 + f * C + first * many, u_step, taps)


@jit_inner
def _filters_to_points(w, w0, C, F, U, u0, u_step, taps):
    """U (36, C, F), from u0 on, of one panel of F filters and C channels, whose taps begin at w0: G w G.T."""
    nine = np.empty(LANES * LANES, np.float32)
    for c in range(C):
        for f in range(0, F, LANES):
            start = w0 + c * taps.channel + f * taps.filter
            if start + taps.source[LANES - 1] + LANES <= len(w):                   # LANES numbers of each filter, nine of them its taps
                turn_tile(w, start, taps.source, 0, nine, 0, taps.target, 0)
            else:
                for i in range(LANES):
                    for t in range(9):
                        nine[taps.target[t] + i] = w[start + taps.source[i] + t]
            weights_to_points(nine, 0, 3 * LANES, LANES, U, u0 + c * F + f, IN * u_step, u_step)


@jit_inner
def _add_sums(f, sums, C, plan):
    """The sums of all tasks for filter f, into those of the first."""
    for task in range(1, plan.tasks):
        for point in range(POINTS):
            total, part = point * plan.u_step + f * C, (task * POINTS + point) * plan.u_step + f * C
            for c in range(C):
                sums[total + c] += sums[part + c]


@jit_inner
def _points_to_weights(sums, s0, dw, start, C, u_step, taps):
    """The dw of one filter and C channels, from `start` on: G.T [sums, from s0 on] G."""
    nine, last = np.empty(LANES * LANES, np.float32), np.empty(LANES * LANES, np.float32)
    for c in range(0, C, LANES):
        points_to_weights(sums, s0 + c, IN * u_step, u_step, nine, 0, 3 * LANES, LANES)
        if c + LANES < C:
            turn_tile(nine, 0, taps.source, 0, dw, start + c * 9, taps.target, 0)  # each channel's nine cover what was too much of the last
        else:
            turn_tile(nine, 0, taps.source, 0, last, 0, taps.target, 0)            # but nothing covers what was too much of these
            for i in range(9 * LANES):
                dw[start + c * 9 + i] = last[i]
