"""Marks any number of submissions: each function of each student in a process of its own, several at a time.

A submission that crashes, hangs or prints rubbish costs only itself. Submissions are read, never run where they lie.
"""
import csv
import io
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from numpyvision.exercises import catalog, runner, workspace
from numpyvision.exercises.runner import Verdict

COLUMNS = ("student", "exercise", "passed", "diagnosis", "message", "seconds")


@dataclass
class Mark:
    """One student's one exercise."""

    student: str
    verdict: Verdict

    def row(self):
        v = self.verdict
        return self.student, v.name, int(v.ok), v.diagnosis, " ".join(v.message.split()), f"{v.seconds:.1f}"


def submissions(folders):
    """{student: folder of the files}. A folder that holds exercises is a submission; any other holds submissions, each a folder."""
    found = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder; give submissions, or one folder that holds them all")
        inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith((".", "__")))
        one = workspace.home(folder) or not any(workspace.home(place) for place in inside)
        for place in [folder] if one else inside:
            name = place.resolve().name
            if name in found:                                         # two classes may each have an "anna"
                name = str(place)
            found[name] = workspace.home(place) or place
    return found


def exercises_of(students):
    """Names of the exercises for which somebody handed in a file, in lecture order."""
    return [name for name, exercise in catalog.load().items() if any((place / exercise.file_name).exists() for place in students.values())]


def grade(students, names, seeds=(0,), *, seconds=runner.SECONDS, megabytes=runner.MEGABYTES, jobs=None, on_mark=None):
    """[Mark] of every student (of {student: folder}) in every exercise, in that order. on_mark() is called after each."""
    tasks = [(student, folder, name) for student, folder in students.items() for name in names]

    def one(task):
        student, folder, name = task
        mark = Mark(student, _check(name, folder, seeds, seconds, megabytes))
        if on_mark is not None:
            on_mark()
        return mark
    pool = ThreadPoolExecutor(jobs or processors())
    try:
        return list(pool.map(one, tasks))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        runner.stop_all()
        raise
    finally:
        pool.shutdown()


def _check(name, folder, seeds, seconds, megabytes):
    """The verdict, whatever happens: a submission that trips the checker itself costs only itself too."""
    try:
        return runner.check_exercise(name, folder / catalog.find(name).file_name, seeds=seeds, seconds=seconds, megabytes=megabytes)
    except OSError as error:
        return Verdict(name, False, "no-file", f"the submission cannot be read: {type(error).__name__}: {error}")


def processors():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_csv(marks):
    """The marks as CSV text, a line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *([_harmless(cell) for cell in mark.row()] for mark in marks)])
    return text.getvalue()


def _harmless(cell):
    """A text that no spreadsheet takes for a formula: students choose parts of it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell


def table(marks):
    """A line a student: how many are right, and what is wrong with the others, cut to fit."""
    lines = []
    for student in dict.fromkeys(m.student for m in marks):
        own = [m.verdict for m in marks if m.student == student]
        codes = dict.fromkeys(v.diagnosis for v in own if not v.ok)
        wrong = "; ".join(f"{code}: {', '.join(v.name for v in own if v.diagnosis == code)}" for code in codes)
        lines.append((student, f"{sum(v.ok for v in own)}/{len(own)}", _cut(wrong, 120)))
    return _aligned([("student", "right", "not right"), *lines])


def class_table(marks, most=15):
    """What went wrong most often: exercise, diagnosis, how many, and one message as an example."""
    wrong = [m.verdict for m in marks if not m.verdict.ok]
    counts = Counter((v.name, v.diagnosis) for v in wrong)
    order = list(catalog.load())
    commonest = sorted(counts.items(), key=lambda item: (-item[1], order.index(item[0][0]), item[0][1]))[:most]
    example = {(v.name, v.diagnosis): v.message for v in reversed(wrong)}
    rows = [(str(n), f"{100 * n / sum(m.verdict.name == name for m in marks):.0f} %", name, code, _cut(example[name, code], 90))
            for (name, code), n in commonest]
    right = sum(m.verdict.ok for m in marks)
    head = f"{right} of {len(marks)} right, {len({m.student for m in marks})} students"
    return "\n".join([head, *([_aligned([("count", "share", "exercise", "diagnosis", "for example"), *rows])] if rows else [])])


def _aligned(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _cut(text, width):
    text = " ".join(text.split())
    return text if len(text) <= width else text[:width - 3] + "..."
