"""The student's folder: one file an exercise, `progress.json`, `pictures/`, and `earlier/`, where `reset` keeps what it replaced.

Nothing that a student wrote is ever overwritten. progress.json is replaced whole, so that a full disk or a pulled plug leaves the old one.
"""
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from numpyvision import places
from numpyvision.exercises import catalog

PROGRESS = "progress.json"


@dataclass
class State:
    """How far an exercise has come."""

    started: str = ""             # when, ISO 8601
    passed: str = ""              # when first; "" if never
    checks: int = 0
    hints: int = 0                # how many were shown
    last: str = ""                # the diagnosis of the last check

    @property
    def word(self):
        """One word for a table."""
        return "done" if self.passed else (self.last or "started") if self.started else ""


class Workspace:
    """A student's folder, made when something is put into it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.note = ""                                                # something to tell the student, once

    def is_one(self):
        """Does this folder hold a progress file or an exercise?"""
        return (self.folder / PROGRESS).is_file() or any(self.file(name).is_file() for name in catalog.load())

    def file(self, name):
        return self.folder / catalog.find(name).file_name

    def picture(self, name, whose=""):
        return self.folder / "pictures" / f"{name}{whose}.png"

    def states(self):
        """{name: State} of all exercises, in lecture order. A progress file that cannot be read is put aside, never deleted."""
        try:
            stored = json.loads((self.folder / PROGRESS).read_text(encoding="utf-8"))["exercises"]
            known = {name: State(**fields) for name, fields in stored.items()}
        except FileNotFoundError:
            known = {}
        except (ValueError, TypeError, KeyError, AttributeError):
            aside = places.free_name(self.folder / "progress-unreadable.json")
            os.replace(self.folder / PROGRESS, aside)
            self.note = (f"{self.folder / PROGRESS} could not be read and is now {aside.name}; progress starts anew, your functions are "
                         "untouched")
            known = {}
        return {name: known.get(name) or State(started=self._seen(name)) for name in catalog.load()}

    def _seen(self, name):
        """A file without progress was brought from elsewhere, and counts as started."""
        return now() if self.file(name).exists() else ""

    def update(self, name, **changes):
        """Store new fields of one exercise's State; the others as they are in the file now."""
        states = self.states()
        for field, value in changes.items():
            setattr(states[name], field, value)
        text = json.dumps({"version": 1, "exercises": {n: asdict(s) for n, s in states.items() if s.started}}, indent=1)
        replace(self.folder / PROGRESS, text + "\n")
        return states[name]

    def next(self):
        """The exercise to do next: one begun and not passed, else the first that is open; None when all are done."""
        states = self.states()
        begun = [n for n, s in states.items() if s.started and not s.passed]
        return next(iter(begun + [n for n, s in states.items() if not s.passed]), None)


def home(folder):
    """Where a student's files are: in this folder, or in the exercises/ or handout/ that it holds; None if nowhere."""
    places = (folder, folder / "exercises", folder / "handout")
    return next((place for place in places if Workspace(place).is_one()), None)


def write_new(path, text):
    """A file that must not be there yet. FileExistsError otherwise; no moment between looking and writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "x", encoding="utf-8", newline="\n") as file:
        file.write(text)


def put_aside(path, folder):
    """Move a file into `folder` under a free name -> the new path."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = places.free_name(folder / path.name)
    os.replace(path, kept)
    return kept


def replace(path, text):
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(fresh, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def now():
    return datetime.now(UTC).isoformat(timespec="seconds")
