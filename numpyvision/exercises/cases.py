"""The inputs that an exercise is checked on: small, random, the worked example first.

    args, kwargs = cases.of("box_iou")[2]                # the third of them, as `exercise check` uses it
"""
import zlib
from typing import NamedTuple

import numpy as np

from numpyvision.exercises import cases_boxes, cases_ops, catalog, contract_lines

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
    if name in CASES:
        return [Case(list(args), dict(kwargs)) for args, kwargs in CASES[name](rng)]
    lines = [] if exercise.kind == "function" else contract_lines.lines_of(exercise.stem)
    if not lines:
        raise ValueError(f"exercise {name!r} has no cases: write them in exercises/cases_boxes.py or cases_ops.py, in CASES")
    return [Case(list(args), dict(kwargs)) for args, kwargs in contract_lines.cases_of(lines, rng)]


def options(name):
    """What gradcheck must know about the inputs: `constants` and `fixed`, see check.gradcheck."""
    exercise = catalog.find(name)
    if name in OPTIONS or exercise.kind == "function":
        return OPTIONS.get(name, {})
    lines = contract_lines.lines_of(exercise.stem)
    return {"constants": lines[0].constants + lines[0].mutates, "fixed": lines[0].fixed} if lines else {}


def may_write(name):
    """Names of the inputs that this function may write into: batch norm's running statistics."""
    lines = contract_lines.lines_of(catalog.find(name).stem)
    return lines[0].mutates if lines else ()
