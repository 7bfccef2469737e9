"""The inputs that an exercise is checked on: small, random, the worked example first.

    args, kwargs = cases.of("box_iou")[2]                # the third of them, as `exercise check` uses it
"""
import functools
import zlib
from typing import NamedTuple

import numpy as np

from numpyvision.exercises import cases_boxes, cases_ops, catalog

CASES = {**cases_boxes.CASES, **cases_ops.CASES}
OPTIONS = {**cases_boxes.OPTIONS, **cases_ops.OPTIONS}       # for gradcheck: {name: dict(constants=..., fixed=...)}
CHECKS = {**cases_boxes.CHECKS, **cases_ops.CHECKS}          # {name: function(args, kwargs, out)} where more than one answer is right


class Case(NamedTuple):
    """The arguments of one call. For a backward: those of its forward."""

    args: list
    kwargs: dict


def of(name, seed=0):
    """The cases of an exercise. Another seed gives other numbers of the same shapes: a teacher keeps hers to herself."""
    exercise = catalog.find(name)
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    make = CASES.get(name) or (None if exercise.kind == "function" else functools.partial(_contract_cases, exercise.stem))
    if make is None:
        raise ValueError(f"exercise {name!r} has no cases: write them in exercises/cases_boxes.py or cases_ops.py, in CASES")
    found = [Case(list(args), dict(kwargs)) for args, kwargs in make(rng)]
    if not found:
        raise ValueError(f"exercise {name!r} has no cases, and contract.py has no line for {exercise.stem}")
    return found


def options(name):
    """What gradcheck must know about the inputs: `constants` and `fixed`, see check.gradcheck."""
    exercise = catalog.find(name)
    if name in OPTIONS or exercise.kind == "function":
        return OPTIONS.get(name, {})
    lines = _contract_lines(exercise.stem)
    return {"constants": lines[0].constants + lines[0].mutates, "fixed": lines[0].fixed} if lines else {}


def may_write(name):
    """Names of the inputs that this function may write into: batch norm's running statistics."""
    lines = _contract_lines(catalog.find(name).stem)
    return lines[0].mutates if lines else ()


@functools.cache
def _contract_lines(stem):
    from numpyvision import contract
    return [line for line in contract.CASES if line.name == stem]


def _contract_cases(stem, rng):
    """The operation's lines in contract.py with new numbers, and the empty batch of the first."""
    lines = _contract_lines(stem)
    for line in lines:
        yield line.arrays(rng), line.statics()
    for line in lines[:1]:
        names = list(line.arguments)
        empty = names[:1] if line.empty is None else line.empty
        yield [a[:0] if n in empty else a for n, a in zip(names, line.arrays(rng), strict=False)], line.statics()
