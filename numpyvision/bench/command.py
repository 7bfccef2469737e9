"""What `numpyvision bench` does: measure the sections that are asked for, line by line, then print and draw."""
import sys

from tqdm import tqdm

from numpyvision import places, threads
from numpyvision.bench import first_run, machine, operations, overhead, peers, picture, report, scaling, steps, to_ap
from numpyvision.plot import style


def run(names=(), sections=(), json_file=None, out=None, quick=False, num_threads=None):
    """Measure, print, save -> the results (of the file too, where it held some).

    names: only operations and models whose name contains one of them. sections: of SECTIONS; none: ops, steps and overhead, and with names
    only ops and steps. json_file: results are added to what it holds, so that a bench can be taken in parts. out: where the bars go.
    """
    check_names(names, sections)
    json_file, out = json_file and places.file_at(json_file), out and places.picture_at(out)
    before = report.load(json_file) if json_file else {}
    if num_threads is not None:
        threads.set_num_threads(num_threads)
    sections = sections or (("ops", "steps") if names else ("ops", "steps", "overhead"))
    others = peers.installed()
    results = {"machine": machine.describe()}
    print(report.head(results["machine"]), flush=True)

    def keep(section, row):
        """Every line is kept as soon as it is there: who interrupts a bench has lost only the line that ran."""
        results.setdefault(section, []).append(row)
        if json_file:
            report.save(report.merge(before, results), json_file)
    for section in sections:
        MEASURE[section](names, quick, others, 0.03 if quick else 0.4, keep)
    return _finish(report.merge(before, results), json_file, out)


def check_names(names, sections):
    """A ValueError for a name that nothing in the bench contains, or a section that there is not."""
    unknown = [s for s in sections if s not in SECTIONS]
    if unknown:
        raise ValueError(f"sections are {', '.join(SECTIONS)}, got {unknown[0]!r}")
    known = [c.group for c in operations.CASES] + [c.op for c in operations.CASES] + [t for e in operations.EXTRAS for t in e[:2]]
    known += [c.name for c in operations.CASES] + list(first_run.PARTS)
    for name in names:
        if not operations.wanted([name], *known, *steps.MODELS, *scaling.GROUPS):
            raise ValueError(f"nothing in the bench is called {name!r}; operations are "
                             f"{', '.join(dict.fromkeys(c.op for c in operations.CASES))}, models {', '.join(steps.MODELS)}")


def _operations(names, quick, others, budget, keep):
    total = 2 * operations.count(names, quick)
    _show(_rows("operations", operations.tasks(names, quick, others), budget, total, quick, keep))


def _steps(names, quick, others, budget, keep):
    _show(_rows("steps", steps.tasks(names, quick, bool(others)), 3 * budget, 6, quick, keep))


def _overhead(names, quick, others, budget, keep):
    _show(_rows("overhead", overhead.tasks(names, _torch(others)), budget / 4, 32, quick, keep), "us", 1000)


def _scaling(names, quick, others, budget, keep):
    rows = _rows("scaling", scaling.tasks(names, quick, _torch(others)), budget, 14, quick, keep)
    before = threads.get_num_threads()
    try:
        for n, task in scaling.thread_tasks(names, _torch(others)):
            scaling.set_threads(n)
            rows += _rows("scaling", [task], budget, 1, quick, keep)
    finally:
        scaling.set_threads(before)
    _show(rows)


def _first_run(names, quick, others, budget, keep):
    print("the first run: processes of their own, a minute", flush=True)
    _tell("first_run", first_run.measure(names, quick), keep)


def _to_ap(names, quick, others, budget, keep):
    print("from nothing to an AP: two whole trainings", flush=True)
    _tell("to_ap", to_ap.measure(quick), keep)


def _tell(section, rows, keep):
    for row in rows:
        print(first_run.text([row]), flush=True)
        keep(section, row)


MEASURE = {"ops": _operations, "steps": _steps, "overhead": _overhead, "scaling": _scaling, "first_run": _first_run, "to_ap": _to_ap}
SECTIONS = tuple(MEASURE)


def _torch(others):
    """Of the other libraries only torch."""
    return {name: other for name, other in others.items() if name == "torch"}


def _rows(section, tasks, budget, total, quick, keep):
    """Measure every Task, with a bar from the second second on."""
    rows = []
    with tqdm(total=total, unit="line", delay=2, mininterval=1, leave=False, dynamic_ncols=True, file=sys.stderr) as bar:
        for task in tasks:
            bar.set_postfix_str(task.key, refresh=False)
            rows.append(report.row(task, budget, quick))
            keep(section, rows[-1])
            bar.update()
    return rows


def _show(rows, unit="ms", factor=1):
    if rows:
        shown = [{**r, "ms": {name: factor * ms for name, ms in r["ms"].items()}} for r in rows]
        print("\n" + report.table(shown, unit), flush=True)


def _finish(results, json_file, out):
    summary = report.summary(results)
    print(f"\n{summary}" if summary else "")
    if json_file:
        print(f"{json_file}: all of it")
    beside = any(r["ratio"].get("torch") for r in [*results.get("operations", ()), *results.get("steps", ())])
    if out and beside:
        style.save(picture.ratio_bars(results).figure, out)
        print(out)
    elif out and not results.get("scaling"):
        print(f"no {out}: no line here was measured beside torch")
    if out and results.get("scaling"):
        growth = out.with_name(f"{out.stem}-growth{out.suffix}")
        style.save(picture.growth(results), growth)
        print(growth)
    return results
