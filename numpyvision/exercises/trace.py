"""Every operation, box function and loss that a model calls, in order, with the layer that called it: a recording, and one run held to it.

    calls = record(model, batches, ["roi_align_forward"])
    follow(model, batches, {"roi_align_forward": mine}, calls)          # mine in its place; raises Divergence at the first difference

The second run is held to the first: after each call that agrees, the model goes on with the *recorded* numbers. So every function gets
the very inputs that it had in the recording, rounding does not add up from layer to layer, and no box is chosen differently because two
scores that were equal are now so to fifteen digits only. What differs first is what is wrong, and nothing behind it is.
"""
import contextlib
import copy
import functools
import linecache
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from numpyvision import backend, plug
from numpyvision.cache import Cache
from numpyvision.check import calls as checked
from numpyvision.exercises import cases, divergence
from numpyvision.exercises.divergence import Divergence
from numpyvision.layers.base import sublayers

ROOT = Path(plug.__file__).parent


@dataclass
class Call:
    """One call: of which function, made by which layer (the dotted name that its parameters have), for the how-manieth time, where."""

    op: str                    # "roi_align_forward"
    layer: str                 # "heads.mask.pool.aligns.1"; "" for the model itself
    number: int                # 1 for the layer's first call of this function
    phase: str                 # "forward", "backward" or "predict"
    line: str                  # "layers/roi.py, line 26: `out, cache = ...`"
    result: object = None      # what it returned: a forward's `out` without its cache
    cache: object = None       # that cache, of the plugged function alone
    written: dict = field(default_factory=dict)      # {name: array} of the arguments that it may write, as it left them

    def __str__(self):
        layer = f"layer {self.layer}" if self.layer else "the model itself"
        return f"{self.op} in {layer}, call {self.number} there, in {self.phase} ({self.line})"


def record(model, batches, names):
    """-> the Calls of a run with the library's own functions; what the functions called `names` call themselves is not recorded."""
    watcher = Watcher(copy.deepcopy(model), [plug.find(name) for name in names], expected=None)
    watcher.run(batches)
    return watcher.calls


def follow(model, batches, functions, calls, told=lambda: None):
    """Run with functions {name: function} in place of the library's, held to `calls` -> (how many calls, seconds spent in them).

    Raises Divergence at the first difference. told() is called after every call of one of the functions.
    """
    found = {name: plug.find(name) for name in functions}
    watcher = Watcher(copy.deepcopy(model), found.values(), expected=calls)
    with contextlib.ExitStack() as stack:
        students = [Guarded(function, found[name], told) for name, function in functions.items()]
        for name, student in zip(functions, students, strict=True):
            plug.check_signature(functions[name], found[name])
            stack.enter_context(plug.plugged(name, student))
        try:
            watcher.run(batches)
        except Divergence as divergence:
            divergence.before = len(watcher.calls)
            raise
    return sum(s.calls for s in students), sum(s.seconds for s in students)


class Watcher:
    """Stands between the model and the functions that it calls. What a watched function calls is not watched, but the plugged ones are."""

    def __init__(self, model, plugged, expected):
        self.model, self.plugged, self.expected = model, list(plugged), expected
        self.names = {f.__name__ for f in self.plugged}
        self.paths = {id(layer): path for path, layer in named_layers(model)}
        self.calls, self.counts, self.phase = [], Counter(), ""
        self.inside = self.inside_mine = False                      # of a call that is watched, of one of the plugged functions
        self.caches = {}                                            # {id of the student's cache: (its forward, it, the recorded one)}

    def run(self, batches):
        """forward and backward, and predict, on every batch: readable bodies, so that nothing is compiled and nothing bypassed."""
        with backend.use("numpy"), np.errstate(all="ignore"), self.watching():
            for step, batch in enumerate(batches):
                self.phase = "forward"
                losses, cache = self.model.forward(batch.images, batch.targets, batch.sizes, rng=np.random.default_rng(step), train=True)
                self.phase = "backward"                             # weights that are not 1: a loss that ignores its weight must show
                self.model.backward({name: 0.5 + 0.3 * i for i, name in enumerate(losses)}, cache)
                self.phase = "predict"
                self.model.predict(batch.images, batch.sizes)
        if self.expected is not None and len(self.calls) < len(self.expected):
            want = self.expected[len(self.calls)]
            raise Divergence(want, "unknown", "the library makes this call, and with your function it is never made")

    @contextlib.contextmanager
    def watching(self):
        """Every function that is watched gets a watched one in front of it."""
        changes = {plug.current(f): self.watched(plug.current(f), f.__name__) for f in watchable(self.plugged)}
        plug.replace(changes)
        try:
            yield
        finally:
            plug.replace({new: old for old, new in changes.items()})

    def watched(self, function, name):
        mine = name in self.names

        @functools.wraps(function, updated=())
        def watched_function(*args, **kwargs):
            if self.inside_mine or (self.inside and not mine):
                return function(*args, **kwargs)
            call = self.begin(name, sys._getframe(1))
            before = copy.deepcopy((args, kwargs)) if mine and name in cases.CHECKS else None
            outside = self.inside, self.inside_mine
            self.inside, self.inside_mine = True, mine
            try:
                result = function(*args, **kwargs)
            except Divergence:
                raise
            except checked.Stopped as stopped:                      # the student's function: Guarded says what happened
                raise Divergence(call, stopped.code, stopped.message) from stopped
            except Exception as error:                              # one of the library's: the usual cause is the cache that it was handed
                if self.expected is None:
                    raise
                text = f"the library's {name} stops with {type(error).__name__}: {error}. {self.explain(args)}"
                raise Divergence(call, "raises", text.strip()) from error
            finally:
                self.inside, self.inside_mine = outside
            return self.end(call, result, args, before)
        return watched_function

    def begin(self, name, frame):
        """The Call, from the frame that makes it: the innermost layer whose method is running there."""
        file, number = frame.f_code.co_filename, frame.f_lineno
        line = f"{short(file)}, line {number}: `{linecache.getline(file, number).strip()}`"
        while frame is not None and id(frame.f_locals.get("self")) not in self.paths:
            frame = frame.f_back
        layer = "" if frame is None else self.paths[id(frame.f_locals["self"])]
        self.counts[name, layer, self.phase] += 1
        return Call(name, layer, self.counts[name, layer, self.phase], self.phase, line)

    def end(self, call, result, args, before):
        """Record what came back; or, where there is a recording, compare, and hand on what it holds."""
        forward, mine = call.op.endswith("_forward"), call.op in self.names
        if forward and not (isinstance(result, tuple) and len(result) == 2):
            raise Divergence(call, "wrong-shape", f"it must return two things, `return out, cache`; got {divergence.kind(result)}")
        call.result, cache = result if forward else (result, None)
        names = divergence.argument_names(divergence.function_of(call.op), len(args)) if divergence.may_write(call.op) else []
        call.written = {name: args[i] for i, name in enumerate(names) if name in divergence.may_write(call.op)}
        if self.expected is None:
            call.result, call.cache, call.written = copy.deepcopy((call.result, cache if mine else None, call.written))
            self.calls.append(call)
            return result
        want = self.expected[len(self.calls)] if len(self.calls) < len(self.expected) else None
        if want is None or (want.op, want.layer) != (call.op, call.layer):
            raise Divergence(call, "unknown", f"where the library calls {want or 'nothing more'}; yet all results before agree")
        if before is not None:
            self.several_right_answers(call, before)
        else:
            divergence.compare(call, want, lambda _: self.explain(args))
        if mine and forward:
            self.caches[id(cache)] = call.op, cache, want.cache
        self.calls.append(call)
        value = copy.deepcopy(want.result)
        return (value, cache) if forward else value

    def several_right_answers(self, call, before):
        """A random choice, say: any that keeps the rules will do."""
        problem = cases.CHECKS[call.op](*before, call.result)
        if problem:
            raise Divergence(call, *problem)

    def explain(self, args):
        """What is wrong in a cache of the student's among these arguments: a sentence, "" if nothing is."""
        for value in args:
            if id(value) in self.caches:
                return divergence.explain_cache(*self.caches[id(value)])
        return ""


class Guarded:
    """The student's function: its exceptions told, its inputs watched, its time taken."""

    def __init__(self, function, original, told):
        self.function, self.original, self.told = function, original, told
        self.calls, self.seconds, self.narrow_done = 0, 0.0, False

    def __call__(self, *args, **kwargs):
        before = copy.deepcopy((args, kwargs))
        began = time.perf_counter()
        result = checked.guarded("your function", self.function, *args, **kwargs)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        self.told()
        if result is None:
            raise checked.Stopped("not-implemented", "your function returns None: is the return statement missing?")
        allowed = divergence.may_write(self.original.__name__)
        for name, old, new in zip(divergence.argument_names(self.original, len(args)), before[0], args, strict=True):
            written = divergence.changed(name, old, new)
            if written and name not in allowed:
                raise checked.Stopped("mutates-input", f"your function writes into {written}, which others still need: compute a new array "
                                      "(x = x + 1, not x += 1)")
        if not self.narrow_done:
            self.narrow_done = True
            self.in_float32(*before)
        return result

    def in_float32(self, args, kwargs):
        """float32 in, float32 out: models train in float32, and here everything is compared in float64."""
        args, kwargs = narrow(args), narrow(kwargs)
        want = self.original(*copy.deepcopy(args), **copy.deepcopy(kwargs))
        got = checked.guarded("your function, with float32 inputs,", self.function, *args, **kwargs)
        if self.original.__name__.endswith("_forward") and isinstance(got, tuple):
            want, got = want[0], got[0]
        wrong = divergence.wrong_dtype(got, want)
        if wrong:
            raise checked.Stopped("wrong-dtype", f"float32 inputs must give float32 back, your function gave {wrong}: was an array made "
                                  "without dtype=x.dtype?")


def narrow(value):
    """float64 arrays and numbers of a tree as float32; a cache stays a cache."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.astype(np.float32) if value.dtype == np.float64 else copy.deepcopy(value)
    if isinstance(value, Cache):
        return Cache({key: narrow(item) for key, item in value.items()})
    if isinstance(value, dict):
        return {key: narrow(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(narrow(item) for item in value)
    return copy.deepcopy(value)


@functools.cache
def _watchable():
    found = []
    for name, functions in plug.functions().items():
        for f in functions:
            folder = f.__module__.split(".")[1]
            if name.endswith(("_forward", "_backward")) or (folder == "boxes" and not name.startswith("require")):
                found.append(f)
    return found


def watchable(plugged):
    """The functions that are watched: all with a forward and a backward, all of boxes/, and the plugged ones."""
    return list(dict.fromkeys([*_watchable(), *plugged]))


def named_layers(model, path=""):
    """(dotted path, layer) of a model and everything in it; "" is the model."""
    yield path, model
    for name, value in vars(model).items():
        for below, layer in sublayers(name, value):
            yield from named_layers(layer, f"{path}.{below}" if path else below)


def short(file):
    """layers/conv.py, of a file of the package."""
    path = Path(file)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
