"""`numpyvision check zoo`: measure the diagnosis."""
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure gradcheck by planted bugs.")


@app.callback()
def _group():
    """Measure gradcheck by planted bugs."""


@app.command()
def zoo(
    seen: Annotated[bool, typer.Option("--seen", help="Only the half that the rules were written with.")] = False,
    unseen: Annotated[bool, typer.Option("--unseen", help="Only the half that was kept apart.")] = False,
    alarms: Annotated[int, typer.Option(min=0, help="How many random shapes of correct operations to look for false alarms in.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of upstream gradients, directions and shapes.")] = 0,
    code: Annotated[list[str] | None, typer.Option(help="Only bugs with this code.")] = None,
    op: Annotated[list[str] | None, typer.Option(help="Only bugs of this operation.")] = None,
):
    """Run every planted bug through gradcheck: how many are detected, how many named right?

    Exit code 1 if a bug was not detected or a correct operation was called wrong.

    \b
    Examples:
      numpyvision check zoo --alarms 1000
      numpyvision check zoo --seen --code shifted
    """
    from numpyvision.exercises import zoo
    halves = {name: bugs for name, bugs in zoo.HALVES.items() if {"seen": seen, "unseen": unseen}[name] or not (seen or unseen)}
    chosen = {name: [b for b in bugs if (not code or b.code in code) and (not op or b.op in op)] for name, bugs in halves.items()}
    if not any(chosen.values()):
        known = [", ".join(sorted({getattr(b, field) for bugs in halves.values() for b in bugs})) for field in ("code", "op")]
        raise typer.BadParameter(f"no bug has this code and operation; codes: {known[0]}; operations: {known[1]}")
    found = {name: zoo.run(bugs, seed, progress=True) for name, bugs in chosen.items()}
    everything = [f for half in found.values() for f in half]
    print(f"planted and called:\n{zoo.confusion(everything)}\n")
    for name, half in found.items():
        print(zoo.summary(half, name))
    if len(found) > 1:
        print(zoo.summary(everything))
    if any(not f.named for f in everything):
        print(f"\ncalled by another name:\n{zoo.misnamed(everything)}")
    wrong = zoo.alarms(alarms, seed, progress=True)
    if alarms:
        print(f"\n{len(wrong)} false alarms in {alarms} random shapes of correct operations")
        print("\n".join(f"  {trial} [{mode}]: {report.diagnosis}: {' '.join(report.message.split())}" for trial, mode, report in wrong))
    if wrong or not all(f.detected for f in everything):
        raise typer.Exit(1)
