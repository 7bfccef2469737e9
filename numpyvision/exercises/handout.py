"""For teachers: a hand-out for the class, and apart from it an answer pack with hidden seeds.

The hand-out holds nothing that the library does not show anyway: skeletons, statements, and a test file with the public checks. The answer
pack holds seeds drawn by the operating system, solutions that can be graded like a student's, and the mistakes that a check knows by name.
"""
import ast
import inspect
import json
import secrets
from pathlib import Path

from numpyvision.exercises import catalog, mutants, pictures, skeleton, workspace

SEEDS = "seeds.json"
HIDDEN = 3                                                            # sets of random inputs beside the public one

GUIDE = """# Exercises

Each file holds one function to write; its first lines say what it does and give an example to check by hand.
`pictures/` shows what each should do.

    pip install numpyvision
    cd into this folder
    numpyvision exercise list
    numpyvision exercise check {first}
    numpyvision exercise hint {first}

`python -m pytest -q` runs every check at once. Hand in this folder with your functions; other inputs of the same kinds will be tried.
"""

PUBLIC_CHECKS = '''"""The public checks of this hand-out: python -m pytest -q"""
from pathlib import Path

import pytest

from numpyvision.exercises import runner

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", {names})
def test_exercise(name):
    verdict = runner.check_exercise(name, HERE / f"{{name}}.py")
    assert verdict.ok, f"{{verdict.diagnosis}}: {{verdict.message}}"
'''


def export(folder, names=(), draw=True):
    """Write `folder`/handout and `folder`/answers, which must not be there yet -> both paths."""
    exercises = [catalog.find(name) for name in names] if names else [*catalog.load().values()]
    exercises.sort(key=lambda exercise: exercise.lesson)
    hand, answers = Path(folder) / "handout", Path(folder) / "answers"
    for place in (hand, answers):
        if place.exists():
            raise FileExistsError(f"{place} is already there and stays as it is; give another folder")
    _write_handout(hand, exercises, draw)
    _write_answers(answers, exercises)
    return hand, answers


def read_seeds(path):
    """The seeds.json of an answer pack (or the pack's folder) -> (names, seeds)."""
    path = Path(path)
    path = path / SEEDS if path.is_dir() else path
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        names, seeds = list(stored["exercises"]), [int(seed) for seed in stored["seeds"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no answer pack of exercise export ({type(error).__name__}: {error})") from error
    for name in names:
        catalog.find(name)
    return names, seeds


def _write_handout(folder, exercises, draw):
    statements = ["# Statements\n"]
    for exercise in exercises:
        workspace.write_new(folder / exercise.file_name, skeleton.skeleton(exercise))
        statements.append(f"## {exercise.name}: {exercise.title}\n\nLecture {exercise.row}\n\n{exercise.statement}\n\n"
                          f"```python\n{skeleton.signature(exercise)}\n```\n")
        if draw:
            picture = folder / "pictures" / f"{exercise.name}.png"
            picture.parent.mkdir(exist_ok=True)
            pictures.draw(exercise.name, picture)
    workspace.write_new(folder / "README.md", GUIDE.format(first=exercises[0].name))
    workspace.write_new(folder / "STATEMENTS.md", "\n".join(statements))
    workspace.write_new(folder / "test_exercises.py", PUBLIC_CHECKS.format(names=json.dumps([e.name for e in exercises], indent=4)))


def _write_answers(folder, exercises):
    names = [exercise.name for exercise in exercises]
    seeds = [0, *(secrets.randbelow(2**31) for _ in range(HIDDEN))]
    workspace.write_new(folder / SEEDS, json.dumps({"exercises": names, "seeds": seeds}, indent=1) + "\n")
    for exercise in exercises:
        workspace.write_new(folder / "solutions" / exercise.file_name, solution(exercise))
    known = [f"## {name}\n\n" + "\n".join(f"- `{bug.code}`: {bug.why}" for bug in mutants.MISTAKES.get(name, ())) for name in names]
    workspace.write_new(folder / "MISTAKES.md", "# Mistakes that a check knows by name\n\n" + "\n\n".join(known) + "\n")
    workspace.write_new(folder / "README.md", "# Answer pack: keep it to yourself\n\nMark submissions with\n\n"
                        "    numpyvision exercise grade SUBMISSIONS --answers THIS_FOLDER --csv > marks.csv\n\n"
                        "`seeds.json` draws the hidden inputs. `solutions/` is graded like a submission, and passes.\n")


def solution(exercise):
    """The library's own function as a file that can be handed in: its source, and imports of all that it uses."""
    tree = ast.parse(inspect.getsource(exercise.module()))
    text = inspect.getsource(exercise.reference())
    used = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)} - {exercise.function_name}
    lines = [ast.unparse(n) for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))
             and any((a.asname or a.name).split(".")[0] in used for a in n.names)]
    own = sorted(name for name in skeleton.own_names(tree) if name in used)
    lines += [f"from {exercise.module_name} import {', '.join(own)}"] if own else []
    return "\n".join([f'"""{exercise.title}: the library\'s own."""', *lines, "", "", text])
