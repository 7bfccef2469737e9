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


def test_a_setting_that_only_one_kind_of_model_has_is_no_difference(tmp_path):
    runs = [write_run(tmp_path / "a", "nearest", 0.5), write_run(tmp_path / "b", "nearest", 0.5)]
    config = json.loads((runs[1] / "config.json").read_text())
    (runs[1] / "config.json").write_text(json.dumps({**config, "model": {**config["model"], "skips": "8s"}}))
    assert set(compare.compare_runs(runs)[0]) == {"run", "seconds", "parameters", "mean_iou"}


def test_the_lectures_table_of_methods(tmp_path, monkeypatch, capsys):
    """L16-T03: the same data and backbone; the CNN on every crop costs many times the CNN on the image."""
    monkeypatch.chdir(tmp_path)
    names = ["slow_rcnn", "fast_rcnn", "faster_rcnn"]
    for name in names:
        assert cli.run(["train", name, "--data", "scenes:4", "--steps", "2", "--batch-size", "2"]) == 0
    capsys.readouterr()
    assert cli.run(["compare", *names, "--measure", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    slow, fast, faster = (dict(zip(lines[0], line, strict=True)) for line in lines[1:])
    assert [slow["run"], fast["run"], faster["run"]] == names == [slow["name"], fast["name"], faster["name"]]
    assert {"seconds", "AP", "AP50", "network_ms"} <= set(slow) and faster["proposals_ms"] == "-" and float(fast["proposals_ms"]) > 0
    assert float(slow["multiply_adds_M"]) > 5 * float(fast["multiply_adds_M"]) and slow["parameters"] == fast["parameters"]
