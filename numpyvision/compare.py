"""Runs side by side: what differs between them, what they cost, how good they are. `numpyvision compare runs/a runs/b`.

`numpyvision compare slow_rcnn fast_rcnn faster_rcnn --measure 20` is the lecture's overview (L16-T03): one data set, one backbone.
"""
import json
import time
from pathlib import Path

from numpyvision import places, runs
from numpyvision.data import batches
from numpyvision.metrics import cost
from numpyvision.training import loop

DIFFERENCES = ("name", "data", "seed", "model", "recipe")


def compare_runs(folders, measure=0):
    """Folders of finished runs -> rows, a list of dicts with one set of keys: run, the settings that differ, parameters, seconds, metrics.

    A folder may be a model's name: its latest run. A setting differs if two runs that have it have it differently.
    seconds: of all training steps, without the wait for data. Metrics: the numbers at the top of metrics.json. What a run lacks is None.
    measure: run each model on so many held-out images for the numbers of `cost_of_an_image` too.
    """
    settings, rows = [], []
    for folder in map(Path, folders):
        if not folder.is_dir() and (Path("runs") / folder).is_dir():
            folder = places.latest(str(folder))
        config = runs.read_config(folder)
        if not (folder / "metrics.json").exists():
            raise FileNotFoundError(f"{folder}: no metrics.json, so this run was not finished and scored")
        numbers = json.loads((folder / "metrics.json").read_text())
        settings.append(_flat({key: config[key] for key in DIFFERENCES}))
        rows.append({"run": folder.name, "seconds": round(sum(row["seconds"] for row in loop.read_log(folder / loop.LOG)), 1),
                     **{key: value for key, value in numbers.items() if isinstance(value, (int, float)) and key != "images"},
                     **(cost_of_an_image(folder, measure) if measure else {})})
    names = dict.fromkeys(name for flat in settings for name in flat)
    differing = [name for name in names if len({json.dumps(flat[name]) for flat in settings if name in flat}) > 1]
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{"run": row["run"], **{name: flat.get(name) for name in differing}, **{key: row.get(key) for key in columns}}
            for row, flat in zip(rows, settings, strict=True)]


def cost_of_an_image(run, count):
    """What one held-out image costs a run's model, alone in its batch, the mean of `count` images.

    -> multiply_adds (M) of convolutions and linear layers, network_ms, and, for a model whose proposals come from elsewhere, proposals_ms.
    """
    model, config = runs.load(run)
    dataset, prepare = runs.open_data(config["data"], "val", count + 1), runs.Prepare(config["recipe"]["short_side"])
    alone = [batches.collate([prepare(dataset[i])]) for i in range(len(dataset))]
    model.predict(alone[0].images, alone[0].sizes)                      # the compiled loops are loaded before the clock starts
    seconds, counts = {"proposals": [], "network": []}, []
    for batch in alone[-count:]:
        start = time.perf_counter()
        if hasattr(model, "propose"):
            model.propose(batch.images, batch.sizes)                    # remembered: predict finds it done
            seconds["proposals"].append(time.perf_counter() - start)
        start = time.perf_counter()
        with cost.counting() as layers:
            model.predict(batch.images, batch.sizes)
        seconds["network"].append(time.perf_counter() - start)
        counts.append(sum(layers))
    mean = {f"{name}_ms": round(1000 * sum(values) / len(values), 1) for name, values in seconds.items() if values}
    return {"multiply_adds_M": round(sum(counts) / len(counts) / 1e6, 1), **mean}


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
