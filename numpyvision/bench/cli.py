"""The command `numpyvision bench`: it reads arguments, command.py does the work."""
from pathlib import Path
from typing import Annotated

import typer


def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Operations or models, by parts of names.")] = None,
    ops: Annotated[bool, typer.Option("--ops", help="Every operation, forward and backward.")] = False,
    steps: Annotated[bool, typer.Option("--steps", help="Whole training steps, and prediction.")] = False,
    overhead: Annotated[bool, typer.Option("--overhead", help="What a call costs on next to nothing.")] = False,
    scaling: Annotated[bool, typer.Option("--scaling", help="How cost grows with side, batch, regions, threads.")] = False,
    first_run: Annotated[bool, typer.Option("--first-run", help="Import, compilation, peak memory.")] = False,
    to_ap: Annotated[bool, typer.Option("--to-ap", help="Train Faster R-CNN and its twin from nothing to the README's AP: long.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Keep the numbers there, added to what the file holds.")] = None,
    out: Annotated[Path | None, typer.Option(help="Draw the ratios as sorted bars: the picture's file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes and few runs.")] = False,
    num_threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads of every library. Default: all.")] = None,
):
    """Measure speed on this machine, beside torch and onnxruntime where installed.

    Without a section: operations, steps and overhead.

    \b
    Examples:
      numpyvision bench --quick
      numpyvision bench conv2d --out conv.png
      numpyvision bench --json bench.json --out bench.png
    """
    from numpyvision.bench import command
    wanted = {"ops": ops, "steps": steps, "overhead": overhead, "scaling": scaling, "first_run": first_run, "to_ap": to_ap}
    command.run(names or (), [name for name, chosen in wanted.items() if chosen], json_file, out, quick, num_threads)
