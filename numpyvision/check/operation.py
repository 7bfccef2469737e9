"""Does an operation keep the law? Every promise of the contract, by name, cheapest first.

    print(check_op(conv2d_forward, conv2d_backward, [x, w, b], {"padding": 1}, rng=np.random.default_rng(0)))

The operation runs in the mode that is set (`numpyvision.use`); one check compares both modes. `reference` is a second (forward, backward)
to compare with: the exercise checker passes the library's own.
"""
import contextlib

import numpy as np

from numpyvision import backend
from numpyvision.cache import frozen, leaves
from numpyvision.check import difference
from numpyvision.check.calls import argument_names, operation_name, pure_call
from numpyvision.check.gradcheck import gradcheck
from numpyvision.check.report import Check, Contract

# Readable and compiled bodies sum in different orders. float64: 1e-10 leaves three digits above what that costs.
# float32: one rounding is 6e-8, and sums of some hundred terms of either sign lose two digits of the largest term.
SAME = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 2e-5}


def check_op(forward, backward, args, kwargs=None, *, rng, reference=None, constants=(), mutates=(), empty=None, fixed=None, stop=False,
             title=None):
    """Run the contract on one operation -> Contract (list of named checks; true if all passed).

    args: the array inputs in forward's order. constants: names of floating inputs without a gradient. mutates: names of inputs that forward
    may write (batch norm's running statistics). empty: names of the inputs to cut to length 0 for the empty batch, default the first one;
    () for none. fixed: {name: columns} that must not move, see gradcheck. stop=True ends at the first failure.
    """
    subject = _Subject(forward, backward, args, kwargs or {}, rng, tuple(constants), tuple(mutates), empty, fixed)
    promises = [
        ("runs", subject.runs),
        ("gradient shapes", subject.gradient_shapes),
        ("dtype kept", subject.dtype_kept),
        ("nothing written", subject.nothing_written),
        ("nothing shared", subject.nothing_shared),
        ("backward twice", subject.backward_twice),
        ("non-contiguous", subject.non_contiguous),
        ("empty batch", subject.empty_batch),
        ("gradient", subject.gradient),
        ("readable equals compiled", subject.readable_equals_compiled),
    ]
    if reference is not None:
        promises.insert(1, ("same as reference", lambda: subject.same_as(*reference)))
    contract = Contract(title or operation_name(forward))
    for name, promise in promises:
        try:
            problem = promise()
        except Exception as error:                                   # a promise that raises is a broken promise, not a broken checker
            problem = f"raised {type(error).__name__}: {error}"
        contract.checks.append(Check(name, not problem, problem or ""))
        if problem and (stop or name == "runs"):
            break
    contract.gradients = subject.report
    return contract


class _Subject:
    """One operation with its inputs. Each method is a promise: it returns None if kept, else a sentence."""

    def __init__(self, forward, backward, args, kwargs, rng, constants, mutates, empty, fixed):
        self.forward, self.backward, self.kwargs, self.rng = forward, backward, kwargs, rng
        self.args, self.constants, self.mutates = [_as_dtype(a, np.float64) for a in args], constants + mutates, mutates
        self.names = argument_names(forward, len(args))
        self.empty = (self.names[0],) if empty is None else empty
        self.fixed, self.report = fixed, None

    def both(self, args, dtype=np.float64, forward=None, backward=None):
        """(out, grads) by position, with an upstream gradient that depends on the output's shape alone."""
        out, cache = pure_call(forward or self.forward, [_as_dtype(a, dtype) for a in args], self.kwargs)({})
        grads = (backward or self.backward)(upstream(out), cache)
        return out, grads if isinstance(grads, (tuple, list)) else (grads,)

    def differentiable(self):
        """[(position, name)] of the inputs that are owed a gradient."""
        return [(i, n) for i, n in enumerate(self.names) if _is_floating(self.args[i]) and n not in self.constants]

    def runs(self):
        result = pure_call(self.forward, self.args, self.kwargs)({})
        if not (isinstance(result, tuple) and len(result) == 2):
            return f"forward must return (out, cache), got {type(result).__name__}"
        bad = [name for name, leaf in difference.leaves(result[0]) if not np.isfinite(leaf).all()]
        return f"the output {' '.join(bad)} is not finite" if bad else None

    def gradient_shapes(self):
        out, grads = self.both(self.args)
        if len(grads) > len(self.args) and any(g is not None for g in grads[len(self.args):]):
            return f"backward returns {len(grads)} gradients for {len(self.args)} array inputs"
        return _ill_formed(grads, self.args, self.differentiable())

    def same_as(self, forward, backward):
        (out, grads), (out2, grads2) = self.both(self.args), self.both(self.args, forward=forward, backward=backward)
        return differs(out, out2, 1e-10, "the output") or self._grads_differ(grads, grads2, 1e-10)

    def dtype_kept(self):
        for dtype in SAME:
            out, grads = self.both(self.args, dtype)
            for name, leaf in difference.leaves(out):
                if hasattr(leaf, "dtype") and leaf.ndim and leaf.dtype != dtype:
                    return f"{dtype} inputs gave an output {name} of {leaf.dtype}".replace("  ", " ")
            for i, name in self.differentiable():
                if grads[i].dtype != dtype:
                    return f"{dtype} inputs gave a gradient of {name} of {grads[i].dtype}"
        return None

    def nothing_written(self):
        args = [a.copy() if isinstance(a, np.ndarray) else a for a in self.args]
        kept = {n: a for n, a in zip(self.names, args, strict=True) if n not in self.mutates}
        with untouched("forward", kept):
            out, cache = self.forward(*args, **self.kwargs)
        dout = upstream(out)
        with untouched("backward", {**kept, "dout": dout, "cache": cache}):
            self.backward(dout, cache)

    def nothing_shared(self):
        args = [a.copy() if isinstance(a, np.ndarray) else a for a in self.args]
        out, cache = self.forward(*args, **self.kwargs)
        dout = upstream(out)
        grads = self.backward(dout, cache)
        given = [*zip(self.names, args, strict=True)]
        made = [(f"output {n}".strip(), a) for n, a in difference.leaves(out)]
        returned = [(f"gradient of {self.names[i]}", g) for i, g in enumerate(grads if isinstance(grads, (tuple, list)) else (grads,))
                    if g is not None]
        held = given + made + [(f"dout {n}".strip(), a) for n, a in difference.leaves(dout)] + [*leaves({"cache": cache})]
        return _overlap(made, given) or _overlap(returned, held) or _overlap(returned, returned) or _unwriteable(made + returned)

    def backward_twice(self):
        out, cache = pure_call(self.forward, self.args, self.kwargs)({})
        dout = upstream(out)
        return self._grads_differ(_as_tuple(self.backward(dout, cache)), _as_tuple(self.backward(dout, cache)), 0)

    def non_contiguous(self):
        out, grads = self.both(self.args)
        strided = [_strided(a) for a in self.args]
        out2, cache = self.forward(*strided, **self.kwargs)
        grads2 = _as_tuple(self.backward(_strided(upstream(out2)), cache))
        return differs(out, out2, 1e-12, "the output") or self._grads_differ(grads, grads2, 1e-12)

    def empty_batch(self):
        if not self.empty:
            return None
        args = [a[:0] if n in self.empty else a for n, a in zip(self.names, self.args, strict=True)]
        with np.errstate(divide="raise", invalid="raise"):                      # 0 / 0 warns before it becomes a NaN
            out, grads = self.both(args)
        bad = [name for name, leaf in difference.leaves(out) if not np.isfinite(leaf).all()]
        return f"the output {' '.join(bad)} is not finite" if bad else _ill_formed(grads, args, self.differentiable())

    def gradient(self):
        self.report = gradcheck(self.forward, self.backward, self.args, self.kwargs, rng=self.rng, constants=self.constants,
                                fixed=self.fixed, mutates=self.names, keeps_dtype=False)      # writing, dtypes: other promises
        return self.report.message

    def readable_equals_compiled(self):
        for dtype, tolerance in SAME.items():
            args = [_as_dtype(a, dtype) for a in self.args]
            with backend.use("numpy"):
                readable_out, readable_cache = pure_call(self.forward, args, self.kwargs)({})
                readable = _as_tuple(self.backward(upstream(readable_out), readable_cache))
            with backend.use("compiled"):
                out, cache = pure_call(self.forward, args, self.kwargs)({})
                grads = _as_tuple(self.backward(upstream(out), cache))
                crossed = _as_tuple(self.backward(upstream(out), readable_cache))       # law 4: the cache is the same for both
            problem = (differs(out, readable_out, tolerance, f"the {dtype} output") or self._grads_differ(grads, readable, tolerance)
                       or self._grads_differ(crossed, readable, tolerance))
            if problem:
                return f"{problem} ({dtype}, compiled beside readable)"
        return None

    def _grads_differ(self, grads, others, tolerance):
        for i, name in self.differentiable():
            problem = differs(grads[i], others[i], tolerance, f"the gradient of {name}")
            if problem:
                return problem
        return None


def upstream(out):
    """The upstream gradient used throughout: random, but a function of the output's structure alone, so that two runs share it."""
    return difference.random_like(out, np.random.default_rng(0))


def differs(a, b, tolerance, what):
    """None if every leaf of a equals b's within tolerance times the largest value (bit for bit at 0), else a sentence."""
    pairs = difference.leaves(a), difference.leaves(b)
    if [n for n, _ in pairs[0]] != [n for n, _ in pairs[1]]:
        return f"{what} has another structure: {[n for n, _ in pairs[0]]} and {[n for n, _ in pairs[1]]}"
    for (name, x), (_, y) in zip(*pairs, strict=True):
        label = f"{what} {name}".strip()
        if np.shape(x) != np.shape(y):
            return f"{label} has shapes {np.shape(x)} and {np.shape(y)}"
        if not np.size(x) or np.array_equal(x, y):
            continue
        gap = np.abs(np.asarray(x) - np.asarray(y))
        worst = np.unravel_index(int(np.argmax(np.where(np.isnan(gap), np.inf, gap))), gap.shape)
        if not gap[worst] <= tolerance * np.abs(y).max():
            index = [int(i) for i in worst]
            return f"{label} differs at {index}: {float(np.asarray(x)[worst]):.9g} and {float(np.asarray(y)[worst]):.9g}"
    return None


def _ill_formed(grads, args, wanted):
    for i, name in wanted:
        g = grads[i] if i < len(grads) else None
        if g is None:
            return f"backward returns no gradient for {name}"
        if np.shape(g) != args[i].shape:
            return f"the gradient of {name} has shape {np.shape(g)}, {name} has {args[i].shape}"
        if not np.isfinite(g).all():
            return f"the gradient of {name} is not finite"
    return None


@contextlib.contextmanager
def untouched(who, trees):
    """AssertionError if an array in here has another value afterwards.

    In readable mode the arrays are read-only meanwhile, so that the very line that writes raises; not in compiled mode, where numba would
    compile every kernel a second time for read-only arrays.
    """
    before = {n: a.copy() for n, a in leaves(trees) if isinstance(a, np.ndarray)}
    with frozen(trees) if backend.mode() == "numpy" else contextlib.nullcontext():
        yield
    changed = [n for n, a in leaves(trees) if n in before and not np.array_equal(a, before[n], equal_nan=a.dtype.kind == "f")]
    if changed:
        raise AssertionError(f"{who} wrote into {', '.join(changed)}")


def _overlap(first, second):
    for i, (name, a) in enumerate(first):
        for other, b in second[i + 1:] if first is second else second:
            if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b):
                return f"{name} shares memory with {other}: writing into one would change the other; return a fresh array"
    return None


def _unwriteable(made):
    names = [n for n, a in made if isinstance(a, np.ndarray) and not a.flags.writeable]
    return f"{names[0]} is a read-only view (broadcast_to?); return a fresh array" if names else None


def _strided(a):
    """The same values, every second element of a twice as long buffer."""
    if isinstance(a, (tuple, list)):
        return type(a)(_strided(v) for v in a)
    if isinstance(a, dict):
        return {key: _strided(v) for key, v in a.items()}
    if not isinstance(a, np.ndarray) or a.ndim == 0:
        return a
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def _as_tuple(grads):
    return grads if isinstance(grads, (tuple, list)) else (grads,)


def _as_dtype(a, dtype):
    return a.astype(dtype) if _is_floating(a) else a


def _is_floating(a):
    return hasattr(a, "dtype") and a.dtype.kind == "f"
