"""Runs side by side: what differs between them, what they cost, how good they are. `numpyvision compare runs/a runs/b`."""
import json
from pathlib import Path

from numpyvision import runs
from numpyvision.training import loop

DIFFERENCES = ("name", "data", "seed", "model", "recipe")


def compare_runs(folders):
    """Folders of finished runs -> rows, a list of dicts with one set of keys: run, the settings that differ, parameters, seconds, metrics.

    seconds: of all training steps, without the wait for data. Metrics: the numbers at the top of metrics.json. What a run lacks is None.
    """
    settings, rows = [], []
    for folder in map(Path, folders):
        config = runs.read_config(folder)
        if not (folder / "metrics.json").exists():
            raise FileNotFoundError(f"{folder}: no metrics.json, so this run was not finished and scored")
        numbers = json.loads((folder / "metrics.json").read_text())
        settings.append(_flat({key: config[key] for key in DIFFERENCES}))
        rows.append({"run": folder.name, "seconds": round(sum(row["seconds"] for row in loop.read_log(folder / loop.LOG)), 1),
                     **{key: value for key, value in numbers.items() if isinstance(value, (int, float)) and key != "images"}})
    names = dict.fromkeys(name for flat in settings for name in flat)
    differing = [name for name in names if len({json.dumps(flat.get(name)) for flat in settings}) > 1]
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{"run": row["run"], **{name: flat.get(name) for name in differing}, **{key: row.get(key) for key in columns}}
            for row, flat in zip(rows, settings, strict=True)]


def table(rows):
    """The rows as text: one line a run, columns as wide as they need."""
    cells = [list(rows[0])] + [[_text(value) for value in row.values()] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(line, widths, strict=True)))
                     for line in cells)


def _flat(tree, prefix=""):
    """{"model": {"skips": "8s"}} -> {"model.skips": "8s"}; lists stay whole."""
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _text(value):
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) and value < 10 else f"{value:.1f}" if isinstance(value, float) else str(value)
