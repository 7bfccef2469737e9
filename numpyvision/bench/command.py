"""What `numpyvision bench` does: measure the sections that are asked for, line by line, then print and draw."""
import sys

from tqdm import tqdm

from numpyvision import threads
from numpyvision.bench import first_run, machine, operations, overhead, peers, picture, report, scaling, steps
from numpyvision.plot import style

SECTIONS = ("ops", "steps", "overhead", "scaling", "first_run")


def run(names=(), sections=(), json_file=None, out=None, quick=False, num_threads=None):
    """Measure, print, save -> the results (of the file too, where it held some).

    names: only operations and models whose name contains one of them. sections: of SECTIONS; none: ops, steps and overhead, and with names
    only ops and steps. json_file: results are added to what it holds, so that a bench can be taken in parts. out: where the bars go.
    """
    unknown = [s for s in sections if s not in SECTIONS]
    if unknown:
        raise ValueError(f"sections are {', '.join(SECTIONS)}, got {unknown[0]!r}")
    before = report.load(json_file) if json_file else {}
    if num_threads is not None:
        threads.set_num_threads(num_threads)
    sections = sections or (("ops", "steps") if names else ("ops", "steps", "overhead"))
    others = peers.installed()
    results = {"machine": machine.describe()}
    print(report.head(results["machine"]), flush=True)
    budget = 0.03 if quick else 0.4
    if "ops" in sections:
        rows = _rows(operations.tasks(names, quick, others), budget, 2 * operations.count(names, quick), quick)
        results |= _show("operations", rows)
    if "steps" in sections:
        results |= _show("steps", _rows(steps.tasks(names, quick, bool(others)), 3 * budget, 6, quick))
    if "overhead" in sections:
        results |= _show("overhead", _rows(overhead.tasks(names, {"torch": others["torch"]} if "torch" in others else {}), budget / 4, 32, quick),
                         "us", 1000)
    if "scaling" in sections:
        results |= _show("scaling", _scaling(quick, others, budget))
    if "first_run" in sections:
        print("the first run: processes of their own, a minute", flush=True)
        results["first_run"] = first_run.measure(quick)
        print("\n" + first_run.text(results["first_run"]))
    if not any(results.get(s) for s in ("operations", "steps", "overhead", "scaling", "first_run")):
        raise ValueError(f"nothing in the bench is called {' or '.join(names)}; operations are "
                         f"{', '.join(dict.fromkeys(c.op for c in operations.CASES))}, models {', '.join(steps.MODELS)}")
    results = report.merge(before, results)
    return _finish(results, json_file, out)


def _rows(tasks, budget, total, quick=False):
    """Measure every Task, with a bar; its lines are written as they come, so that an interrupted bench has said something."""
    rows = []
    with tqdm(total=total, unit="line", delay=2, mininterval=1, leave=False, dynamic_ncols=True, file=sys.stderr) as bar:
        for task in tasks:
            bar.set_postfix_str(task.key, refresh=False)
            rows.append(report.row(task, budget, quick))
            bar.update()
    return rows


def _scaling(quick, others, budget):
    torch_only = {"torch": others["torch"]} if "torch" in others else {}
    rows = _rows(scaling.tasks(quick, torch_only), budget, 14, quick)
    before = threads.get_num_threads()
    try:
        for n, task in scaling.thread_tasks(torch_only):
            scaling.set_threads(n)
            rows.append(report.row(task, budget, quick))
    finally:
        scaling.set_threads(before)
    return rows


def _show(section, rows, unit="ms", factor=1):
    if rows:
        shown = [{**r, "ms": {name: factor * ms for name, ms in r["ms"].items()}} for r in rows]
        print("\n" + report.table(shown, unit), flush=True)
    return {section: rows} if rows else {}


def _finish(results, json_file, out):
    summary = report.summary(results)
    print(f"\n{summary}" if summary else "")
    if json_file:
        report.save(results, json_file)
        print(f"{json_file}: all of it")
    if out and any(r["ratio"].get("torch") for r in [*results.get("operations", ()), *results.get("steps", ())]):
        style.save(picture.ratio_bars(results).figure, out)
        print(out)
    if out and results.get("scaling"):
        growth = out.with_name(f"{out.stem}-growth{out.suffix}")
        style.save(picture.growth(results), growth)
        print(growth)
    return results
