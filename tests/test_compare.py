"""Runs side by side: only what differs, what each cost, and a run that has no numbers."""
import json

import pytest

from numpyvision import cli, compare


def write_run(folder, upsampler, mean_iou, steps=2, extra=None):
    folder.mkdir()
    config = {"name": "fcn", "data": "scenes", "seed": 0, "model": {"upsampler": upsampler, "widths": [4, 5]}, "recipe": {"steps": steps}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "log.jsonl").write_text("".join(json.dumps({"step": s, "seconds": 0.25}) + "\n" for s in range(steps)))
    numbers = {"data": "scenes", "images": 3, "parameters": 9, "mean_iou": mean_iou, "per_class": {}, **(extra or {})}
    (folder / "metrics.json").write_text(json.dumps(numbers))
    return folder


def test_only_what_differs_is_shown(tmp_path, capsys):
    runs = [write_run(tmp_path / "a", "nearest", 0.5), write_run(tmp_path / "b", "transposed", 0.625, extra={"AP": None, "AP50": 0.1})]
    rows = compare.compare_runs(runs)
    assert rows[0] == {"run": "a", "model.upsampler": "nearest", "seconds": 0.5, "parameters": 9, "mean_iou": 0.5, "AP50": None}
    assert rows[1]["model.upsampler"] == "transposed" and rows[1]["AP50"] == 0.1
    assert cli.run(["compare", *map(str, runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "model.upsampler", "seconds", "parameters", "mean_iou", "AP50"]
    assert lines[1].split() == ["a", "nearest", "0.500", "9", "0.500", "-"] and len({len(line) for line in lines}) == 1


def test_a_run_without_numbers_is_named(tmp_path):
    folder = write_run(tmp_path / "a", "nearest", 0.5)
    (folder / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="no metrics.json"):
        compare.compare_runs([folder])
