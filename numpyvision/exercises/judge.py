"""Is a function what the exercise asks for? Cheapest first, stopping at the first fault, which is named and shown with its numbers.

    verdict = judge("box_iou", my_box_iou)

Runs in this process and trusts the function; `runner.check_exercise` does the same to a file in a process with limits. The readable bodies
of the library are used throughout (`use("numpy")`): nothing is compiled, so that a check takes a fraction of a second.
"""
import copy
import itertools
import time
import warnings
from dataclasses import asdict, dataclass, field

import numpy as np

from numpyvision import backend, check
from numpyvision.cache import Cache
from numpyvision.exercises import cases, catalog, recognise, same
from numpyvision.exercises.call import Call, names_of
from numpyvision.exercises.same import Fault


@dataclass
class Verdict:
    """What came out. `diagnosis` is one code of check.DIAGNOSES or of runner.CODES; `details` holds texts to be shown below the message."""

    name: str
    ok: bool
    diagnosis: str
    message: str
    seconds: float = 0.0
    details: dict = field(default_factory=dict)

    def as_dict(self):
        return asdict(self)


def judge(name, function, seed=0):
    """The Verdict on a function that should do what the exercise `name` asks. seed draws the random cases."""
    exercise, start = catalog.find(name), time.perf_counter()
    with backend.use("numpy"), np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        everything = cases.of(name, seed)
        for look, (number, case) in itertools.product((_fault, _narrow_fault), enumerate(everything)):    # values first, then dtypes
            fault = look(exercise, function, case)
            if fault is not None:
                fault = recognise.recognised(exercise, function, everything, case, fault)
                details = {"case": _describe_case(exercise, case, number, len(everything), seed), "table": fault.table}
                return Verdict(name, False, fault.code, fault.message, time.perf_counter() - start, details)
    passed = f"{len(everything)} cases right, among them " + "; ".join(_shapes(exercise, c) for c in everything[:2])
    return Verdict(name, True, "ok", passed, time.perf_counter() - start, {})


# ---- one case

def _fault(exercise, function, case):
    call = Call(exercise, case)
    result = call.guarded(function)
    if isinstance(result, Fault):
        return result
    again = call.guarded(function)
    if isinstance(again, Fault) or not same.identical(call.values(result), call.values(again)):
        return Fault("nondeterministic", "The same call twice gave two results: does it use randomness of its own, or keep something "
                     "from the call before?")
    return FAULTS[exercise.kind](exercise, function, call, result)


def _function_fault(exercise, _, call, result):
    if exercise.name in cases.CHECKS:
        problem = cases.CHECKS[exercise.name](call.case.args, call.case.kwargs, result)
        return Fault(*problem) if problem else None
    return same.differs("the result", result, call.run(exercise.reference()))


def _forward_fault(exercise, function, call, result):
    if not (isinstance(result, tuple) and len(result) == 2):
        return Fault("wrong-shape", f"Return two things, out and cache: `return out, Cache(...)`; got {same.kind_of(result)}")
    out, cache = result
    expected, reference_cache = call.run(exercise.reference())
    left, expected_left = call.left_behind(function), call.left_behind(exercise.reference())
    return (same.differs("out", out, expected) or same.differs("after the call, the inputs", left, expected_left)
            or _cache_fault(exercise, out, cache, reference_cache))


def _cache_fault(exercise, out, cache, reference_cache):
    """The library's backward must be able to live on the student's cache."""
    if not isinstance(cache, dict):
        return Fault("wrong-forward", f"out is right; the second thing returned must be a Cache, got {same.kind_of(cache)}")
    backward, dout = exercise.pair()[1], check.operation.upstream(out)
    expected = backward(dout, reference_cache)
    try:
        grads = backward(dout, Cache(cache))
    except Exception as error:
        missing = [k for k in reference_cache if k not in cache]
        what = f"it lacks {', '.join(missing)}" if missing else f"backward stops with {type(error).__name__}: {error}"
        return Fault("wrong-forward", f"out is right, but backward cannot work with the cache: {what}. "
                     f"It reads {', '.join(reference_cache)}.")
    fault = same.differs("the gradient", grads, expected)
    return fault and Fault("wrong-forward", "out is right, but something in the cache is wrong, so that the library's backward "
                           f"goes wrong: {fault.message}")


def _backward_fault(exercise, function, call, result):
    expected = call.run(exercise.reference())
    fault = same.differs("the gradient", result, expected)
    if fault is None or [len(r) if isinstance(r, (tuple, list)) else None for r in (result, expected)].count(None) == 1:
        return fault                                                  # one gradient where several are due, or several for one
    forward, args = exercise.pair()[0], [copy.deepcopy(a) for a in call.case.args]
    names = names_of(forward, len(args))
    options = cases.options(exercise.name)
    if exercise.gradient_of:                                          # gradcheck takes the gradients by position
        options = {**options, "constants": tuple(n for n in names if n not in exercise.gradient_of),
                   "fixed": {n: columns for n, columns in (options.get("fixed") or {}).items() if n in exercise.gradient_of}}
        function = _placed(function, [names.index(n) for n in exercise.gradient_of], len(args))
    report = check.gradcheck(forward, function, args, call.case.kwargs, rng=np.random.default_rng(0), **options)
    if report.ok or report.diagnosis == "kink":                       # at a corner, another one of its slopes is right as well
        return None if same.same_form(result, expected) else fault
    return Fault(report.diagnosis if report.diagnosis in check.DIAGNOSES else fault.code, report.message,
                 "\n".join(line for line in repr(report).splitlines() if line != report.message))


def _placed(function, positions, count):
    """A backward that returns one gradient for each of `count` inputs, of one that returns those of some."""
    def backward(dout, cache):
        grads, placed = function(dout, cache), [None] * count
        for i, grad in zip(positions, grads if isinstance(grads, tuple) else (grads,), strict=True):
            placed[i] = grad
        return tuple(placed)
    return backward


FAULTS = {"function": _function_fault, "forward": _forward_fault, "backward": _backward_fault}


def _narrow_fault(exercise, function, case):
    """float32 in, float32 out: values were compared in float64, here only dtypes are."""
    narrow = cases.Case([_as_float32(a) for a in case.args], {k: _as_float32(v) for k, v in case.kwargs.items()})
    call = Call(exercise, narrow)
    got = call.guarded(function)
    if isinstance(got, Fault):
        return Fault(got.code, f"With float32 inputs: {got.message}")
    expected = call.run(exercise.reference())
    for (label, a), (_, b) in zip(same.leaves("it", call.values(got)), same.leaves("it", call.values(expected)), strict=False):
        if np.asarray(b).dtype == np.float32 and np.ndim(b) and np.asarray(a).dtype != np.float32:
            return Fault("wrong-dtype", f"float32 inputs must give float32 back, {label} is {np.asarray(a).dtype}: was an array made "
                         "without dtype=x.dtype?")
    return None


def _as_float32(value):
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value


# ---- telling

def _called(exercise):
    """The function that takes a case's arguments."""
    return exercise.pair()[0] if exercise.kind == "backward" else exercise.reference()


def _shapes(exercise, case):
    names = names_of(_called(exercise), len(case.args))
    arrays = [f"{n} {np.shape(a)}" if isinstance(a, np.ndarray) else f"{n}={_short(a)}" for n, a in zip(names, case.args, strict=True)]
    return ", ".join(arrays + [f"{k}={_short(v)}" for k, v in case.kwargs.items()])


def _short(value):
    if isinstance(value, np.ndarray):
        return str(value.shape)
    text = repr(value)
    return text if len(text) <= 40 else type(value).__name__


def _describe_case(exercise, case, number, count, seed):
    which = "the worked example" if number == 0 else f"case {number + 1} of {count}"
    given = "(dout, cache), _" if exercise.kind == "backward" else "args, kwargs"
    call = f'example("{exercise.name}", {number}{f", seed={seed}" if seed else ""})'
    named = zip(names_of(_called(exercise), len(case.args)), case.args, strict=True)
    small = [f"{n} = {np.array2string(a, separator=', ', prefix=f'{n} = ')}" for n, a in named
             if isinstance(a, np.ndarray) and 0 < a.size <= 16]
    python = f"to have it in Python: from numpyvision.exercises.call import example; {given} = {call}"
    return "\n".join([f"{which}: {_shapes(exercise, case)}", *small, python])
