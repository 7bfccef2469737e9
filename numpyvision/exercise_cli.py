"""`numpyvision exercise ...`: the commands read arguments and print; exercises/ does the work."""
import os
import textwrap
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Write the library's functions yourself, one after the other.")

CHAPTERS = {1: "Layers that everything is made of", 2: "Boxes and slow R-CNN", 3: "Fast R-CNN", 4: "Faster R-CNN and its pyramid",
            5: "RoI Align", 7: "Semantic segmentation", 8: "Unpooling and interpolation", 9: "Transposed convolution",
            10: "Mask R-CNN", 11: "Keypoints"}
WIDTH = 100

Folder = Annotated[Path | None, typer.Option("--folder", envvar="NUMPYVISION_EXERCISES", help="Where your files are. Default: exercises.")]
Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of an exercise. Default: the one to do next.")]


@app.command(name="list")
def list_exercises(folder: Folder = None):
    """Show all exercises, and how far you are.

    In the lecture's order, with the lecture's row. At the end: what to do next.

    \b
    Examples:
      numpyvision exercise list
    """
    from numpyvision.exercises import catalog
    place = _workspace(folder)
    states, chapter = place.states(), None
    _tell(place.note)
    width = max(len(name) for name in states)
    for name, exercise in catalog.load().items():
        if exercise.lesson // 100 != chapter:
            chapter = exercise.lesson // 100
            print(f"\n{CHAPTERS.get(chapter, 'More')}")
        mark = "x" if states[name].passed else "." if states[name].started else " "
        word = "" if states[name].passed else states[name].word
        print(f"  [{mark}] {name:<{width}}  {exercise.row}  {exercise.title}{f'  ({word})' if word else ''}")
    done = sum(bool(s.passed) for s in states.values())
    print(f"\n{done} of {len(states)} done, [.] begun. Your files: {_shown(place.folder)}/")
    _print_next(place)


@app.command()
def start(name: Name = None, folder: Folder = None, picture: Annotated[bool, typer.Option(help="Draw what it should do.")] = True):
    """Begin an exercise: put its file into your folder.

    It says what to write, with an example, and holds the signature. A file that is there already stays as it is.

    \b
    Examples:
      numpyvision exercise start
      numpyvision exercise start box_iou
    """
    from numpyvision.exercises import catalog, pictures, skeleton, workspace
    place = _workspace(folder)
    exercise = catalog.find(name or _next_name(place))
    states, file = place.states(), place.file(exercise.name)
    try:
        workspace.write_new(file, skeleton.skeleton(exercise))
    except FileExistsError:
        raise FileExistsError(f"{_shown(file)} is already there and stays as it is; numpyvision exercise check {exercise.name} looks at "
                              f"it, reset {exercise.name} puts it aside and starts anew") from None
    place.update(exercise.name, started=workspace.now())
    print(f"{exercise.title}  (lecture {exercise.row})\n\n{_wrapped(exercise.statement)}\n")
    open_needs = [need for need in exercise.needs if not states[need].passed]
    if open_needs:
        print(f"It leans on {', '.join(open_needs)}; do that first, or import the library's.")
    print(f"Your file: {_shown(file)}")
    if picture:
        drawn = place.picture(exercise.name)
        drawn.parent.mkdir(parents=True, exist_ok=True)
        pictures.draw(exercise.name, drawn)
        print(f"A picture of what it does: {_shown(drawn)}")
    print(f"Write the function, then: numpyvision exercise check {exercise.name}")


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of an exercise. Default: all that you began.")] = None,
    folder: Folder = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the random inputs.")] = 0,
    seconds: Annotated[int | None, typer.Option(min=1, help="Time that it may take.")] = None,
):
    """Check your function, and say what is wrong.

    It runs in a process of its own, with limits on time and memory, on small inputs; the first that goes wrong is shown.

    \b
    Examples:
      numpyvision exercise check box_iou
      numpyvision exercise check
    """
    from numpyvision.exercises import catalog
    place = _workspace(folder)
    states = place.states()
    _tell(place.note)
    names = [catalog.find(name).name] if name else [n for n, s in states.items() if s.started]
    if not names:
        raise ValueError(f"there is nothing to check in {_shown(place.folder)}/; begin with: numpyvision exercise start {place.next()}")
    if name and not place.file(name).exists():
        raise FileNotFoundError(f"{_shown(place.file(name))} is not there; begin with: numpyvision exercise start {name}")
    failed = [n for n in names if not _check_one(place, n, seed, seconds, brief=name is None)]
    if name is None or not failed:
        _print_next(place)
    if failed:
        raise typer.Exit(1)


@app.command()
def hint(name: Name = None, folder: Folder = None):
    """Show one more hint, after those that you had.

    There are three, each stronger.

    \b
    Examples:
      numpyvision exercise hint box_iou
    """
    from numpyvision.exercises import catalog
    place = _workspace(folder)
    exercise = catalog.find(name or _next_name(place))
    state = place.states()[exercise.name]
    if not state.started:
        raise ValueError(f"begin first: numpyvision exercise start {exercise.name}")
    shown = min(state.hints + 1, len(exercise.hints))
    for number, text in enumerate(exercise.hints[:shown], 1):
        print(_wrapped(f"Hint {number} of {len(exercise.hints)}: {text}"))
    if state.hints == len(exercise.hints):
        print(f"That was all. A check says what your function does wrong: numpyvision exercise check {exercise.name}")
    place.update(exercise.name, hints=shown)


@app.command()
def reset(name: Annotated[str, typer.Argument(help="Name of an exercise.")], folder: Folder = None):
    """Start an exercise anew, your file put aside.

    What you had is kept in earlier/.

    \b
    Examples:
      numpyvision exercise reset box_iou
    """
    from numpyvision.exercises import catalog, skeleton, workspace
    place = _workspace(folder)
    exercise = catalog.find(name)
    file = place.file(exercise.name)
    if not file.exists():
        raise FileNotFoundError(f"{_shown(file)} is not there; begin with: numpyvision exercise start {exercise.name}")
    text = skeleton.skeleton(exercise)                                  # before anything moves
    kept = workspace.put_aside(file, place.folder / "earlier")
    workspace.write_new(file, text)
    place.update(exercise.name, started=workspace.now(), last="")
    print(f"{_shown(file)} is new; what you had is {_shown(kept)}")


@app.command()
def solution(name: Annotated[str, typer.Argument(help="Name of an exercise.")], folder: Folder = None):
    """Print the library's own, once yours passed.

    \b
    Examples:
      numpyvision exercise solution box_iou
    """
    import inspect

    from numpyvision.exercises import catalog
    place = _workspace(folder)
    exercise = catalog.find(name)
    if not place.states()[exercise.name].passed:
        raise ValueError(f"the solution opens when your {exercise.name} has passed; until then: numpyvision exercise hint {exercise.name}")
    function = exercise.reference()
    print(f"# {exercise.module_name}, line {inspect.getsourcelines(function)[1]}\n{inspect.getsource(function)}", end="")


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="Name of an exercise.")],
    model: Annotated[str, typer.Option("--in", metavar="MODEL", help="The model that it works in.")] = "mask_rcnn",
    seconds: Annotated[int, typer.Option(min=0, help="Time to train on your function; 0 compares only.")] = 120,
    folder: Folder = None,
):
    """Train a real model on your function.

    First side by side with the library's: that stops at the first number that differs, and says where. Your file runs in this
    process, without the limits of a check.

    \b
    Examples:
      numpyvision exercise run roi_align_forward --in mask_rcnn
      numpyvision exercise run conv2d_forward --in fcn --seconds 0
    """
    from numpyvision.exercises import catalog, side_by_side
    place = _workspace(folder)
    exercise = catalog.find(name)
    file = place.file(exercise.name)
    if not file.exists():
        raise FileNotFoundError(f"{_shown(file)} is not there; begin with: numpyvision exercise start {exercise.name}")
    if not side_by_side.run(exercise.target, file, model, seconds).ok:
        raise typer.Exit(1)


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where handout/ and answers/ are written.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Which exercises. Default: all.")] = None,
    picture: Annotated[bool, typer.Option(help="Draw what each should do.")] = True,
):
    """For teachers: write a hand-out and its answers.

    handout/ holds skeletons, statements and public checks; answers/ solutions and the seeds of hidden checks.

    \b
    Examples:
      numpyvision exercise export --to homework1 box_iou nms
    """
    from numpyvision import places
    from numpyvision.exercises import handout
    hand, answers = handout.export(places.folder_at(to), names or (), picture)
    print(f"{hand}/: skeletons, statements, public checks; give it to the class\n{answers}/: hidden seeds, solutions; keep it")


@app.command()
def grade(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Submissions, or folders that hold them.")],
    answers: Annotated[Path | None, typer.Option(help="An answer pack: which exercises, with which hidden seeds.")] = None,
    exercise: Annotated[list[str] | None, typer.Option(help="Only this exercise; may be given several times.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line a student an exercise; the tables go to stderr.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the CSV into this file.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many at a time. Default: the number of cores.")] = None,
    seconds: Annotated[int | None, typer.Option(min=1, help="Time that a function may take.")] = None,
):
    """For teachers: mark any number of submissions.

    In parallel, each function in a process of its own with limits. A line a student, then what went wrong most often.

    \b
    Examples:
      numpyvision exercise grade submissions --answers homework1/answers --csv > marks.csv
      numpyvision exercise grade anna ben --exercise box_iou
    """
    import sys

    from tqdm.auto import tqdm

    from numpyvision import places
    from numpyvision.exercises import catalog, handout, runner
    from numpyvision.exercises import grade as marking
    out = out and places.file_at(out)
    students = marking.submissions(folders)
    names, seeds = handout.read_seeds(answers) if answers else (marking.exercises_of(students), [0])
    names = [n for n in catalog.load() if n in {catalog.find(e).name for e in exercise}] if exercise else names
    if not names:
        raise ValueError("none of these folders holds a file of an exercise, like box_iou.py")
    with tqdm(total=len(students) * len(names), unit="function", disable=None, file=sys.stderr, leave=False) as bar:
        marks = marking.grade(students, names, seeds, seconds=seconds or runner.SECONDS, jobs=jobs, on_mark=bar.update)
    if out is not None:
        out.write_text(marking.as_csv(marks), encoding="utf-8")
    if as_csv:
        print(marking.as_csv(marks), end="")
    print(f"{marking.table(marks)}\n\n{marking.class_table(marks)}", file=sys.stderr if as_csv else sys.stdout)


# ---------------------------------------------------------------------------------------------------------------- parts of commands
def _check_one(place, name, seed, seconds, brief):
    """Check one file, remember what came out, print it. True if it passed."""
    from numpyvision.exercises import runner, workspace
    verdict = runner.check_exercise(name, place.file(name), seed, seconds=seconds or runner.SECONDS, picture=place.picture(name, "-yours"))
    state = place.states()[name]
    place.update(name, started=state.started or workspace.now(), checks=state.checks + 1, last=verdict.diagnosis,
                 passed=state.passed or (workspace.now() if verdict.ok else ""))
    if brief:
        print(f"{'right' if verdict.ok else verdict.diagnosis:<20} {name}")
        return verdict.ok
    print(f"{name}: {'right' if verdict.ok else verdict.diagnosis}\n\n{_wrapped(verdict.message)}\n")
    for label, text in (("On", verdict.details.get("case")), ("The check", verdict.details.get("table")),
                        ("It printed", verdict.details.get("printed"))):
        if text:
            print(f"{label}:\n{textwrap.indent(text, '  ')}\n")
    if verdict.ok and verdict.details.get("picture"):
        print(f"A picture, drawn with your function: {_shown(Path(verdict.details['picture']))}")
    if verdict.ok:
        print(f"How the library does it: numpyvision exercise solution {name}")
    else:
        print(f"Stuck? numpyvision exercise hint {name}")
    return verdict.ok


def _workspace(folder):
    """The student's folder: --folder, else this one if it holds exercises, else exercises/ in it."""
    from numpyvision import places
    from numpyvision.exercises import workspace
    here = workspace.Workspace(Path("."))
    if folder is None:
        folder = Path(".") if here.is_one() else Path("exercises")
    return workspace.Workspace(places.folder_at(folder.expanduser()))


def _next_name(place):
    name = place.next()
    if name is None:
        raise ValueError("all exercises are done; name one to see it again")
    return name


def _print_next(place):
    name = place.next()
    if name is None:
        print("All done. Train a model on a function of yours: numpyvision exercise run roi_align_forward --in mask_rcnn")
    elif place.states()[name].started:
        print(f"Go on with: numpyvision exercise check {name}")
    else:
        print(f"Next: numpyvision exercise start {name}")


def _wrapped(text):
    from numpyvision.exercises import skeleton
    return skeleton.filled(text, WIDTH)


def _shown(path):
    """A path as short as it can be."""
    try:
        return os.path.relpath(path) if not os.path.relpath(path).startswith("..") else str(path)
    except ValueError:                                                  # another drive
        return str(path)


def _tell(note):
    if note:
        print(f"note: {note}")
