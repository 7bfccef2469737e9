"""ahead.py: the rows reach every loop of a first step, and whatever goes wrong on the way there, the training begins."""
import os
import pathlib
import subprocess
import sys

import pytest

import numpyvision
from numpyvision import ahead, cli, recipes, runs
from numpyvision.data import scenes

STEP = """
import sys
from numpyvision import ahead, runs
from numpyvision.data import batches
from numpyvision.training import loop
first, *others = {models}
for name in (first, *others):
    ahead.compile_for(name)                         # in workers: nothing is compiled in this process
def kept():
    return {{path.name: path.stat().st_mtime_ns for path in ahead.record().parent.glob("*.nbc")}}
before = kept()
assert len(before) > {least}, len(before)
for name in (first, *others):
    data = runs.open_data("scenes:2")
    config = runs.make_config(name, "scenes", data)
    model, recipe = runs.build(config), config["recipe"]
    data, prepare = runs.seen_by(model, data), runs.Prepare(None, recipe["extra"].get("truth", ()))
    batch = batches.collate([prepare(data[i]) for i in range(2)])
    loop.train_step(model, batch, runs.make_optimizer(model, recipe), 0.01, [0, 0], {{}}, 1.0)
print(*sorted(name for name, time in kept().items() if before.get(name) != time))
"""
ECHO = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"


def worker(script):
    return subprocess.Popen([sys.executable, "-c", script], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("models, least", [(["mask_rcnn", "deconvnet"], 40), (["fcn"], 18)])
def test_a_first_step_compiles_nothing_that_was_not_compiled_ahead(tmp_path, models, least):
    """The three models that between them need all; joints are drawn and sampled without loops of their own."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2",
           "PYTHONPATH": str(pathlib.Path(numpyvision.__file__).parents[1])}
    script = STEP.format(models=models, least=least)
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], "these loops were compiled by the training; give ahead.ROWS a call that reaches them"


def test_every_model_has_rows():
    assert set(ahead.MORE) == set(recipes.RECIPES)
    assert ahead.EVERY_MODEL.union(*ahead.MORE.values()) == set(ahead.ROWS)


def test_workers_share_the_rows(monkeypatch):
    monkeypatch.setattr(ahead, "start_worker", lambda: worker(ECHO))
    assert sorted(ahead.compiled_by(3, list("abcdefg"))) == list("abcdefg")


@pytest.mark.parametrize("script", ["", "input(); 1 / 0", "print('a warning')"], ids=["dead", "dies", "babbles"])
def test_a_worker_that_dies_leaves_the_rows_to_the_others(monkeypatch, script):
    workers = iter([worker(script), worker(ECHO)])
    monkeypatch.setattr(ahead, "start_worker", lambda: next(workers))
    assert set("bcdef") <= {*ahead.compiled_by(2, list("abcdef")), "b"}


def test_workers_that_hang_are_given_up(monkeypatch):
    workers = [worker("import time; time.sleep(100)"), worker(ECHO)]
    monkeypatch.setattr(ahead, "start_worker", iter(workers).__next__)
    monkeypatch.setattr(ahead, "PATIENCE", 0.5)
    assert len(list(ahead.compiled_by(2, list("abc")))) < 3
    assert all(w.poll() is not None for w in workers)


def test_a_row_is_compiled_once_on_a_machine(monkeypatch, tmp_path):
    asked = []

    def compiled_by(count, rows):
        asked.append((count, rows))
        yield from rows[1:]                                    # the first one: its worker died
    monkeypatch.setattr(ahead, "record", lambda: tmp_path / "done")
    monkeypatch.setattr(ahead, "compiled_by", compiled_by)
    monkeypatch.setattr(ahead.threads, "max_threads", lambda: 2)
    for _ in range(2):
        ahead.compile_for("fcn")
    ahead.compile_for("mask_rcnn")
    assert [count for count, _ in asked] == [2, 2] and len(asked[0][1]) > 6
    assert asked[1][1] == [row for row in ahead.ROWS if row in ahead.MORE["mask_rcnn"] or row == asked[0][1][0]]


@pytest.mark.parametrize("reason", ["one processor", "nowhere to keep it"])
def test_no_process_is_started_where_it_would_be_in_vain(monkeypatch, tmp_path, reason):
    monkeypatch.setattr(ahead, "start_worker", lambda: pytest.fail("started a process"))
    monkeypatch.setattr(ahead.threads, "max_threads", lambda: 1 if reason == "one processor" else 4)
    monkeypatch.setattr(ahead, "record", lambda: tmp_path if reason == "one processor" else None)
    ahead.compile_for("mask_rcnn")


def test_only_a_training_with_a_bar_compiles_ahead(monkeypatch):
    asked = []
    monkeypatch.setattr(ahead, "compile_for", asked.append)
    monkeypatch.setattr(runs.loop, "train", lambda *args, **settings: None)
    dataset = runs.open_data("scenes:4")
    config = runs.make_config("classifier", "scenes:4", dataset, steps=1)
    runs.train(config, None, dataset, progress=False)
    assert asked == []
    runs.train(config, None, dataset)
    assert asked == ["classifier"]


def test_the_command_compiles_nothing_before_the_workers_do(monkeypatch, tmp_path):
    """Two seconds on one processor, while the others had nothing to do: a first picture was drawn, only to see that there is one."""
    class Begun(Exception):
        pass

    def begin(config, out, dataset, **settings):
        raise Begun

    monkeypatch.setattr(scenes.Scenes, "__getitem__", lambda *args: pytest.fail("drew a picture"))
    monkeypatch.setattr(runs, "train", begin)
    with pytest.raises(Begun):
        cli.train("mask_rcnn", out=tmp_path / "run")


def test_a_worker_says_what_it_compiled(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", ["linear\n", "scene\n"])
    monkeypatch.setattr(ahead.gc, "set_threshold", lambda *numbers: None)
    ahead.work()
    assert capsys.readouterr().out == "linear\nscene\n"
