"""Sums, ReLU and sigmoid in one pass, and what the losses need: sums, e^x and log(1 + x), written so that LLVM computes sixteen at a time.

`exp_negative` and `log1p_unit` call the C library for float64, one number at a time; gradient checks want its last digits. For float32
they are short polynomials without a branch, as exact as float32 can show (relative error below 2.5e-7) and about ten times as fast.
"""
import math

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic, overload

from numpyvision.kernels.jit import alone_below, jit_inner, jit_parallel

EXACT = {"fastmath": {"contract"}}      # no "reassoc": it would merge the two halves of log(2) below and lose what the split is for

SMALL = 32768                           # fewer numbers than this are not worth a second thread
LANES = 128                             # eight vectors of 16 floats: enough additions under way to hide how long one takes; `fold`: 2 * 4^3


@alone_below(SMALL)
@jit_parallel
def pass_positive(x, gate, out):
    """out = x where gate > 0, else 0; all flat. ReLU is its own gate. A choice that a NaN gate does not take: NaN shows."""
    zero = x.dtype.type(0)
    for i in prange(x.size):
        out[i] = zero if gate[i] <= zero else x[i]


@alone_below(SMALL)
@jit_parallel
def add(x, y, least, out):
    """out = max(least, x + y), all flat; with NaN for `least` the sum as it is, for no comparison with NaN is true.

    NumPy adds on one thread, whose second-level cache two maps and their sum seldom fit.
    """
    for i in prange(x.size):
        total = x[i] + y[i]
        out[i] = least if total <= least else total


@alone_below(SMALL)
@jit_parallel
def sigmoid(x, out):
    """out = 1 / (1 + e^-x), both flat; neither form of it overflows."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in prange(x.size):
        e = exp_negative(-abs(x[i]))
        out[i] = (one if x[i] >= zero else e) / (one + e)


@alone_below(SMALL)
@jit_parallel
def sigmoid_backward(dout, out, dx):
    """dx = dout * out * (1 - out); all flat."""
    one = dout.dtype.type(1)
    for i in prange(dout.size):
        dx[i] = dout[i] * out[i] * (one - out[i])


@jit_inner
def add_up(row, lanes):
    """The sum of a row; `lanes` (LANES,) is where it is formed."""
    lanes[:] = 0
    add_to_lanes(row, lanes)
    return fold(lanes)


@jit_inner
def add_to_lanes(row, lanes):
    """Add a row to LANES partial sums side by side: LLVM may not regroup a sum by itself (jit.py)."""
    whole = row.size - row.size % LANES
    for start in range(0, whole, LANES):
        for j in range(LANES):
            lanes[j] += row[start + j]
    for j in range(row.size - whole):
        lanes[j] += row[whole + j]


@jit_inner
def fold(lanes):
    """The sum of the lanes, which are spent: the four quarters are added up, then the quarters of what that gave, down to two numbers."""
    width = LANES // 4
    while width:
        for j in range(width):
            lanes[j] = (lanes[j] + lanes[j + width]) + (lanes[j + 2 * width] + lanes[j + 3 * width])
        width //= 4
    return lanes[0] + lanes[1]


def exp_negative(x):
    """e^x for x <= 0, where every stable loss keeps it (up to 87 it is as good). Below -87, where float32 runs out of exponents, 0."""
    return np.exp(x)


def log1p_unit(x):
    """log(1 + x) for 0 <= x <= 1."""
    return np.log1p(x)


SHIFT = np.float32(1.5 * 2**23)         # float32 as large as this are one apart: adding it rounds to a whole number, kept in the last bits


@intrinsic
def _power_of_two(context, n):
    """2^n as float32 from n + SHIFT, a whole number -126 <= n <= 127: its last bits are shifted up to where the exponent belongs."""
    def generate(context, builder, signature, arguments):
        i32 = ir.IntType(32)
        bits = builder.shl(builder.bitcast(arguments[0], i32), ir.Constant(i32, 23))
        return builder.bitcast(builder.add(bits, ir.Constant(i32, 127 << 23)), ir.FloatType())
    return types.float32(types.float32), generate


@overload(exp_negative, jit_options=EXACT)
def _exp_negative(x):
    if x != types.float32:
        return lambda x: math.exp(x)
    lowest, per_log2, one, zero = np.float32(-87), np.float32(1 / math.log(2)), np.float32(1), np.float32(0)
    log2_high, log2_low = np.float32(0.693359375), np.float32(math.log(2) - 0.693359375)      # n * log2_high is exact: 10 bits
    c2, c3, c4, c5, c6, c7 = (np.float32(c) for c in (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2,   # Cephes expf: minimax
                                                      8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4))  # on |r| <= log(2)/2

    def exp_float32(x):
        inside = lowest if x < lowest else x                           # NaN is not below: it stays NaN
        shifted = inside * per_log2 + SHIFT
        n = shifted - SHIFT                                            # x = n log(2) + r  =>  e^x = 2^n e^r
        r = inside - n * log2_high - n * log2_low
        e_r = (((((c7 * r + c6) * r + c5) * r + c4) * r + c3) * r + c2) * r * r + r + one
        return zero if x < lowest else e_r * _power_of_two(shifted)
    return exp_float32


@overload(log1p_unit, jit_options=EXACT)
def _log1p_unit(x):
    if x != types.float32:
        return lambda x: math.log1p(x)
    two = np.float32(2)
    c3, c5, c7, c9, c11, c13, c15 = (np.float32(2 / k) for k in (3, 5, 7, 9, 11, 13, 15))

    def log1p_float32(x):
        z = x / (two + x)                                              # log(1 + x) = 2 artanh(z) = 2 (z + z^3/3 + ...), z <= 1/3
        q = z * z
        return (((((((c15 * q + c13) * q + c11) * q + c9) * q + c7) * q + c5) * q + c3) * q + two) * z
    return log1p_float32
