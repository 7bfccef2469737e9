"""The bench: that its table is whole, that it measures fairly, and that its reports say what was measured. Nothing here is timed."""
import json
import math

import numpy as np
import pytest

from numpyvision import cli, contract
from numpyvision.bench import command, first_run, measure, operations, overhead, picture, report, scaling, steps


def row(group="relu", name="1x1", direction="forward", ratio=0.5, **more):
    return {"group": group, "name": name, "direction": direction, "ms": {"compiled": 1.0, "torch": 2.0},
            "ratio": {"torch": [ratio, ratio, ratio]}, "gflops": None, "gbs": 3.0} | more


MACHINE = {"processor": "a processor", "cores": 2, "threads": 2, "versions": {"numpy": "2"}, "sgemm_gflops": 200.0, "copy_gbs": 20.0}


# ---- the table
def test_every_operation_is_in_the_table():
    assert {c.op for c in operations.CASES} == set(contract.operations()) - set(operations.COMPOSED)


def test_no_two_lines_have_one_name():
    lines = [(c.group, c.name) for c in operations.CASES]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("op", sorted({c.op for c in operations.CASES}))
def test_a_line_of_every_operation_runs_both_ways(op):
    """The smallest of its lines: both directions, compiled and readable, without an error."""
    line = min((c for c in operations.CASES if c.op == op), key=lambda c: sum(a.size for a in c.draw().values()))
    for task in operations.pair(line, *contract.operations()[op], {}):
        assert set(task.work) >= {"compiled"} and task.bytes > 0
        assert (task.flops > 0) == (op in ("conv2d", "conv_transpose2d", "linear")) or op.endswith("1d")
        task.work["compiled"]()


def test_arithmetic_is_that_of_the_definition():
    line = operations.conv(1, 2, 4, 4, 3, 3)
    forward, backward = operations.pair(line, *contract.operations()["conv2d"], {})
    assert forward.flops == 2 * 3 * 16 * 2 * 9 and backward.flops == 2 * forward.flops
    assert forward.bytes == 4 * (2 * 16 + 3 * 2 * 9 + 3 * 16)
    assert backward.bytes == 4 * (3 * 16 + 2 * (2 * 16 + 3 * 2 * 9))


def test_names_choose_lines_and_a_wrong_one_is_told():
    groups = {t.group for t in operations.tasks(["IoU"], quick=True)}
    assert groups == {"IoU"}
    with pytest.raises(ValueError, match="nothing in the bench is called 'rellu'"):
        command.check_names(["rellu"], ())
    command.check_names(["relu", "faster_rcnn"], ["ops", "steps"])
    with pytest.raises(ValueError, match="sections are ops, steps"):
        command.check_names((), ["opps"])


def test_overhead_is_measured_on_next_to_nothing():
    tasks = list(overhead.tasks(["relu", "layer"]))
    assert {t.group for t in tasks} == {"relu", "Conv2d layer", "BasicBlock layer"} and all(t.bytes < 1e5 for t in tasks)
    for task in tasks:
        task.work["compiled"]()


def test_growth_counts_what_grows():
    line = list(scaling.region_tasks(quick=True))[-1]
    assert (line.group, line.direction) == ("RoIs", "RoIs 64")


# ---- measuring
def test_functions_run_in_turns_and_all_equally_often():
    calls = []
    times = measure.interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, budget=0.0, rounds=(3, 3))
    assert [len(t.seconds) for t in times.values()] == [3, 3]
    runs = "".join(calls).replace("aa", "a")
    while "aa" in runs or "bb" in runs:
        runs = runs.replace("aa", "a").replace("bb", "b")
    assert runs == "ab" * 4                                              # the warm-up, then three rounds


def test_a_ratio_is_taken_within_rounds():
    ours, theirs = measure.Times((1.0, 2.0, 4.0, 8.0)), measure.Times((2.0, 4.0, 8.0, 16.0))
    assert measure.ratio(ours, theirs) == (0.5, 0.5, 0.5)                # the machine became slower; the ratio did not
    assert measure.Times((3.0, 1.0, 2.0)).median == 2.0


def test_one_row_of_the_bench():
    task = next(operations.tasks(["global avg"], quick=True, others={"torch": lambda line, arrays, dout: {"forward": lambda: None}}))
    found = report.row(task, budget=0.01)
    assert set(found["ms"]) == {"compiled", "readable", "torch"} and len(found["ratio"]["torch"]) == 3 and found["gbs"] > 0
    json.dumps(found)


# ---- reports
def test_parts_of_a_bench_are_put_together():
    old = {"machine": {}, "operations": [row("relu"), row("add", ratio=2.0)]}
    merged = report.merge(old, {"machine": MACHINE, "operations": [row("add", ratio=0.25), row("NMS")], "steps": [row("fcn")]})
    assert [(r["group"], r["ratio"]["torch"][0]) for r in merged["operations"]] == [("relu", 0.5), ("add", 0.25), ("NMS", 0.5)]
    assert merged["machine"] == MACHINE and len(merged["steps"]) == 1


def test_the_summary_names_what_is_slower():
    results = {"machine": MACHINE, "steps": [row("fcn", direction="training step", ratio=0.4)], "operations": [
        row("relu", ratio=0.25), row("add", ratio=4.0), row("conv 3x3", "4x64x8x8 -> 64", ratio=0.5),
        row("NMS") | {"ratio": {}}]}
    text = report.summary(results)
    assert f"geometric mean {0.5 ** (1 / 3):.2f}" in text and "4.00  add 1x1 forward" in text and "3 lines" in text
    assert "fcn training step, 1x1: 0.40 of torch" in text and "16 to 256 channels, forward: 0.50" in text
    assert math.isnan(report.geometric_mean([]))


def test_a_table_has_a_line_for_every_row():
    lines = report.table([row(), row("a much longer name", ratio=0.123)]).splitlines()
    assert len(lines) == 3 and "0.12 (0.12-0.12)" in lines[2] and lines[1].startswith("relu ")
    assert "a processor, 2 of 2 threads" in report.head(MACHINE)


def test_a_file_that_is_something_else_is_refused(tmp_path):
    file = tmp_path / "bench.json"
    assert report.load(file) == {}
    file.write_text("[1]")
    with pytest.raises(ValueError, match="not what `numpyvision bench --json` writes"):
        report.load(file)
    file.write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        report.load(file)


def test_pictures(tmp_path):
    results = {"machine": MACHINE, "operations": [row("relu", ratio=0.25), row("add", ratio=4.0), row("add", "2x2", ratio=3.0)],
               "steps": [row("fcn", direction="training step", ratio=0.4)],
               "scaling": [row("batch", "Mask R-CNN", f"batch {n}") for n in (1, 2)]}
    ax = picture.ratio_bars(results)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["relu, forward", "fcn, training step", "add, forward"]
    assert len(picture.growth(results).axes) == 1
    assert all(picture.family(c.group) != "step" for c in operations.CASES) and picture.family("fcn") == "step"


# ---- the command
def test_the_command_adds_to_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command.machine, "describe", lambda: MACHINE)
    monkeypatch.setattr(command.peers, "installed", dict)
    file = tmp_path / "bench.json"
    for name in ("global avg", "IoU"):
        assert cli.run(["bench", name, "--ops", "--quick", "--json", str(file), "--out", str(tmp_path / "bench.png")]) == 0
    assert {r["group"] for r in json.loads(file.read_text())["operations"]} == {"global avg pool", "IoU"}
    assert "IoU" in capsys.readouterr().out and not (tmp_path / "bench.png").exists()          # without torch there is nothing to divide by
    assert cli.run(["bench", "rellu"]) == 2


def test_a_training_step_of_the_bench_leaves_the_weights():
    model, recipe, batch = steps.prepare("faster_rcnn", 1, 64, 0)
    before = {name: p.copy() for name, p in model.named_params()}
    step = steps.training(model, recipe, batch)
    first, again = step()[0], step()[0]
    assert first == again and all(np.array_equal(p, before[name]) for name, p in model.named_params())


def test_the_first_step_is_read_off_the_bar():
    bar = b"\r  0%|   | 0/2400 [00:00<?, ?step/s, first step]\r  0%|   | 1/2400 [00:02<1:20:00,  2.00s/step, box_reg=0.1]"
    assert first_run.FIRST_STEP.search(bar) and not first_run.FIRST_STEP.search(bar.split(b"\r")[1])
    assert "12.00 s" in first_run.text([first_run._row("a process", 12.0, "s")])


@pytest.mark.skipif(not first_run.Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_the_peak_of_memory_is_measured_from_a_start():
    before = first_run.reset_peak()
    block = np.ones(10_000_000)                                          # 80 MB, gone before we ask
    del block
    assert 70 < first_run.peak() - before < 120
