"""What a bench found: a dict that JSON holds, the table that is printed, and a summary in a few lines.

    {"machine": {...}, "operations": [row, ...], "steps": [...], "overhead": [...], "scaling": [...], "first_run": [...]}

A row: group, name, direction, ms {"compiled": 0.8, "readable": 9.1, "torch": 1.6}, ratio {"torch": [0.5, 0.48, 0.53]} (median and
quartiles, ours compiled divided by theirs), gflops, gbs.
"""
import json
import math
from pathlib import Path

from numpyvision.bench import measure

ORDER = ("compiled", "readable", "torch", "onnxruntime")


def row(task, budget=0.4, quick=False):
    """Measure one Task; quick leaves the readable body out."""
    fast = {name: work for name, work in task.work.items() if name != "readable"}
    times = measure.interleave(fast, budget, (3, 20) if quick else (5, 60))
    ratios = {name: [round(r, 4) for r in measure.ratio(times["compiled"], times[name])] for name in fast if name != "compiled"}
    if not quick and "readable" in task.work:
        times["readable"] = measure.once(task.work["readable"])
    seconds = times["compiled"].median
    return {"group": task.group, "name": task.name, "direction": task.direction,
            "ms": {name: round(1000 * times[name].median, 4) for name in ORDER if name in times}, "ratio": ratios,
            "gflops": round(task.flops / seconds / 1e9, 1) if task.flops else None,
            "gbs": round(task.bytes / seconds / 1e9, 2) if task.bytes else None}


def key(line):
    """What makes two rows the same line of the bench."""
    return line["group"], line["name"], line["direction"]


def merge(old, new):
    """Two results as one: new rows take the place of old ones with the same key, in the old order."""
    merged = {**old, **new}
    for section in ("operations", "steps", "overhead", "scaling", "first_run", "to_ap"):
        if section in old and section in new:
            rows = {key(line): line for line in old[section]} | {key(line): line for line in new[section]}
            merged[section] = list(rows.values())
    return merged


def load(path):
    """What is in the file, {} if there is none."""
    path = Path(path)
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); name another file for --json") from None
    if not isinstance(found, dict) or "machine" not in found:
        raise ValueError(f"{path}: not what `numpyvision bench --json` writes; name another file")
    return found


def save(results, path):
    """Write the results as JSON."""
    Path(path).write_text(json.dumps(results, indent=1) + "\n")


# ---------------------------------------------------------------------------------------------------------------- text
def head(machine):
    """The machine in two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (f"{machine['processor']}, {machine['threads']} of {machine['cores']} threads; "
            f"sgemm {machine['sgemm_gflops']:.0f} GFLOP/s, copy {machine['copy_gbs']:.0f} GB/s\n{versions}")


def table(rows, unit="ms"):
    """Rows as text, one a line; a ratio below 1 is ours faster."""
    libraries = [name for name in ORDER if any(name in r["ms"] for r in rows)]
    others = [name for name in libraries if name not in ("compiled", "readable")]
    widths = [max([12] + [len(r["group"]) for r in rows]), max([4] + [len(r["name"]) for r in rows]), 13]
    short = {"onnxruntime": "onnx"}
    lines = ["  ".join([*(f"{t:<{w}}" for t, w in zip(("operation", "size", ""), widths, strict=True)),
                        *(f"{short.get(name, name) + ' ' + unit:>11}" for name in libraries),
                        *(f"{'/ ' + short.get(name, name):>8} {'(quartiles)':<13}" for name in others), f"{'GFLOP/s':>8} {'GB/s':>7}"])]
    for r in rows:
        lines.append("  ".join([
            *(f"{r[k]:<{w}}" for k, w in zip(("group", "name", "direction"), widths, strict=True)),
            *(f"{_number(r['ms'].get(name)):>11}" for name in libraries),
            *(_ratio(r["ratio"].get(name)) for name in others), f"{_number(r.get('gflops')):>8} {_number(r.get('gbs')):>7}"]))
    return "\n".join(line.rstrip() for line in lines)


def _number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _ratio(ratio):
    return f"{'-':>8} {'':<13}" if ratio is None else f"{ratio[0]:8.2f} {f'({ratio[1]:.2f}-{ratio[2]:.2f})':<13}"


def geometric_mean(values):
    """exp of the mean logarithm; nan for no values."""
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def summary(results, against="torch"):
    """The lines at the end: geometric means and the slowest, beside this machine's limits."""
    rows = [r for r in results.get("operations", ()) if against in r["ratio"]]
    lines = []
    if rows:
        ratios = {key(r): r["ratio"][against][0] for r in rows}
        lines.append(f"{len(rows)} lines beside {against}: geometric mean {geometric_mean(ratios.values()):.2f}")
        for text, chosen in (("3x3 convolutions, 16 to 256 channels, forward", _three(rows, "forward")),
                             ("the same, backward", _three(rows, "backward")),
                             ("RoI Align", [r for r in rows if r["group"].startswith("RoI Align")])):
            if chosen:
                lines.append(f"  {text}: {geometric_mean(ratios[key(r)] for r in chosen):.2f}, worst "
                             f"{max(ratios[key(r)] for r in chosen):.2f}")
        slow = sorted((r for r in rows if ratios[key(r)] > 1.1), key=lambda r: -ratios[key(r)])
        lines.append("  above 1.1: " + ("none" if not slow else ""))
        lines += [f"    {ratios[key(r)]:.2f}  {' '.join(key(r))}" for r in slow]
    for r in results.get("steps", ()):
        if against in r["ratio"]:
            lines.append(f"{r['group']} {r['direction']}, {r['name']}: {r['ratio'][against][0]:.2f} of {against}")
    return "\n".join(lines)


def _three(rows, direction):
    def channels(r):
        return int(r["name"].split("x")[1])
    return [r for r in rows if r["group"] == "conv 3x3" and r["direction"] == direction and 16 <= channels(r) <= 256]
