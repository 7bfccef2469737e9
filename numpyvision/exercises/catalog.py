"""The exercises, in the order of the lecture: what catalog_*.toml says, checked entry by entry.

An exercise is one function of this library to be written again. The function itself (`target`) is the reference: its signature and its
docstring become the skeleton, its results the answer. Nothing of it is copied, so nothing goes stale.
"""
import difflib
import functools
import importlib
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

FILES = ("catalog_boxes.toml", "catalog_ops.toml")
KINDS = ("forward", "backward", "function")
OPTIONAL = {"needs", "given", "op", "gradient_of"}
ROW = re.compile(r"L16-[A-Z]\d\d")


@dataclass(frozen=True)
class Exercise:
    """One entry of the catalogue."""

    name: str
    lesson: int                   # its place in the lecture's order, unique
    title: str
    target: str                   # "numpyvision.boxes.iou:box_iou", the reference
    row: str                      # "L16-S01", the lecture's row
    kind: str                     # forward, backward (half of an operation), function (anything else)
    statement: str                # what to write, with a worked example
    hints: tuple                  # three, each stronger
    picture: str                  # a function of pictures.py that draws what it does
    needs: tuple = ()             # earlier exercises that it leans on
    given: tuple = ()             # helpers of the target's module that the skeleton imports
    op: str = ""                  # the operation that this is a part of, where the function's name does not say it: conv2d, of conv2d_dx
    gradient_of: tuple = ()       # a backward of only these inputs: ("x",), of conv2d_dx

    @property
    def module_name(self):
        return self.target.partition(":")[0]

    @property
    def function_name(self):
        return self.target.partition(":")[2]

    @property
    def stem(self):
        """roi_align, of roi_align_forward."""
        return self.op or self.function_name.removesuffix("_forward").removesuffix("_backward")

    @property
    def file_name(self):
        """The student's file."""
        return f"{self.name}.py"

    def module(self):
        return importlib.import_module(self.module_name)

    def reference(self):
        """The library's own function."""
        return self._attribute(self.function_name)

    def pair(self):
        """(forward, backward) of the operation that this is one half of."""
        return self._attribute(f"{self.stem}_forward"), self._attribute(f"{self.stem}_backward")

    def _attribute(self, name):
        try:
            return getattr(self.module(), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"exercise {self.name!r}, target = {self.target!r}: there is no {name} in {self.module_name}") from error


@functools.cache
def load():
    """{name: Exercise} in lecture order."""
    return parse({file: tomllib.loads((Path(__file__).parent / file).read_text(encoding="utf-8")) for file in FILES})


def parse(documents):
    """{file: parsed TOML} -> {name: Exercise} in lecture order. ValueError naming file, entry and field of the first fault."""
    found = {}
    for file, document in documents.items():
        for key in document.keys() - {"exercise"}:
            raise ValueError(f"{file}: {key!r} is outside of any [[exercise]]; each entry begins with [[exercise]]")
        for place, entry in enumerate(document.get("exercise", ()), 1):
            label = f"{file}, [[exercise]] {place}, {entry.get('name', 'without a name')}"
            exercise = _entry(label, entry)
            _require(exercise.name not in found, label, "name", "unique", exercise.name)
            found[exercise.name] = exercise
    ordered = dict(sorted(found.items(), key=lambda item: item[1].lesson))
    _check_order(ordered)
    return ordered


def find(name):
    """The Exercise of this name; ValueError with the nearest names."""
    known = load()
    if name not in known:
        close = difflib.get_close_matches(name, known, 3, 0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "numpyvision exercise list shows them all"
        raise ValueError(f"no exercise is called {name!r}; {hint}")
    return known[name]


def _entry(label, entry):
    known = {f.name for f in fields(Exercise)}
    for key in entry:
        _require(key in known, label, key, f"one of {', '.join(sorted(known))}", key)
    for key in sorted(known - OPTIONAL):
        _require(key in entry, label, key, "there", "nothing")
    for key in ("name", "title", "target", "row", "kind", "statement", "picture"):
        _require(isinstance(entry[key], str) and entry[key].strip(), label, key, "a text", entry[key])
    for key in ("hints", "needs", "given", "gradient_of"):
        value = entry.get(key, [])
        _require(isinstance(value, list) and all(isinstance(v, str) and v.strip() for v in value), label, key, "a list of texts", value)
    _require(re.fullmatch(r"[a-z][a-z0-9_]*", entry["name"]), label, "name", "a name that a file can have, like box_iou", entry["name"])
    _require(type(entry["lesson"]) is int, label, "lesson", "an integer, the place in the lecture", entry["lesson"])
    _require(re.fullmatch(r"numpyvision(\.[a-z]\w*)+:[A-Za-z]\w*", entry["target"]), label, "target",
             "like numpyvision.boxes.iou:box_iou", entry["target"])
    _require(ROW.fullmatch(entry["row"]), label, "row", "a row of the lecture like L16-S01", entry["row"])
    _require(entry["kind"] in KINDS, label, "kind", f"one of {', '.join(KINDS)}", entry["kind"])
    _require(entry["kind"] == "function" or "op" in entry or entry["target"].endswith("_" + entry["kind"]), label, "kind",
             "function, or forward or backward as the target's name ends (or give op = ...)", entry["kind"])
    _require(len(entry["hints"]) == 3, label, "hints", "three texts, each stronger", entry["hints"])
    texts = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Exercise(**{**texts, "statement": entry["statement"].strip()})


def _check_order(ordered):
    """Lessons are unique, and what an exercise needs comes before it."""
    seen = {}
    for name, exercise in ordered.items():
        label = f"the catalogue, {name}"
        _require(exercise.lesson not in {e.lesson for e in seen.values()}, label, "lesson", "unique", exercise.lesson)
        for need in exercise.needs:
            _require(need in ordered, label, "needs", "names of exercises", need)
            _require(need in seen, label, "needs", "exercises of smaller lessons", f"{need} of lesson {ordered[need].lesson}")
        seen[name] = exercise


def _require(condition, label, key, expected, got):
    if not condition:
        raise ValueError(f"{label}: {key} must be {expected}, got {got!r}")
