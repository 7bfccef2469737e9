"""The two innermost loops of every convolution, written for the processor's vector registers.

This is the one file that speaks LLVM. Plain loops reach a third of what these reach, because the compiler will not keep a small matrix
of sums in registers across a loop; these do, and touch memory for their inputs only. What they compute is said in full by the two Python
functions, which also run in their place under NUMBA_DISABLE_JIT=1, so that a debugger can step through a convolution:

    multiply_tile   8 output channels x 2 registers of neighbouring pixels, summed over all taps of the filter   (forward, dx)
    correlate_tile  4 output channels x 4 taps, summed over a run of pixels                                      (dw)

and three more for Winograd's convolution (`winograd.py`), which keeps neighbouring channels in a register:

    product_tile    8 rows x 1 or 2 registers of a matrix product
    transform_tile  M @ x @ M.T of a small square x, a fixed small matrix M
    turn_tile       LANES runs of LANES numbers, transposed: planes of pixels become pixels of channels, and back

A register holds LANES numbers: 16 float32 or 8 float64 with AVX-512. Arrays come flattened; places in them are element offsets.
"""
import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_features = llvm.get_host_cpu_features()
_REGISTER_BYTES = 64 if _features.get("avx512f") else 32 if _features.get("avx") else 16
ROWS = 8 if _features.get("avx512f") else 4    # output channels of one tile: 8 x 2 sums fill half of AVX-512's 32 registers
REGISTERS = 2                                  # registers of pixels in one tile
TAPS = 4                                       # correlate_tile: taps (and channels) of one tile
_i64 = ir.IntType(64)


def lanes(dtype):
    """How many numbers of this dtype fit a register."""
    return _REGISTER_BYTES // np.dtype(dtype).itemsize


def _multiply_tile(weights, w0, x, x0, offsets, bias, b0, out, o0, row):
    """out[o0 + m*row + j] = bias[b0 + m] + sum over t of weights[w0 + t*ROWS + m] * x[x0 + offsets[t] + j], m < ROWS, j < 2*LANES."""
    width = REGISTERS * lanes(x.dtype)
    tile = np.repeat(bias[b0:b0 + ROWS, None], width, axis=1)
    for t, offset in enumerate(offsets):
        w = weights[w0 + t * ROWS:w0 + (t + 1) * ROWS, None]
        tile += w * x[x0 + offset:x0 + offset + width]
    for m in range(ROWS):
        out[o0 + m * row:o0 + m * row + width] = tile[m]


def _correlate_tile(d, d0, row, x, x0, offsets, t0, count, out, o0, out_row):
    """out[o0 + m*out_row + t] += sum over j < count*LANES of d[d0 + m*row + j] * x[x0 + offsets[t0 + t] + j], m < TAPS, t < TAPS."""
    length = count * lanes(x.dtype)
    for m in range(TAPS):
        for t in range(TAPS):
            start = x0 + offsets[t0 + t]
            out[o0 + m * out_row + t] += d[d0 + m * row:d0 + m * row + length] @ x[start:start + length]


def _product_tile(a, a0, a_row, a_step, b, b0, b_step, count, start, s0, s_row, out, o0, o_row, width):
    """out[o0 + m*o_row + j] = start[s0 + m*s_row + j] + sum over t < count of a[a0 + m*a_row + t*a_step] * b[b0 + t*b_step + j]."""
    j, t = np.arange(width), np.arange(count)
    right = b[b0 + t[:, None] * b_step + j]
    for m in range(ROWS):
        out[o0 + m * o_row + j] = start[s0 + m * s_row + j] + a[a0 + m * a_row + t * a_step] @ right


def _turn_tile(x, x0, source, s0, out, o0, target, t0):
    """out[o0 + target[t0 + j] + i] = x[x0 + source[s0 + i] + j], i, j < LANES."""
    n = lanes(x.dtype)
    for j in range(n):
        out[o0 + target[t0 + j]:o0 + target[t0 + j] + n] = x[x0 + source[s0:s0 + n] + j]


class _Emit:
    """Short names for the handful of vector instructions used below, for one dtype."""

    def __init__(self, builder, dtype):
        self.builder = builder
        self.scalar, self.itemsize = (ir.FloatType(), 4) if dtype == types.float32 else (ir.DoubleType(), 8)
        self.lanes = _REGISTER_BYTES // self.itemsize
        self.vector = ir.VectorType(self.scalar, self.lanes)
        name = f"v{self.lanes}f{8 * self.itemsize}"
        self._fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.vector, [self.vector] * 3), f"llvm.fma.{name}")
        self._sum = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(self.scalar, [self.scalar, self.vector]), f"llvm.vector.reduce.fadd.{name}")

    def pointer(self, array, index):
        return self.builder.gep(array, [index])

    def load(self, pointer, step=0):
        """LANES numbers from pointer + step registers on."""
        p = self.builder.gep(pointer, [_i64(step * self.lanes)])
        return self.builder.load(self.builder.bitcast(p, self.vector.as_pointer()), align=self.itemsize)

    def store(self, value, pointer, step=0):
        p = self.builder.gep(pointer, [_i64(step * self.lanes)])
        self.builder.store(value, self.builder.bitcast(p, self.vector.as_pointer()), align=self.itemsize)

    def broadcast(self, pointer, step=0):
        """One number in every lane."""
        value = self.builder.load(self.builder.gep(pointer, [_i64(step)]))
        empty = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes))

    def fma(self, a, b, c):
        return self.builder.call(self._fma, [a, b, c])

    def sum(self, vector):
        return self.builder.call(self._sum, [ir.Constant(self.scalar, 0.0), vector], fastmath=("reassoc",))

    def zero(self):
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def constant(self, value):
        return ir.Constant(self.vector, [float(value)] * self.lanes)

    def combine(self, rows, x):
        """The product of a small matrix of numbers with a list of registers.

        The rows of Winograd's matrices come in pairs that differ in the signs of the odd columns only: even and odd columns are summed
        apart, and a sum that was made before (or its negative) is not made again.
        """
        b, known = self.builder, {}

        def part(row, first):
            terms = sorted(((c, k) for k, c in enumerate(row) if c and k % 2 == first), key=lambda term: abs(term[0]) != 1)
            if not terms:
                return 0, None
            sign = 1 if terms[0][0] > 0 else -1
            terms = tuple((c * sign, k) for c, k in terms)
            if terms not in known:
                c, k = terms[0]
                total = x[k] if c == 1 else b.fmul(x[k], self.constant(c))
                for c, k in terms[1:]:
                    total = b.fadd(total, x[k]) if c == 1 else b.fsub(total, x[k]) if c == -1 else self.fma(x[k], self.constant(c), total)
                known[terms] = total
            return sign, known[terms]

        results = []
        for row in rows:
            (sign, even), (sign2, odd) = part(row, 0), part(row, 1)
            if even is None or odd is None:
                value, negative = (odd, sign2 < 0) if even is None else (even, sign < 0)
                results.append(b.fneg(value) if negative else value)
            elif sign > 0:
                results.append(b.fadd(even, odd) if sign2 > 0 else b.fsub(even, odd))
            else:
                results.append(b.fsub(odd, even) if sign2 > 0 else b.fneg(b.fadd(even, odd)))
        return results

    def transposed(self, rows):
        """LANES registers, turned as a matrix: log2(LANES) rounds that each interleave pairs of registers."""
        n, i32 = self.lanes, ir.IntType(32)
        low = [k // 2 + (n if k % 2 else 0) for k in range(n)]
        masks = [ir.Constant(ir.VectorType(i32, n), [m + half for m in low]) for half in (0, n // 2)]
        for _ in range(n.bit_length() - 1):
            rows = [self.builder.shuffle_vector(rows[k], rows[k + n // 2], mask) for k in range(n // 2) for mask in masks]
        return rows

    def loop(self, count, start):
        """Emit `for t in range(count): sums = body(t, sums)`: yields t and the sums held in registers; `close(new sums)` ends it."""
        b = self.builder
        before, body, after = b.block, b.append_basic_block("body"), b.append_basic_block("after")
        b.cbranch(b.icmp_signed(">", count, _i64(0)), body, after)
        b.position_at_end(body)
        t, sums = b.phi(_i64), [b.phi(self.vector) for _ in start]
        t.add_incoming(_i64(0), before)
        for phi, value in zip(sums, start, strict=True):
            phi.add_incoming(value, before)

        def close(new):
            t_next = b.add(t, _i64(1))
            t.add_incoming(t_next, b.block)
            for phi, value in zip(sums, new, strict=True):
                phi.add_incoming(value, b.block)
            end = b.block
            b.cbranch(b.icmp_signed("<", t_next, count), body, after)
            b.position_at_end(after)
            results = []
            for value0, value in zip(start, new, strict=True):
                phi = b.phi(self.vector)
                phi.add_incoming(value0, before)
                phi.add_incoming(value, end)
                results.append(phi)
            return results

        return t, sums, close


def _unpack(context, builder, signature, args):
    """Arrays become (data pointer, length), integers stay."""
    values = []
    for type_, value in zip(signature.args, args, strict=True):
        values.append(context.make_array(type_)(context, builder, value) if isinstance(type_, types.Array) else value)
    return values


@intrinsic
def _multiply_tile_llvm(typing, weights, w0, x, x0, offsets, bias, b0, out, o0, row):
    i = types.int64
    signature = types.void(weights, i, x, i, offsets, bias, i, out, i, i)

    def emit(context, builder, signature, args):
        weights, w0, x, x0, offsets, bias, b0, out, o0, row = _unpack(context, builder, signature, args)
        e = _Emit(builder, signature.args[2].dtype)
        w, first = e.pointer(weights.data, w0), e.pointer(x.data, x0)
        start = [e.broadcast(e.pointer(bias.data, b0), m) for m in range(ROWS) for _ in range(REGISTERS)]
        count = builder.extract_value(offsets.shape, 0)
        t, sums, close = e.loop(count, start)
        pixels = e.pointer(first, builder.load(e.pointer(offsets.data, t)))
        vectors = [e.load(pixels, j) for j in range(REGISTERS)]
        w_t = e.pointer(w, builder.mul(t, _i64(ROWS)))
        new = []
        for m in range(ROWS):
            weight = e.broadcast(w_t, m)
            new += [e.fma(weight, vectors[j], sums[m * REGISTERS + j]) for j in range(REGISTERS)]
        sums = close(new)
        for m in range(ROWS):
            target = e.pointer(out.data, builder.add(o0, builder.mul(row, _i64(m))))
            for j in range(REGISTERS):
                e.store(sums[m * REGISTERS + j], target, j)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def _correlate_tile_llvm(typing, d, d0, row, x, x0, offsets, t0, count, out, o0, out_row):
    i = types.int64
    signature = types.void(d, i, i, x, i, offsets, i, i, out, i, i)

    def emit(context, builder, signature, args):
        d, d0, row, x, x0, offsets, t0, count, out, o0, out_row = _unpack(context, builder, signature, args)
        e = _Emit(builder, signature.args[3].dtype)
        rows = [e.pointer(d.data, builder.add(d0, builder.mul(row, _i64(m)))) for m in range(TAPS)]
        places = [builder.load(e.pointer(offsets.data, builder.add(t0, _i64(t)))) for t in range(TAPS)]
        taps = [e.pointer(x.data, builder.add(x0, place)) for place in places]
        step, sums, close = e.loop(count, [e.zero()] * (TAPS * TAPS))
        at = builder.mul(step, _i64(e.lanes))
        left = [e.load(e.pointer(p, at)) for p in rows]
        right = [e.load(e.pointer(p, at)) for p in taps]
        sums = close([e.fma(left[m], right[t], sums[m * TAPS + t]) for m in range(TAPS) for t in range(TAPS)])
        for m in range(TAPS):
            target = e.pointer(out.data, builder.add(o0, builder.mul(out_row, _i64(m))))
            for t in range(TAPS):
                p = e.pointer(target, _i64(t))
                builder.store(builder.fadd(builder.load(p), e.sum(sums[m * TAPS + t])), p)
        return context.get_dummy_value()

    return signature, emit


def _product_tile_of(registers):
    """product_tile for one width of tile, in registers."""
    if numba.config.DISABLE_JIT:
        return lambda *args: _product_tile(*args, registers * lanes(args[0].dtype))

    @intrinsic
    def product_tile(typing, a, a0, a_row, a_step, b, b0, b_step, count, start, s0, s_row, out, o0, o_row):
        i = types.int64
        signature = types.void(a, i, i, i, b, i, i, i, start, i, i, out, i, i)

        def emit(context, builder, signature, args):
            a, a0, a_row, a_step, b, b0, b_step, count, start, s0, s_row, out, o0, o_row = _unpack(context, builder, signature, args)
            e = _Emit(builder, signature.args[0].dtype)
            rows = [e.pointer(a.data, builder.add(a0, builder.mul(a_row, _i64(m)))) for m in range(ROWS)]
            begins = [e.pointer(start.data, builder.add(s0, builder.mul(s_row, _i64(m)))) for m in range(ROWS)]
            t, sums, close = e.loop(count, [e.load(begin, j) for begin in begins for j in range(registers)])
            right = e.pointer(b.data, builder.add(b0, builder.mul(b_step, t)))
            vectors, at = [e.load(right, j) for j in range(registers)], builder.mul(a_step, t)
            new = []
            for m in range(ROWS):
                left = e.broadcast(e.pointer(rows[m], at))
                new += [e.fma(left, vectors[j], sums[m * registers + j]) for j in range(registers)]
            sums = close(new)
            for m in range(ROWS):
                target = e.pointer(out.data, builder.add(o0, builder.mul(o_row, _i64(m))))
                for j in range(registers):
                    e.store(sums[m * registers + j], target, j)
            return context.get_dummy_value()

        return signature, emit

    return product_tile


def transform_tile(matrix):
    """For a matrix M (n, k): out[o0 + i*out_row + j*out_col] = (M @ x @ M.T)[i, j] of the k x k numbers x[x0 + p*row + q*col];
    all LANES times, for neighbouring numbers."""
    n, k = matrix.shape

    def transform(x, x0, row, col, out, o0, out_row, out_col):
        lane = np.arange(lanes(x.dtype))
        tile = x[x0 + row * np.arange(k)[:, None, None] + col * np.arange(k)[:, None] + lane]                  # (k, k, LANES)
        result = np.einsum("ip,jq,pql->ijl", matrix, matrix, tile)
        out[o0 + out_row * np.arange(n)[:, None, None] + out_col * np.arange(n)[:, None] + lane] = result

    if numba.config.DISABLE_JIT:
        return transform

    @intrinsic
    def transform_llvm(typing, x, x0, row, col, out, o0, out_row, out_col):
        i = types.int64
        signature = types.void(x, i, i, i, out, i, i, i)

        def emit(context, builder, signature, args):
            x, x0, row, col, out, o0, out_row, out_col = _unpack(context, builder, signature, args)
            e, mul = _Emit(builder, signature.args[0].dtype), builder.mul
            first, target = e.pointer(x.data, x0), e.pointer(out.data, o0)
            half = []                                                                     # x @ M.T, row by row
            for p in range(k):
                start = e.pointer(first, mul(row, _i64(p)))
                half.append(e.combine(matrix, [e.load(e.pointer(start, mul(col, _i64(q)))) for q in range(k)]))
            for j in range(n):
                column = e.combine(matrix, [half[p][j] for p in range(k)])
                for i in range(n):
                    e.store(column[i], e.pointer(target, builder.add(mul(out_row, _i64(i)), mul(out_col, _i64(j)))))
            return context.get_dummy_value()

        return signature, emit

    return transform_llvm


@intrinsic
def _turn_tile_llvm(typing, x, x0, source, s0, out, o0, target, t0):
    i = types.int64
    signature = types.void(x, i, source, i, out, i, target, i)

    def emit(context, builder, signature, args):
        x, x0, source, s0, out, o0, target, t0 = _unpack(context, builder, signature, args)
        e, add = _Emit(builder, signature.args[0].dtype), builder.add

        def entry(table, first, k):
            return builder.load(e.pointer(table.data, add(first, _i64(k))))

        rows = [e.load(e.pointer(x.data, add(x0, entry(source, s0, k)))) for k in range(e.lanes)]
        for k, column in enumerate(e.transposed(rows)):
            e.store(column, e.pointer(out.data, add(o0, entry(target, t0, k))))
        return context.get_dummy_value()

    return signature, emit


multiply_tile = _multiply_tile if numba.config.DISABLE_JIT else _multiply_tile_llvm
correlate_tile = _correlate_tile if numba.config.DISABLE_JIT else _correlate_tile_llvm
turn_tile = _turn_tile if numba.config.DISABLE_JIT else _turn_tile_llvm
product_tile_1, product_tile_2 = _product_tile_of(1), _product_tile_of(2)
