"""The zoo: every planted bug goes through `gradcheck`; then the correct operations do, on random shapes. How good is the diagnosis?

    result = run(HALVES["seen"]);  print(summary(result));  print(confusion(result));  print(misnamed(result))

A bug is *detected* if gradcheck says anything but ok (or a kink: that would blame the input), and *named right* if it says the bug's code,
at the first attempt, without a bank of known mistakes. Half of the bugs were kept apart while the rules were written (bugs_unseen.py).
"""
from collections import Counter
from dataclasses import dataclass

import numpy as np

from numpyvision import backend, check, contract
from numpyvision.check.report import table
from numpyvision.exercises import zoo_cases, zoo_regions, zoo_shapes
from numpyvision.exercises.bugs_seen import SEEN
from numpyvision.exercises.bugs_unseen import UNSEEN
from numpyvision.exercises.planted import Bug

HALVES = {"seen": SEEN, "unseen": UNSEEN}
DRAWERS = zoo_shapes.DRAWERS + zoo_regions.DRAWERS


@dataclass
class Found:
    """What gradcheck said about one bug."""

    bug: Bug
    code: str
    message: str

    @property
    def detected(self):
        return self.code not in ("ok", "kink")

    @property
    def named(self):
        return self.code == self.bug.code


def run(bugs, seed=0, progress=False):
    """[Found] of these bugs, in order. seed: of the upstream gradients and directions."""
    return [examine(bug, seed) for bug in bar(bugs, "planted bugs", progress)]


def examine(bug, seed=0):
    """Gradcheck one planted bug, on the readable bodies -> Found. Of the reference only the forward is looked at."""
    case, wrong = zoo_cases.of(bug), bug.plant()
    rng = contract.seeded(f"{bug.op}: {bug.why}", seed)
    with backend.use("numpy"):
        if isinstance(case, zoo_cases.LayerCase):
            report = check.gradcheck(case.build(wrong), args=case.arrays(), rng=rng, fixed=case.fixed)
        else:
            forward, backward = case.functions()
            if bug.code == "wrong-forward":
                student = getattr(wrong, forward.__name__), getattr(wrong, backward.__name__)
            else:
                student = forward, getattr(wrong, backward.__name__)
            report = check.gradcheck(*student, case.arrays(), case.statics(), rng=rng, constants=case.constants, fixed=case.fixed,
                                     reference=(forward, backward))
    return Found(bug, report.diagnosis, report.message)


def alarms(count, seed=0, progress=False, modes=("numpy", "compiled")):
    """[(Trial, mode, Report)] of the correct operations among `count` random ones that were not called ok: there should be none.

    A few trials sit on a corner on purpose (`trial.kink`): those may be called a kink, and nothing else. They take turns between the
    readable bodies and the compiled loops.
    """
    wrong = []
    for i in bar(range(count), "correct operations", progress):
        rng = np.random.default_rng([seed, i])
        trial, mode = DRAWERS[int(rng.integers(len(DRAWERS)))](rng), modes[i % len(modes)]
        if trial.layer is None and rng.random() < 0.15:
            trial.args = [a.astype(np.float32) if getattr(a, "dtype", None) == np.float64 else a for a in trial.args]
        with backend.use(mode):
            report = trial.gradcheck(rng)
        if not (report.ok or (trial.kink and report.diagnosis == "kink")):
            wrong.append((trial, mode, report))
    return wrong


def bar(items, name, progress):
    """The items, with a progress bar if wanted."""
    if not progress:
        return items
    from tqdm.auto import tqdm
    return tqdm(items, desc=name, leave=False, dynamic_ncols=True)


# ---- what was found, as text

def summary(found, title="all"):
    """One line: how many, over how many operations, detected, named right."""
    count, operations = max(len(found), 1), len({f.bug.op for f in found})
    detected, named = sum(f.detected for f in found), sum(f.named for f in found)
    return (f"{title:<8}{len(found):4d} bugs in {operations} operations   detected {detected} ({100 * detected / count:.1f}%)   "
            f"named right {named} ({100 * named / count:.1f}%)")


def confusion(found):
    """The confusion matrix: a row for each code planted, with how many, how many of them named right, and what the others were called."""
    order = [c for c in check.DIAGNOSES if any(f.bug.code == c for f in found)]
    answers = [c for c in check.DIAGNOSES if any(f.code == c for f in found)]
    letters = {c: _letters(i) for i, c in enumerate(answers)}
    counts = Counter((f.bug.code, f.code) for f in found)
    rows = [("planted", "", "bugs", "right", *letters.values())]
    for code in order:
        line = [counts[code, a] for a in answers]
        right = f"{100 * counts[code, code] / sum(line):.0f}%"
        rows.append((code, letters.get(code, ""), str(sum(line)), right, *(str(n or "·") for n in line)))
    return "\n".join(table(rows))


def misnamed(found):
    """What was missed or called by another name, one line a bug with what gradcheck said."""
    lines = [f"  {f.bug.op}: {f.bug.why}\n      planted {f.bug.code}, called {f.code}: {' '.join(f.message.split())}"
             for f in found if not f.named]
    return "\n".join(lines)


def _letters(i):
    """a, b, ..., z, aa, ..."""
    return ("" if i < 26 else chr(96 + i // 26)) + chr(97 + i % 26)
