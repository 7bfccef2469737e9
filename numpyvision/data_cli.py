"""`numpyvision data ...`: look at a data set. The commands read arguments and print; data/ and plot/ do the work."""
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at a data set before training on it.")

DATA_HELP = "scenes or scenes:COUNT (drawn by this library), voc:PATH or coco:PATH."


@app.command()
def check(
    spec: Annotated[str, typer.Argument(metavar="PATH", help=f"A folder, or {DATA_HELP}")],
    out: Annotated[Path | None, typer.Option(help="The histograms' file. Default: NAME-check.png, NAME-check-2.png, ...")] = None,
):
    """List every fault of a data set; draw its histograms.

    Reads every image and decodes every mask. The exit code is 1 if anything is wrong with the data.

    \b
    Examples:
      numpyvision data check ~/bccd
      numpyvision data check coco:~/nuclei --out nuclei.png
    """
    from numpyvision import places, runs
    from numpyvision.data import checkup
    from numpyvision.plot import datasets
    picture = places.free_name(_picture_name(spec, "-check")) if out is None else places.picture_at(out)
    report = checkup.check_dataset(runs.absolute(spec), progress=True)
    print(report)
    datasets.plot_dataset_statistics(report.statistics, picture)
    print(f"class, size and aspect histograms: {picture}")
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def show(
    spec: Annotated[str, typer.Argument(help=DATA_HELP)],
    out: Annotated[Path | None, typer.Option(help="The picture's file. Default: NAME.png, NAME-2.png, ...")] = None,
    split: Annotated[str, typer.Option(help="Which part of it.")] = "train",
    count: Annotated[int, typer.Option(min=1, max=100, help="How many images.")] = 16,
):
    """Draw a page of images with all the truth about them.

    \b
    Examples:
      numpyvision data show scenes
      numpyvision data show coco:~/nuclei --out nuclei.png --count 9
    """
    from numpyvision import places, runs
    from numpyvision.plot import boxes
    dataset = runs.open_data(spec, split, count)
    picture = places.free_name(_picture_name(spec)) if out is None else places.picture_at(out)
    boxes.draw_page([dataset[i] for i in range(min(count, len(dataset)))], dataset.classes, path=picture)
    print(picture)


def _picture_name(spec, ending=""):
    """voc:/data/bccd -> bccd.png, in the folder where one is."""
    kind, _, rest = spec.rpartition(":")
    return Path(f"{kind if rest.isdigit() else Path(rest).stem}{ending}.png")
