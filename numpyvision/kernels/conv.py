"""Convolution without a column buffer: forward, dx and dw from one idea.

Lay the padded image out as one long row of numbers. Then the pixel that tap (c, i, j) of the filter reads, for the output at row r and
column q, stands at a fixed distance from it:

    out[f, r, q] = b[f] + sum over t of w[f, t] * x[offset[t] + r*width + q]           t = (c, i, j),  offset[t] = (c*Hp + i)*Wp + j

so a whole run of outputs is a sum of shifted runs of inputs, and no pixel is copied nine times as im2col does. (The few outputs whose run
crosses the end of a row are computed too and thrown away.) With stride s the padded image is first split into s*s smaller ones, "phases",
that hold every s-th row and column; within a phase the taps are again a fixed distance away.

    forward  the sum above
    dx       the same sum over dout, with the filter turned by 180 degrees, for each phase of x; those that read the same places as one
    dw       dw[f, t] = sum over r, q of dout[f, r, q] * x[offset[t] + r*width + q]

What depends on shapes alone, offsets and all, `conv_plan.py` works out once for each.
3x3 filters at stride 1 in float32, most of a network, are handed on to `winograd.py`; dw of filters as wide as registers to
`product_wide.py`.

Shapes here: N images, C and F channels in and out, G groups, T = C/G * kh * kw taps, P numbers in a padded plane.
"""
import numpy as np
from numba import prange

from numpyvision.kernels import conv_plan as planning
from numpyvision.kernels import product, product_dw, product_wide, vector, winograd
from numpyvision.kernels.elementwise import LANES as SUM_LANES
from numpyvision.kernels.elementwise import SMALL, add_up
from numpyvision.kernels.jit import alone_below, jit, jit_inner, jit_parallel, num_threads
from numpyvision.kernels.workspace import workspace

LANES, copy_rows_1, copy_rows_2, gather_run = vector.lanes(np.float32), vector.copy_rows_1, vector.copy_rows_2, vector.gather_run


def conv2d(x, w, b, stride, padding, dilation, groups, planes=None):
    """(N, C, H, W), (F, C/G, kh, kw), (F,) or None -> (N, F, Ho, Wo).   planes: padded_planes', if made before."""
    if winograd.suits(x, w.shape, stride, padding, dilation, groups) and winograd.pays_forward(x, w.shape, padding):
        return winograd.conv2d(x, w, b, padding)
    plan = planning.forward(x.shape, w.shape, stride, padding, dilation, groups, b is not None, vector.lanes(x.dtype), num_threads())
    out = np.empty(plan.shape, x.dtype)
    if out.size:
        planes = _padded_phases(x, plan.reads) if planes is None else planes
        product.sums_of_runs(planes, w.reshape(-1), b, out, plan.sums)
    return out


def conv2d_dx(dout, w, x_shape, stride, padding, dilation, groups):
    """Gradient to x: dx[y] collects w[i] * dout[(y + p - i*d) / s] over the taps i for which that is a whole number."""
    if winograd.suits(dout, w.shape, stride, padding, dilation, groups):
        return winograd.conv2d_dx(dout, w, padding)
    if (*w.shape[2:], groups) == (1, 1, 1) and stride == (1, 1) and padding == (0, 0) and dout.shape[2:] == x_shape[2:]:
        return conv2d(dout, np.ascontiguousarray(w.swapaxes(0, 1)), None, stride, padding, dilation, groups)      # dx = w.T @ dout
    dx = np.empty(x_shape, dout.dtype)
    if not dx.size * dout.size:
        return np.zeros_like(dx)
    plan = planning.to_image(dout.shape, w.shape, x_shape, stride, padding, dilation, groups, vector.lanes(dout.dtype), num_threads())
    if not plan.all_read:
        dx[:] = 0                                                          # pixels that no output reads
    if plan.sums:
        product.sums_of_runs(_padded_phases(dout, plan.reads), _turned(w, groups, plan.taps), None, dx, plan.sums)
    return dx


def conv2d_dw(dout, x, w_shape, stride, padding, dilation, groups, planes=None):
    """Gradient to w: for each tap, the inner product of dout with the run of x that the tap reads.   planes: padded_planes', if made."""
    if winograd.suits(x, w_shape, stride, padding, dilation, groups):
        return winograd.conv2d_dw(dout, x, padding)
    if not dout.size * x.size:
        return np.zeros(w_shape, x.dtype)
    if product_wide.suits(w_shape, dilation, groups, x.dtype):
        return product_wide.products(dout, x, w_shape, stride, padding, groups)
    plan = planning.to_filters(dout.shape, x.shape, w_shape, stride, padding, dilation, groups, vector.lanes(x.dtype), num_threads())
    planes = _padded_phases(x, plan.reads) if planes is None else planes
    return product_dw.products_of_runs(_padded_phases(dout, plan.reads_d, "runs"), planes, plan.products).reshape(w_shape)


@alone_below(SMALL)
@jit_parallel
def conv2d_db(dout):
    """Gradient to b: dout summed over images and pixels. (N, F, Ho*Wo) -> (F,)."""
    N, F = dout.shape[:2]
    db = np.zeros(F, dout.dtype)
    for f in prange(F):
        lanes = np.empty(SUM_LANES, dout.dtype)
        for n in range(N):
            db[f] += add_up(dout[n, f], lanes)
    return db


def _turned(w, groups, taps):
    """w for dx, of each product (G, C/G, phases, F/G, places): 0 where a phase has no tap at a place."""
    F, Cg = w.shape[:2]
    filters, start = np.empty(F * Cg * sum(table.size for table in taps), w.dtype), 0
    for table in taps:
        end = start + F * Cg * table.size
        _turn(w.reshape(groups, F // groups, Cg, -1), table, filters[start:end].reshape(groups, Cg, len(table), F // groups, -1))
        start = end
    return filters


@jit
def _turn(w, table, out):
    G, F, C, _ = w.shape
    for g in range(G):
        for c in range(C):
            for s in range(len(table)):
                for f in range(F):
                    for t in range(table.shape[1]):
                        tap = table[s, t]
                        out[g, c, s, f, t] = w[g, f, c, tap] if tap >= 0 else 0


def padded_planes(x, w_shape, stride, padding, dilation, groups):
    """x padded and split once, for the next conv2d and conv2d_dw that read it (it lies in a workspace); None if they don't."""
    if winograd.suits(x, w_shape, stride, padding, dilation, groups) or not x.size:
        return None
    return _padded_phases(x, planning.reads_of(x.shape, w_shape, stride, padding, dilation, groups, vector.lanes(x.dtype))[0])


def _padded_phases(x, plan, name="planes"):
    """The copy (N, C, P) lies in a workspace: the next one of this name takes its place. Where nothing is to be done, it is x itself."""
    if plan.phases is None:
        return x.reshape(plan.shape)
    N, C, P = plan.shape
    planes = workspace(name, N * C * P, x.dtype)[:N * C * P]
    _copy_phases(x.reshape(-1), planes, P, *x.shape[1:], plan.phases, *plan.stride, plan.top, plan.left, plan.height, plan.width)
    return planes.reshape(plan.shape)


@alone_below(SMALL)
@jit_parallel
def _copy_phases(x, planes, P, C, H, W, phases, sy, sx, top, left, height, width):
    for k in prange(len(planes) // P):
        plane = np.int64(k)                                      # prange counts in unsigned numbers
        at = plane * P
        for p in range(len(phases)):
            py, px = phases[p, 0] - top, phases[p, 1] - left
            r0, r1 = _inside(py, sy, H, height)
            lo, hi = _inside(px, sx, W, width)
            _fill(planes, at, r0 * width)
            _copy_rows(x, (plane * H + r0 * sy + py) * W + px + lo * sx, sy * W, r1 - r0, hi - lo, planes, at + r0 * width + lo, width, sx)
            for row in range(at + r0 * width, at + r1 * width, width):
                for q in range(row, row + lo):
                    planes[q] = 0
                for q in range(row + hi, row + width):
                    planes[q] = 0
            _fill(planes, at + r1 * width, (height - r1) * width)
            at += height * width
        _fill(planes, at, (plane + 1) * P - at)


@jit_inner
def _inside(start, step, size, count):
    """Which of the places start + q*step, q < count, are places of an array of this size: first <= q < end."""
    first = max(0, -(start // step))
    return first, max(first, min(count, (size - 1 - start) // step + 1))


@jit_inner
def _fill(planes, start, count):
    for q in range(start, start + count):
        planes[q] = 0


@jit_inner
def _copy_rows(x, start, x_row, rows, count, planes, at, row, step):
    """What a register writes behind the end of a row is written again with the next row, or with the zeros behind the last."""
    if step <= 2 and count > 0:
        whole = max(0, min(rows, (len(x) - start - step * (count + LANES)) // x_row + 1))      # rows that no register reads beyond x for
        if step == 1:
            copy_rows_1(x, start, x_row, whole, count, planes, at, row)
        else:
            copy_rows_2(x, start, x_row, whole, count, planes, at, row)
    else:
        whole = 0
    for r in range(whole, rows):
        gather_run(x, start + r * x_row, step, count, planes, at + r * row)
