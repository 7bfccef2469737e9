"""The command line. Commands only read arguments and print; `runs.py` does the work. Everything heavy is imported inside a command.

Exit codes: 0 done; 1 the run failed (a NaN, a failed gradient check, a full disk); 2 the user's mistake (an unknown option, a missing file,
bad data); 130 Ctrl-C. Errors are one line on stderr; NUMPYVISION_DEBUG=1 shows the traceback too.
"""
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from numpyvision import data_cli, exercise_cli, recipes
from numpyvision.bench import cli as bench_cli
from numpyvision.exercises import zoo_cli

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
app.add_typer(data_cli.app, name="data")
app.add_typer(zoo_cli.app, name="check")
app.command(name="bench")(bench_cli.bench)
app.add_typer(exercise_cli.app, name="exercise")


def _version(wanted: bool):
    if wanted:
        import numpyvision
        print(f"numpyvision {numpyvision.__version__}")
        raise typer.Exit()


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False):
    """Detection and segmentation in NumPy, forward and backward by hand.

    \b
    Start with:
      numpyvision train mask_rcnn
    """


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="One of " + ", ".join(recipes.RECIPES) + ".")],
    data: Annotated[str | None, typer.Option(help=f"{data_cli.DATA_HELP} Default: scenes.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/MODEL, runs/MODEL-2, ...")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of training. Default: the model's recipe.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights, order and augmentation. Default: 0.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a step. Default: the model's recipe.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate. Default: the model's recipe.")] = None,
    short: Annotated[bool, typer.Option("--short", help="A first look: few steps.")] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An argument of the model.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out (default: the latest), bit for bit.")] = False,
):
    """Train a model, then score it on held-out images.

    \b
    Examples:
      numpyvision train faster_rcnn
      numpyvision train faster_rcnn --data voc:~/bccd --out runs/cells
      numpyvision train faster_rcnn --out runs/cells --resume
      numpyvision train classifier --steps 200 --seed 1
      numpyvision train fcn --data coco:~/nuclei
      numpyvision train fcn --set upsampler=bilinear --set skips=4s
    """
    from numpyvision import places, runs
    runs.check_name(model)
    if resume:
        if settings:
            raise ValueError("--set belongs to a new run; with --resume the model is the one that the run has")
        folder = places.latest(model) if out is None else out
        config = _resumed(runs.read_config(folder), model, data=data, seed=seed, steps=steps, batch_size=batch_size, lr=lr)
        dataset = runs.open_data(config["data"])
    else:
        data = data or "scenes"
        dataset = runs.open_data(data)
        if not data.startswith("scenes"):                               # drawn, with loops that are to be compiled along with the others
            _ = dataset[0]                                              # images that are not there are told before a folder is made
        config = runs.make_config(model, data, dataset, seed=seed or 0, steps=steps, batch_size=batch_size, lr=lr, short=short,
                                  model=_settings(settings or ()))
        folder = places.new_folder(model) if out is None else places.empty_folder(out)
    try:
        held_out = runs.open_data(config["data"], "val")               # now, so that a missing split is told before training, not after
        print(f"{runs.describe(config, dataset)} -> {folder}", flush=True)
        trained = runs.train(config, folder, dataset, resume=resume)
    except KeyboardInterrupt:
        if folder.is_dir() and any(folder.iterdir()):
            print(f"stopped; go on with: numpyvision train {model} --out {folder} --resume", file=sys.stderr)
        raise
    finally:
        if folder.is_dir() and not any(folder.iterdir()):              # it failed before there was anything to keep
            folder.rmdir()
    if runs.same_images(dataset, held_out):
        print("this data set has no split val: the numbers below are for the images of training, and too good")
    _score(trained, held_out, config["recipe"]["short_side"], folder)
    print(f"{folder}/: {', '.join(sorted(p.name for p in folder.iterdir()))}")


@app.command(name="eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[str | None, typer.Option(help=f"{data_cli.DATA_HELP} Default: what the run was trained on.")] = None,
    split: Annotated[str, typer.Option(help="Which part of it.")] = "val",
    count: Annotated[int | None, typer.Option(min=1, help="Only so many images.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers as JSON, for other programs.")] = False,
):
    """Score a run on held-out images.

    \b
    Examples:
      numpyvision eval runs/faster_rcnn
      numpyvision eval runs/cells --data voc:~/bccd --split train --json
    """
    from numpyvision import runs
    model, config = runs.load(run)
    _score(model, runs.open_data(data or config["data"], split, count), config["recipe"]["short_side"], as_json=as_json)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs, or models: the latest run of each.")],
    measure: Annotated[int, typer.Option(min=0, help="Run them on so many held-out images: multiply-adds and time of one.")] = 0,
):
    """Put runs side by side: what differs, what it cost, how good it is.

    \b
    Examples:
      numpyvision compare runs/fcn runs/fcn-2 runs/deconvnet
      numpyvision compare slow_rcnn fast_rcnn faster_rcnn --measure 20
    """
    from numpyvision import compare
    print(compare.table(compare.compare_runs(folders, measure)))


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures. Default: RUN/predictions.")] = None,
    score: Annotated[float, typer.Option(min=0, max=1, help="Show objects from this score on.")] = 0.5,
):
    """Find objects in images: list and draw them.

    \b
    Examples:
      numpyvision predict runs/cells photo.jpg
      numpyvision predict runs/cells *.jpg --out found --score 0.7
    """
    import numpy as np

    from numpyvision import places, runs
    from numpyvision.data.images import read_image
    from numpyvision.data.sample import Sample
    pixels = [read_image(path) for path in images]                     # all of them first: a bad name is told before any work
    folder = run / "predictions" if out is None else places.folder_at(out)
    model, config = runs.load(run)
    folder.mkdir(parents=True, exist_ok=True)
    for path, image in zip(images, pixels, strict=True):
        sample = Sample(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), image_id=path.name)
        found = runs.predict(model, [sample], config["recipe"]["short_side"])[0]
        picture = places.free_name(folder / f"{path.stem}.png")
        print(f"{path}: {_describe(found, model.classes, score)} -> {picture}")
        _draw(image, found, model.classes, score, picture)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    weights: Annotated[Path, typer.Argument(help="The file to write, .safetensors.")],
    half: Annotated[bool, typer.Option("--half", help="Store numbers in 16 bits: half the file, rounded.")] = False,
):
    """Write a run's weights and config to one small file, without the optimiser.

    `runs.load_weights(FILE)` in Python builds the model again.

    \b
    Examples:
      numpyvision export runs/faster_rcnn cells.safetensors
      numpyvision export runs/faster_rcnn cells.safetensors --half
    """
    from numpyvision import runs
    runs.export(run, weights, half)
    print(f"{weights}: {weights.stat().st_size / 1e6:.2f} MB")


@app.command()
def gradcheck(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Operations, losses and layers. Default: all.")] = None,
    list_names: Annotated[bool, typer.Option("--list", help="Print the names that can be checked.")] = False,
):
    """Compare backwards with finite differences.

    One line a case: every operation, loss and layer, on its readable and its compiled path.

    \b
    Examples:
      numpyvision gradcheck
      numpyvision gradcheck conv2d roi_align
    """
    from numpyvision import contract
    cases = contract.select(names or ())
    if list_names:
        print("\n".join(dict.fromkeys(case.name for case in cases)))
        return
    failed = 0
    for case in cases:
        result = case.check()
        failed += not result.ok
        error = result.gradients.error if result.gradients is not None else None
        print(f"{'ok    ' if result.ok else 'FAILED'} {'' if error is None else f'{error:.1e}':>8}  {case.id}", flush=True)
        if not result.ok:
            print(f"                 {result.message}")
    print(f"{len(cases) - failed} of {len(cases)} cases kept the contract; the number is the relative error along a random direction")
    if failed:
        raise typer.Exit(1)


@app.command()
def figure(
    name: Annotated[str | None, typer.Argument(metavar="[ID]", help="A lecture row (L16-U03) or a name; without one, a list.")] = None,
    out: Annotated[Path | None, typer.Option(help="The picture's file, .png, .pdf or .svg. Default: ID.png, ID-2.png, ...")] = None,
):
    """Redraw a figure of the lecture, computed anew.

    \b
    Examples:
      numpyvision figure
      numpyvision figure L16-U03
      numpyvision figure max_unpooling --out slide.pdf
    """
    from numpyvision import figures, places
    from numpyvision.plot import style
    if name is None or name == "list":
        print(figures.listing())
        return
    row = figures.find(name)
    picture = places.free_name(Path(f"{row}.png")) if out is None else places.picture_at(out)
    style.save(figures.FIGURES[row].draw(), picture)
    print(picture)


# ---------------------------------------------------------------------------------------------------------------- parts of commands
def _score(model, dataset, short_side, folder=None, as_json=False):
    """Print the numbers on held-out images; with a folder, keep them there beside a picture of some predictions."""
    import json

    from numpyvision import runs
    numbers, table = runs.evaluate(model, dataset, short_side)
    print(json.dumps(numbers, indent=2) if as_json else f"\n{dataset.name}, {len(dataset)} images\n\n{table}\n", flush=True)
    if folder is not None:
        (folder / "metrics.json").write_text(json.dumps(numbers, indent=2) + "\n")
        runs.draw_predictions(model, dataset, folder / "predictions.png", short_side)


def _settings(texts):
    """["skips=4s", "convs=[1, 2, 2, 2, 2]"] -> {"skips": "4s", "convs": [1, 2, 2, 2, 2]}: values are JSON, or else plain text."""
    import json
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ValueError(f"--set takes NAME=VALUE, got {text!r}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _resumed(config, model, **wanted):
    """The config to go on with. Only the number of steps may change: anything else would make it another run."""
    if config["name"] != model:
        raise ValueError(f"that is a run of {config['name']}, not of {model}")
    from numpyvision import runs
    known = {"data": config["data"], "seed": config["seed"], **{key: config["recipe"][key] for key in ("batch_size", "lr")}}
    for key, value in known.items():
        given = runs.absolute(wanted[key]) if key == "data" and wanted[key] else wanted[key]
        if given is not None and given != value:
            raise ValueError(f"the run has --{key.replace('_', '-')} {value}, so it cannot go on with {given}; leave the option out")
    steps = wanted["steps"] or config["recipe"]["steps"]
    return {**config, "recipe": {**config["recipe"], "steps": steps}}


def _describe(found, classes, score):
    if hasattr(found, "boxes"):
        kept = [(classes[int(k)], s) for k, s in zip(found.labels, found.scores, strict=True) if s >= score]
        return ", ".join(f"{name} {s:.2f}" for name, s in kept) or "nothing found"
    if found.ndim == 2:                                                 # a label map: how much of the picture each class has
        import numpy as np
        share = np.bincount(found.ravel(), minlength=len(classes)) / found.size
        return ", ".join(f"{classes[k]} {100 * share[k]:.0f} %" for k in (-share).argsort(kind="stable") if share[k] >= 0.005)
    best = found.argsort()[::-1][:3]
    return ", ".join(f"{classes[k]} {found[k]:.2f}" for k in best)


def _draw(image, found, classes, score, path):
    from numpyvision.plot import boxes, segmentation, style
    if not hasattr(found, "boxes") and found.ndim == 2:
        ax = segmentation.draw_overlay(image, found, classes)
    elif hasattr(found, "boxes"):
        found = found[found.scores >= score]
        ax = boxes.draw_boxes(image, found.boxes, found.labels, found.scores, classes, found.masks, found.keypoints)
    else:
        ax = boxes.draw_boxes(image, [])
        ax.set_title(_describe(found, classes, score), fontsize=9)
    style.save(ax.figure, path)


# ---------------------------------------------------------------------------------------------------------------- errors
def main(arguments=None):
    """The entry point: run a command, turn whatever goes wrong into one line and an exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments):
    """The exit code of a command line, a list of strings."""
    command = typer.main.get_command(app)
    usage_error = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    try:
        result = command.main(args=list(arguments), prog_name="numpyvision", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 0
        context = getattr(error, "ctx", None)
        return _fail(f"{error.format_message()} (see: {context.command_path if context else 'numpyvision'} --help)", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except BrokenPipeError:                                             # `numpyvision ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        by_the_system = isinstance(error, OSError) and error.errno and error.filename is not None
        return _fail(f"{error.filename}: {error.strerror}" if by_the_system else error, 2)
    except FloatingPointError as error:
        return _fail(error, 1)
    except Exception as error:
        return _fail(f"{type(error).__name__}: {error}", 1)


def _fail(message, code):
    if os.environ.get("NUMPYVISION_DEBUG") == "1" and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print("numpyvision: " + " ".join(str(message).split()), file=sys.stderr)
    return code
