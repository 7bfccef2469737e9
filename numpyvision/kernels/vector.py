"""The innermost loops of every convolution and matrix product, written for the processor's vector registers.

This is the one file that speaks LLVM. Plain loops reach a third of what these reach, because the compiler will not keep a small matrix
of sums in registers across a loop; these do, and touch memory for their inputs only. What they compute is said in full by Python
functions, which also run in their place under NUMBA_DISABLE_JIT=1, so that a debugger can step through a convolution:

    product_tile    8 rows x 1 or 2 registers of a matrix product
    table_tile      product_tile whose rows of the right matrix stand at the places of a table; tall_tile: of 12 rows; low_tile: of
                    4 rows x 4 registers; thin_tile: of 1 row x 8; gather_tile: whose numbers of the left matrix do too
    inner_tile      8 (or 1) x 3 inner products of long runs; sum_register adds up what they leave
    load_panels     runs from many places, cut into pieces of 2 registers and laid together (product.py's panels)
    copy_rows       neighbouring numbers of each row of an image, or every second one, by whole registers
    gather_run      every so manieth number, and not one number more
    put_rows        runs, each into neighbouring places, or every second one, or two runs in turn, and not one number more
    put_quads       four runs in turn: groups of four numbers, some way apart
    turn_tile       LANES runs of LANES numbers, transposed: planes of pixels become pixels of channels, and back
    flush_denormals numbers below 1e-38 count as 0 from now on, or no more: a multiplication with one takes a hundred times as long
    transform_tile  M @ x @ M.T of a small square x, a fixed small matrix M (Winograd's convolution)

A register holds LANES numbers: 16 float32 or 8 float64 with AVX-512. Arrays come flattened; places in them are element offsets.
"""
import ctypes

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_features = llvm.get_host_cpu_features()
_REGISTER_BYTES = 64 if _features.get("avx512f") else 32 if _features.get("avx") else 16
ROWS = 8 if _features.get("avx512f") else 4    # rows of a product_tile: 8 x 2 sums fill half of AVX-512's 32 registers
TALL = ROWS * 3 // 2                           # of a tall_tile: 12 x 2 sums still leave registers for the numbers they are made of
_i64 = ir.IntType(64)


def lanes(dtype):
    """How many numbers of this dtype fit a register."""
    return _REGISTER_BYTES // np.dtype(dtype).itemsize


def _load_panels(x, x0, offsets, t0, count, starts, s0, panels, gap, out, o0, step):
    """out[o0 + p*step + t*2*LANES + j*LANES + i] = x[x0 + offsets[t0 + t] + starts[s0 + p] + j*gap + i], p < panels, t < count, j < 2,
    i < LANES."""
    places = x0 + offsets[t0:t0 + count, None] + _columns(2, gap, x.dtype)
    for p in range(panels):
        out[o0 + p * step:o0 + p * step + places.size] = x[places + starts[s0 + p]].reshape(-1)


def _columns(registers, gap, dtype):
    """The places of a tile's columns: LANES neighbours, the next LANES a gap further on."""
    return (np.arange(registers)[:, None] * gap + np.arange(lanes(dtype))).reshape(-1)


def _copy_rows(x, x0, x_row, rows, count, out, o0, o_row, step):
    """out[o0 + r*o_row + i] = x[x0 + r*x_row + i*step], r < rows, i < count, and up to LANES - 1 numbers more behind each row, one row
    after the other."""
    for r in range(rows):
        start, at = x0 + r * x_row, o0 + r * o_row
        out[at:at + count] = x[start:start + count * step:step]


def _gather_run(x, x0, step, count, out, o0):
    """out[o0 + i] = x[x0 + i*step], i < count."""
    out[o0:o0 + count] = x[x0:x0 + count * step:step]


def _put_rows(x, x0, gap, rows, count, out, o0, starts, s0, step, runs):
    """out[o0 + starts[s0 + m] + i*step] = x[x0 + m*gap + i], m < rows, i < count. runs: so many starts follow one another."""
    for m in range(rows):
        first = o0 + starts[s0 + m]
        out[first:first + count * step:step] = x[x0 + m * gap:x0 + m * gap + count]


def _at(array, index):
    """A place in an array, to choose between arrays without counting references to them."""
    return array, index


def _product_tile(a, a0, a_row, a_step, b, b0, b_step, count, start, s0, s_row, out, o0, o_row, width):
    """out[o0 + m*o_row + j] = start[s0 + m*s_row + j] + sum over t < count of a[a0 + m*a_row + t*a_step] * b[b0 + t*b_step + j]."""
    j, t = np.arange(width), np.arange(count)
    for m in range(ROWS):
        out[o0 + m * o_row + j] = start[s0 + m * s_row + j] + a[a0 + m * a_row + t * a_step] @ b[b0 + t[:, None] * b_step + j]


def _table_tile(a, a_row, a_step, b, table, gap, count, start, s_row, out, o_row, o_gap, dtype, registers, rows):
    """product_tile with b[b0 + table[t] + ...]; a, b, table, start and out are places. dtype: an array of it.

    Of neighbouring registers, those of b begin a gap apart, those of out an o_gap."""
    (a, a0), (b, b0), (table, t0), (start, s0), (out, o0) = a, b, table, start, out
    j, right = np.arange(registers * lanes(dtype.dtype)), b[b0 + table[t0:t0 + count, None] + _columns(registers, gap, dtype.dtype)]
    for m in range(rows):
        sums = start[s0 + m * s_row + j] + a[a0 + m * a_row + np.arange(count) * a_step] @ right
        out[o0 + m * o_row + _columns(registers, o_gap, dtype.dtype)] = sums


def _gather_tile(a, a0, rows, m0, steps, t0, b, b0, count, start, s0, s_row, out, o0, o_row):
    """product_tile of 2 registers with a[a0 + rows[m0 + m] + steps[t0 + t]], and rows of b one behind the other."""
    width = 2 * lanes(a.dtype)
    j, right = np.arange(width), b[b0:b0 + count * width].reshape(count, width)
    for m in range(ROWS):
        out[o0 + m * o_row + j] = start[s0 + m * s_row + j] + a[a0 + rows[m0 + m] + steps[t0:t0 + count]] @ right


def _inner_tile(x, x0, x_row, y, y0, y_row, rows, count, places, p0, sums, s0, high):
    """sums[s0 + (m*3 + j)*LANES + i] += sum of x[x0 + places[m] + r*x_row + k] * y[y0 + places[p0 + j] + r*y_row + k], m < high, j < 3,
    over r < rows and k < count with k % LANES == i."""
    n = lanes(x.dtype)
    place, products = np.arange(rows)[:, None], np.zeros((rows, -(-count // n) * n), x.dtype)
    for m in range(high):
        for j in range(3):
            left, right = x0 + places[m] + place * x_row, y0 + places[p0 + j] + place * y_row
            products[:, :count] = x[left + np.arange(count)] * y[right + np.arange(count)]
            sums[s0 + (m * 3 + j) * n:s0 + (m * 3 + j + 1) * n] += products.reshape(-1, n).sum(axis=0)


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
        self.name = f"v{self.lanes}f{8 * self.itemsize}"

    def call(self, name, result, *arguments):
        """One of LLVM's own functions, by its name behind "llvm."."""
        kind = ir.FunctionType(result, [a.type for a in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}"), arguments)

    def pointer(self, array, index):
        return self.builder.gep(array, [index])

    def rows(self, pointer, step, count=ROWS):
        """Pointers to `count` rows, `step` apart."""
        return [self.pointer(pointer, self.builder.mul(step, _i64(m))) for m in range(count)]

    def load(self, pointer, step=0):
        """LANES numbers from pointer + step registers on."""
        p = self.builder.gep(pointer, [_i64(step * self.lanes)])
        return self.builder.load(self.builder.bitcast(p, self.vector.as_pointer()), align=self.itemsize)

    def store(self, value, pointer, step=0):
        p = self.builder.gep(pointer, [_i64(step * self.lanes)])
        self.builder.store(value, self.builder.bitcast(p, value.type.as_pointer()), align=self.itemsize)

    def everywhere(self, value):
        """One number in every lane."""
        kind, i32 = ir.VectorType(value.type, self.lanes), ir.IntType(32)
        empty = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(empty, value, i32(0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(i32, self.lanes), [0] * self.lanes))

    def broadcast(self, pointer):
        """The number at the pointer in every lane."""
        return self.everywhere(self.builder.load(pointer))

    def registers(self, count):
        """How many registers `count` numbers fill, the last one perhaps in part."""
        return self.builder.sdiv(self.builder.add(count, _i64(self.lanes - 1)), _i64(self.lanes))

    def among(self, numbers, count):
        """A mask: the lanes whose number is less than count."""
        limit = self.everywhere(self.builder.trunc(count, ir.IntType(32)))
        return self.builder.icmp_signed("<", ir.Constant(limit.type, numbers), limit)

    def before(self, count):
        """A mask: the first `count` lanes, all if there are not so many."""
        return self.among(list(range(self.lanes)), count)

    def store_some(self, value, mask, pointer, step=0):
        """The lanes of the mask, and nothing between them."""
        place = self.builder.bitcast(self.builder.gep(pointer, [_i64(step * self.lanes)]), self.vector.as_pointer())
        self.call(f"masked.store.{self.name}.p0", ir.VoidType(), value, place, ir.IntType(32)(self.itemsize), mask)

    def load_some(self, pointer, mask):
        """The lanes of the mask, zeros elsewhere; what lies there in memory is not touched."""
        place = self.builder.bitcast(pointer, self.vector.as_pointer())
        return self.call(f"masked.load.{self.name}.p0", self.vector, place, ir.IntType(32)(self.itemsize), mask, self.zero())

    def load_apart(self, pointer, step, mask):
        """Numbers from pointer on, `step` apart, into the lanes of the mask."""
        b = self.builder
        steps = self.everywhere(b.mul(step, _i64(self.itemsize)))
        places = b.add(self.everywhere(b.ptrtoint(pointer, _i64)), b.mul(steps, ir.Constant(steps.type, list(range(self.lanes)))))
        pointers = b.inttoptr(places, ir.VectorType(pointer.type, self.lanes))
        return self.call(f"masked.gather.{self.name}.v{self.lanes}p0", self.vector, pointers, ir.IntType(32)(self.itemsize), mask,
                         self.zero())

    def fma(self, a, b, c):
        return self.call(f"fma.{self.name}", self.vector, a, b, c)

    def sum(self, vector):
        """All lanes, added half to half."""
        n = self.lanes
        while n > 1:
            low, high = (ir.Constant(ir.VectorType(ir.IntType(32), n // 2), list(range(k, k + n // 2))) for k in (0, n // 2))
            vector = self.builder.fadd(self.builder.shuffle_vector(vector, vector, low), self.builder.shuffle_vector(vector, vector, high))
            n //= 2
        return self.builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

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

    def quads(self, rows):
        """Four registers dealt out: for each i < LANES, i and the i-th number of all four."""
        n, w, b = self.lanes, max(self.lanes, 4), self.builder

        def shuffled(x, y, pattern, count=w):
            """Numbers of x and, behind them, of y: four by the pattern, then the four that stand 4 places further on, and so on."""
            places = [place + k for k in range(0, count, 4) for place in pattern]
            return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), count), places))

        for k in range(0, min(n, 4), 2):
            left, right = (shuffled(*pair, [k, k + n, k + 1, k + 1 + n]) for pair in (rows[:2], rows[2:]))
            for i in (0, 1):
                mixed = shuffled(left, right, [2 * i, 2 * i + 1, 2 * i + w, 2 * i + 1 + w])
                for quarter in range(0, w, 4):
                    yield quarter + k + i, shuffled(mixed, mixed, range(quarter, quarter + 4), 4)

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
def _load_panels_llvm(typing, x, x0, offsets, t0, count, starts, s0, panels, gap, out, o0, step):
    i = types.int64
    signature = types.void(x, i, offsets, i, i, starts, i, i, i, out, i, i)

    def emit(context, builder, signature, args):
        x, x0, offsets, t0, count, starts, s0, panels, gap, out, o0, step = _unpack(context, builder, signature, args)
        e = _Emit(builder, signature.args[0].dtype)
        first, target, starts = e.pointer(x.data, x0), e.pointer(out.data, o0), e.pointer(starts.data, s0)
        places = e.pointer(offsets.data, t0)
        t, _, close = e.loop(count, [])
        source, row = e.pointer(first, builder.load(e.pointer(places, t))), e.pointer(target, builder.mul(t, _i64(2 * e.lanes)))
        p, _, close_panels = e.loop(panels, [])                                 # one long run of x, dealt out to all panels
        for j, run in enumerate(e.rows(e.pointer(source, builder.load(e.pointer(starts, p))), gap, 2)):
            e.store(e.load(run), e.pointer(row, builder.mul(p, step)), j)
        close_panels([])
        close([])
        return context.get_dummy_value()

    return signature, emit


def _emit_product(e, rows, step, right, count, begins, targets, registers, gap=None, o_gap=None):
    """The loop of a tile. rows, begins and targets: of each row, the pointers to a, start and out; step(t): how far number t of a is from
    the first; right(t): the pointer to row t of b; gap, o_gap: from register to register of b and out, LANES if not said."""
    gap, o_gap = gap or _i64(e.lanes), o_gap or _i64(e.lanes)
    t, sums, close = e.loop(count, [e.zero()] * (len(rows) * registers))
    at, new = step(t), []
    vectors = [e.load(register) for register in e.rows(right(t), gap, registers)]
    for m, row in enumerate(rows):
        left = e.broadcast(e.pointer(row, at))
        new += [e.fma(left, vectors[j], sums[m * registers + j]) for j in range(registers)]
    sums = close(new)
    for m, (begin, target) in enumerate(zip(begins, targets, strict=True)):
        for j, register in enumerate(e.rows(target, o_gap, registers)):
            e.store(e.builder.fadd(e.load(begin, j), sums[m * registers + j]), register)     # pieces of a long sum start small: more exact


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

            def right(t):
                return e.pointer(b.data, builder.add(b0, builder.mul(b_step, t)))

            _emit_product(e, e.rows(e.pointer(a.data, a0), a_row), lambda t: builder.mul(a_step, t), right, count,
                          e.rows(e.pointer(start.data, s0), s_row), e.rows(e.pointer(out.data, o0), o_row), registers)
            return context.get_dummy_value()

        return signature, emit

    return product_tile


def _table_tile_of(registers, height):
    """table_tile for one width and height."""
    if numba.config.DISABLE_JIT:
        return lambda *args: _table_tile(*args, registers, height)

    @intrinsic
    def table_tile(typing, a, a_row, a_step, b, table, gap, count, start, s_row, out, o_row, o_gap, dtype):
        i = types.int64

        def emit(context, builder, signature, args):
            a, a_row, a_step, b, table, gap, count, start, s_row, out, o_row, o_gap, _ = args
            e = _Emit(builder, signature.args[-1].dtype)
            a, b, start, out = (builder.inttoptr(place, e.scalar.as_pointer()) for place in (a, b, start, out))
            table = builder.inttoptr(table, _i64.as_pointer())

            def right(t):
                return e.pointer(b, builder.load(e.pointer(table, t)))

            rows, begins, targets = e.rows(a, a_row, height), e.rows(start, s_row, height), e.rows(out, o_row, height)
            _emit_product(e, rows, lambda t: builder.mul(a_step, t), right, count, begins, targets, registers, gap, o_gap)
            return context.get_dummy_value()

        return types.void(*[i] * 12, dtype), emit

    return table_tile


@intrinsic
def _gather_tile_llvm(typing, a, a0, rows, m0, steps, t0, b, b0, count, start, s0, s_row, out, o0, o_row):
    i = types.int64
    signature = types.void(a, i, rows, i, steps, i, b, i, i, start, i, i, out, i, i)

    def emit(context, builder, signature, args):
        a, a0, rows, m0, steps, t0, b, b0, count, start, s0, s_row, out, o0, o_row = _unpack(context, builder, signature, args)
        e = _Emit(builder, signature.args[0].dtype)
        first, steps = e.pointer(a.data, a0), e.pointer(steps.data, t0)
        left = [e.pointer(first, builder.load(e.pointer(rows.data, builder.add(m0, _i64(m))))) for m in range(ROWS)]

        def right(t):
            return e.pointer(b.data, builder.add(b0, builder.mul(_i64(2 * e.lanes), t)))

        _emit_product(e, left, lambda t: builder.load(e.pointer(steps, t)), right, count, e.rows(e.pointer(start.data, s0), s_row),
                      e.rows(e.pointer(out.data, o0), o_row), 2)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def _at_llvm(typing, array, index):
    def emit(context, builder, signature, args):
        array, index = _unpack(context, builder, signature, args)
        return builder.ptrtoint(builder.gep(array.data, [index]), _i64)

    return types.int64(array, types.int64), emit


def _inner_tile_of(high):
    """inner_tile for one number of left runs."""
    if numba.config.DISABLE_JIT:
        return lambda *args: _inner_tile(*args, high)

    @intrinsic
    def inner_tile(typing, x, x0, x_row, y, y0, y_row, rows, count, places, p0, sums, s0):
        i = types.int64
        signature = types.void(x, i, i, y, i, i, i, i, places, i, sums, i)

        def emit(context, builder, signature, args):
            x, x0, x_row, y, y0, y_row, rows, count, places, p0, sums, s0 = _unpack(context, builder, signature, args)
            e, add, mul = _Emit(builder, signature.args[0].dtype), builder.add, builder.mul
            table, target = [_i64(m) for m in range(high)] + [add(p0, _i64(j)) for j in range(3)], e.pointer(sums.data, s0)
            offsets = [builder.load(e.pointer(places.data, at)) for at in table]

            def add_products(numbers, totals):
                return [e.fma(a, b, totals[m * 3 + j]) for m, a in enumerate(numbers[:high]) for j, b in enumerate(numbers[high:])]

            whole = builder.sdiv(count, _i64(e.lanes))
            done = mul(whole, _i64(e.lanes))
            left = builder.sub(count, done)
            r, totals, close_rows = e.loop(rows, [e.load(target, k) for k in range(3 * high)])
            first, second = e.pointer(x.data, add(x0, mul(r, x_row))), e.pointer(y.data, add(y0, mul(r, y_row)))
            runs = [e.pointer(first if m < high else second, at) for m, at in enumerate(offsets)]
            k, totals, close = e.loop(whole, totals)
            totals = close(add_products([e.load(e.pointer(run, mul(k, _i64(e.lanes)))) for run in runs], totals))
            _, totals, close = e.loop(builder.zext(builder.icmp_signed(">", left, _i64(0)), _i64), totals)       # what is no whole register
            totals = close_rows(close(add_products([e.load_some(e.pointer(run, done), e.before(left)) for run in runs], totals)))
            for k, total in enumerate(totals):
                e.store(total, target, k)
            return context.get_dummy_value()

        return signature, emit

    return inner_tile


@intrinsic
def _sum_register_llvm(typing, x, x0):
    def emit(context, builder, signature, args):
        x, x0 = _unpack(context, builder, signature, args)
        e = _Emit(builder, signature.args[0].dtype)
        return e.sum(e.load(e.pointer(x.data, x0)))

    return x.dtype(x, types.int64), emit


def _sum_register(x, x0):
    """The sum of x[x0 + i], i < LANES."""
    return x[x0:x0 + lanes(x.dtype)].sum()


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


def _copy_rows_of(step):
    """copy_rows for every number (step 1) or every second one (step 2: of two registers, the even lanes)."""
    if numba.config.DISABLE_JIT:
        return lambda *args: _copy_rows(*args, step)

    @intrinsic
    def copy_rows(typing, x, x0, x_row, rows, count, out, o0, o_row):
        i = types.int64
        signature = types.void(x, i, i, i, i, out, i, i)

        def emit(context, builder, signature, args):
            x, x0, x_row, rows, count, out, o0, o_row = _unpack(context, builder, signature, args)
            e = _Emit(builder, signature.args[0].dtype)
            first, target = e.pointer(x.data, x0), e.pointer(out.data, o0)
            registers = e.registers(count)
            r, _, close_rows = e.loop(rows, [])
            first, target = e.pointer(first, builder.mul(r, x_row)), e.pointer(target, builder.mul(r, o_row))
            k, _, close = e.loop(registers, [])
            source = e.pointer(first, builder.mul(k, _i64(step * e.lanes)))
            numbers = [e.load(source, j) for j in range(step)]
            if step == 2:
                even = ir.Constant(ir.VectorType(ir.IntType(32), e.lanes), list(range(0, 2 * e.lanes, 2)))
                numbers = [builder.shuffle_vector(*numbers, even)]
            e.store(numbers[0], e.pointer(target, builder.mul(k, _i64(e.lanes))))
            close([])
            close_rows([])
            return context.get_dummy_value()

        return signature, emit

    return copy_rows


def _put_rows_of(step, runs):
    """put_rows into every `step`-th place, 1 or 2, for runs by themselves or, at step 2, by twos: lanes beyond a run are masked off."""
    if numba.config.DISABLE_JIT:
        return lambda *args: _put_rows(*args, step, runs)

    @intrinsic
    def put_rows(typing, x, x0, gap, rows, count, out, o0, starts, s0):
        i = types.int64
        signature = types.void(x, i, i, i, i, out, i, starts, i)

        def emit(context, builder, signature, args):
            x, x0, gap, rows, count, out, o0, starts, s0 = _unpack(context, builder, signature, args)
            e, mul = _Emit(builder, signature.args[0].dtype), builder.mul
            k, _, close = e.loop(e.registers(count), [])
            done = mul(k, _i64(e.lanes))
            left = builder.sub(count, done)
            first, target = e.pointer(x.data, builder.add(x0, done)), e.pointer(out.data, builder.add(o0, mul(done, _i64(step))))
            # of which number and run each place of the registers that are stored is
            places = [[divmod(place, step) for place in range(j * e.lanes, (j + 1) * e.lanes)] for j in range(step)]
            turns = [ir.Constant(ir.VectorType(ir.IntType(32), e.lanes), [i + run % runs * e.lanes for i, run in part]) for part in places]
            masks = [e.among([i if run < runs else 2**31 - 1 for i, run in part], left) for part in places]
            m, _, close_rows = e.loop(builder.sdiv(rows, _i64(runs)), [])
            m = mul(m, _i64(runs))
            values = [e.load(row) for row in e.rows(e.pointer(first, mul(m, gap)), gap, runs)]
            to = e.pointer(target, builder.load(e.pointer(starts.data, builder.add(s0, m))))
            for j, (turn, mask) in enumerate(zip(turns, masks, strict=True)):
                e.store_some(builder.shuffle_vector(values[0], values[-1], turn), mask, to, j)
            close_rows([])
            close([])
            return context.get_dummy_value()

        return signature, emit

    return put_rows


@intrinsic
def _put_quads_llvm(typing, x, x0, gap, rows, count, out, o0, starts, s0, step):
    """put_rows for runs by fours, into groups of places `step` apart."""
    i = types.int64
    signature = types.void(x, i, i, i, i, out, i, starts, i, i)

    def emit(context, builder, signature, args):
        x, x0, gap, rows, count, out, o0, starts, s0, step = _unpack(context, builder, signature, args)
        e, mul = _Emit(builder, signature.args[0].dtype), builder.mul
        k, _, close = e.loop(e.registers(count), [])
        done = mul(k, _i64(e.lanes))
        left = builder.sub(count, done)
        first, target = e.pointer(x.data, builder.add(x0, done)), e.pointer(out.data, builder.add(o0, mul(done, step)))
        m, _, close_rows = e.loop(builder.sdiv(rows, _i64(4)), [])
        m = mul(m, _i64(4))
        to = e.pointer(target, builder.load(e.pointer(starts.data, builder.add(s0, m))))
        for i, quad in e.quads([e.load(row) for row in e.rows(e.pointer(first, mul(m, gap)), gap, 4)]):
            with builder.if_then(builder.icmp_signed("<", _i64(i), left)):
                e.store(quad, e.pointer(to, mul(step, _i64(i))))
        close_rows([])
        close([])
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def _gather_run_llvm(typing, x, x0, step, count, out, o0):
    i = types.int64
    signature = types.void(x, i, i, i, out, i)

    def emit(context, builder, signature, args):
        x, x0, step, count, out, o0 = _unpack(context, builder, signature, args)
        e = _Emit(builder, signature.args[0].dtype)
        first, target = e.pointer(x.data, x0), e.pointer(out.data, o0)
        k, _, close = e.loop(e.registers(count), [])
        done = builder.mul(k, _i64(e.lanes))
        mask = e.before(builder.sub(count, done))
        e.store_some(e.load_apart(e.pointer(first, builder.mul(done, step)), step, mask), mask, e.pointer(target, done))
        close([])
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def _flush_denormals_llvm(typing, on):
    """Set the processor's FTZ and DAZ bits (x86), on this thread."""
    def emit(context, builder, signature, args):
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        slot = cgutils.alloca_once(builder, word)
        pointer, mode = builder.bitcast(slot, byte), ir.FunctionType(ir.VoidType(), [byte])
        get, put = (cgutils.get_or_insert_function(builder.module, mode, f"llvm.x86.sse.{name}") for name in ("stmxcsr", "ldmxcsr"))
        builder.call(get, [pointer])
        state = builder.load(slot)
        bits = ir.Constant(word, 0x8040)
        builder.store(builder.select(args[0], builder.or_(state, bits), builder.and_(state, builder.not_(bits))), slot)
        builder.call(put, [pointer])
        return context.get_dummy_value()

    return types.void(types.boolean), emit


def _leave_denormals(on):
    """Other processors are not slowed by them."""


load_panels = _load_panels if numba.config.DISABLE_JIT else _load_panels_llvm
turn_tile = _turn_tile if numba.config.DISABLE_JIT else _turn_tile_llvm
_has_bits = _features.get("sse2") and not numba.config.DISABLE_JIT
flush_denormals = _flush_denormals_llvm if _has_bits else numba.njit(_leave_denormals)
copy_rows_1, copy_rows_2 = _copy_rows_of(1), _copy_rows_of(2)
put_rows_1, put_rows_2, put_pairs = _put_rows_of(1, 1), _put_rows_of(2, 1), _put_rows_of(2, 2)
put_quads = (lambda *args: _put_rows(*args, 4)) if numba.config.DISABLE_JIT else _put_quads_llvm
gather_run = _gather_run if numba.config.DISABLE_JIT else _gather_run_llvm
product_tile_1, product_tile_2 = _product_tile_of(1), _product_tile_of(2)
table_tile, tall_tile = _table_tile_of(2, ROWS), _table_tile_of(2, TALL)
low_tile, thin_tile = _table_tile_of(4, ROWS // 2), _table_tile_of(8, 1)
gather_tile = _gather_tile if numba.config.DISABLE_JIT else _gather_tile_llvm
at = _at if numba.config.DISABLE_JIT else _at_llvm
inner_tile_1, inner_tile_rows = _inner_tile_of(1), _inner_tile_of(ROWS)
sum_register = _sum_register if numba.config.DISABLE_JIT else _sum_register_llvm


# ---------------------------------------------------------------------------------------------------------------- many arrays in one call
def _pointer_to(address, like):
    """A pointer to numbers of the dtype of the array `like`; numba.carray makes an array of it."""
    return ctypes.cast(int(address), ctypes.POINTER(np.ctypeslib.as_ctypes_type(like.dtype)))


@intrinsic
def _pointer_to_llvm(typing, address, like):
    def emit(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.int64, like), emit


pointer_to = _pointer_to if numba.config.DISABLE_JIT else _pointer_to_llvm
