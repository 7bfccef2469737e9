"""Planted bugs: a few changed characters in the library's own source, run as a module of their own beside the real one.

    wrong = plant("ops/linear.py", [("rows.T @ dout", "-rows.T @ dout")])
    with numpyvision.use("numpy"):                     # the readable bodies; the compiled loops would hide the bug
        print(gradcheck(linear_forward, wrong.linear_backward, [x, w, b], rng=rng))
"""
import types
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(find_spec("numpyvision").origin).parent


@dataclass(frozen=True)
class Bug:
    """One mistake: in `file`, `old` (which occurs there exactly once) became `new`. `case` names inputs that show it ("": the op's)."""

    op: str        # "conv2d", or a layer's class: "FPN"
    file: str      # "ops/conv.py", within the package
    old: str
    new: str
    code: str      # what it is, to a teacher: a key of check.DIAGNOSES
    why: str       # one line
    case: str = ""

    def plant(self):
        """The module with this mistake in it."""
        return plant(self.file, [(self.old, self.new)])


def plant(file, edits):
    """A fresh module from `file` (like "ops/conv.py") with each (old, new) of edits replaced, in order; the real module stays as it is.

    ValueError if an `old` does not occur exactly once: the source has moved on, and the bug would be another one, or none.
    """
    source = edited(file, edits)
    name = ".".join(("numpyvision", *Path(file).with_suffix("").parts))
    module = types.ModuleType(name)                    # the name is kept: relative look-ups and dataclasses find the real module
    module.__file__ = f"<planted {file}>"
    exec(compile(source, module.__file__, "exec"), vars(module))
    return module


def edited(file, edits):
    """The source text of `file` after the edits."""
    source = read(file)
    for old, new in edits:
        count = source.count(old)
        if count != 1:
            raise ValueError(f"{file} must contain {old!r} exactly once to plant a bug there, found {count}; "
                             "was the source edited since? Then write the bug anew")
        source = source.replace(old, new)
    return source


@cache
def read(file):
    return (PACKAGE / file).read_text(encoding="utf-8")
