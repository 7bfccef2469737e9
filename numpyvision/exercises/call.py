"""One call of an exercise's function: with fresh copies of the inputs, guarded, and watched for what it writes into."""
import copy
import inspect
import traceback

import numpy as np

from numpyvision import backend
from numpyvision.check import difference
from numpyvision.exercises import cases, catalog, same
from numpyvision.exercises.same import Fault


def example(name, number=0, seed=0):
    """args, kwargs of one of an exercise's cases; of a backward: [dout, cache], {}. `function(*args, **kwargs)` is what a check calls."""
    with backend.use("numpy"):
        return Call(catalog.find(name), cases.of(name, seed)[number]).arguments()


class Call:
    """One call of an exercise's function: fresh copies of the inputs each time, for a backward the reference's cache and a random dout."""

    def __init__(self, exercise, case):
        self.exercise, self.case = exercise, case
        if exercise.kind == "backward":
            forward = exercise.pair()[0]
            self.out, self.remembered = forward(*copy.deepcopy(case.args), **copy.deepcopy(case.kwargs))
            self.dout = difference.random_like(self.out, np.random.default_rng(np.random.default_rng(0).integers(2**63)))   # as gradcheck's

    def arguments(self):
        if self.exercise.kind == "backward":
            return [copy.deepcopy(self.dout), copy.deepcopy(self.remembered)], {}
        return copy.deepcopy(self.case.args), copy.deepcopy(self.case.kwargs)

    def run(self, function):
        args, kwargs = self.arguments()
        return function(*args, **kwargs)

    def guarded(self, function):
        """The result, or the Fault that no result is. Only an interrupt gets through."""
        args, kwargs = self.arguments()
        try:
            result = function(*args, **kwargs)
        except NotImplementedError:
            return Fault("not-implemented", f"{self.exercise.function_name} is still to be written: put your code in place of the line "
                         "`raise NotImplementedError(...)`")
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            return Fault("raises", _told(error, function))
        if result is None:
            return Fault("not-implemented", "The function returns None: is the return statement missing?")
        return self._written(args, kwargs) or result

    def _written(self, args, kwargs):
        """Inputs that the function changed."""
        before, after = self.arguments(), (args, kwargs)
        allowed = cases.may_write(self.exercise.name) if self.exercise.kind == "forward" else ()
        names = ["dout", "cache"] if self.exercise.kind == "backward" else names_of(self.exercise.reference(), len(args))
        pairs = [*zip(names, before[0], after[0], strict=True), *((k, v, after[1][k]) for k, v in before[1].items())]
        for name, old, new in pairs:
            both = zip(same.leaves(name, old), same.leaves(name, new), strict=False)
            changed = [label for (label, a), (_, b) in both if not same.identical(a, b)]
            if name not in allowed and changed:
                return Fault("mutates-input", f"The function writes into its input {changed[0]}: whoever called it still needs that array. "
                             "Compute a new one: x = x + 1 instead of x += 1")
        return None

    def after(self, function):
        """The inputs as the function leaves them."""
        args, kwargs = self.arguments()
        function(*args, **kwargs)
        return args, kwargs

    def left_behind(self, function):
        """{name: array} of the inputs that the function may write into, after a call: batch norm's running statistics."""
        args, _ = self.after(function)
        names = names_of(self.exercise.reference(), len(args))
        return {name: args[names.index(name)] for name in cases.may_write(self.exercise.name)}

    def values(self, result):
        """The part of a result that counts: out without the cache."""
        return result[0] if self.exercise.kind == "forward" and isinstance(result, tuple) and len(result) == 2 else result


def names_of(function, count):
    """Names of the first `count` arguments; those of a *laterals are laterals[0], laterals[1], ..."""
    names = []
    for name, parameter in inspect.signature(function).parameters.items():
        names += [f"{name}[{i}]" for i in range(count)] if parameter.kind is parameter.VAR_POSITIONAL else [name]
    return names[:count]


def _told(error, function):
    """An exception in one line: what, and at which line of the student's file."""
    code = getattr(function, "__code__", None)
    here = [f for f in traceback.extract_tb(error.__traceback__) if code and f.filename == code.co_filename]
    place = f" at line {here[-1].lineno}: {here[-1].line}" if here else ""
    return f"It stops with {type(error).__name__}: {error}{place}"
