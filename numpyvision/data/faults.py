"""What to do when a data set is wrong: say which file and which field, once, and lose no more than the faulty box.

A box that cannot be trained on (no area, reversed, outside the image, of an unknown class, not a number) is skipped and noted; a file
that cannot be read is an error, because guessing would lose truth silently. `strict=True` makes an error of both;
`numpyvision data check` lists both.
"""
import math
import sys
from dataclasses import dataclass


class DataError(ValueError):
    """Something in a data set is wrong; the message names the file and the field."""

    def __init__(self, file, field, message):
        super().__init__(f"{file}: {field}: {message}")
        self.file, self.field, self.message = str(file), field, message

    def __reduce__(self):                     # so that it survives the way from one process to another
        return DataError, (self.file, self.field, self.message)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and was survived."""

    file: str
    field: str
    message: str

    def __str__(self):
        return f"{self.file}: {self.field}: {self.message}"


class FaultLog:
    """Collects faults while a data set is opened. strict: the first one is raised. collect: none is ever raised (to list all of them)."""

    def __init__(self, strict=False, collect=False):
        self.strict, self.collect, self.faults = strict, collect, []

    def skip(self, file, field, message):
        """A fault of one object: noted, and raised only if strict."""
        if self.strict:
            raise DataError(file, field, message)
        self.faults.append(Fault(str(file), field, message))

    def fail(self, file, field, message):
        """A fault of a whole file: raised, unless we only collect."""
        if not self.collect:
            raise DataError(file, field, message)
        self.faults.append(Fault(str(file), field, message))

    def announce(self, name):
        """One line on stderr, once for each data set in a process: the number of faults, and the first."""
        if self.collect or not self.faults or (name, len(self.faults)) in _announced:
            return
        _announced.add((name, len(self.faults)))
        count = f"{len(self.faults)} faults" if len(self.faults) > 1 else "1 fault"
        print(f"{name}: {count} in the annotations, skipped or mended; the first: {self.faults[0]}", file=sys.stderr)


_announced = set()

TOLERANCE = 0.1   # px: COCO rounds coordinates to 0.01, so a box at the border may stick out by a hair; that is no fault


def usable_box(box, size, log, file, field):
    """The box clipped to the image, or None where it cannot be used; everything wrong goes to the log.

    box (x1, y1, x2, y2) floats, half-open; size (H, W), or None where nobody knows it.
    """
    x1, y1, x2, y2 = box
    shown = f"(x1 {x1:g}, y1 {y1:g}, x2 {x2:g}, y2 {y2:g})"
    if not all(math.isfinite(v) for v in box):
        return log.skip(file, field, f"box {shown} is not finite; skipped")
    if x2 < x1 or y2 < y1:
        return log.skip(file, field, f"box {shown} is reversed; skipped")
    if x2 == x1 or y2 == y1:
        return log.skip(file, field, f"box {shown} has zero area; skipped")
    if size is None:
        return box
    height, width = size
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return log.skip(file, field, f"box {shown} lies outside the {width}x{height} image; skipped")
    if x1 < -TOLERANCE or y1 < -TOLERANCE or x2 > width + TOLERANCE or y2 > height + TOLERANCE:
        log.skip(file, field, f"box {shown} sticks out of the {width}x{height} image; clipped")
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
