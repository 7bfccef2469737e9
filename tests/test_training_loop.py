"""The loop on a linear classifier: it learns, repeats itself bit for bit, logs, stops at the first NaN and names where it began."""
import json
import os
import signal

import numpy as np
import pytest
import tiny_training

from numpyvision.training import checkpoint, loop


def test_it_learns():
    model, stream, settings = tiny_training.make(steps=400, schedule=lambda step: 0.05)
    rows = loop.train(model, stream, **settings)
    assert len(rows) == 400
    assert rows[0]["loss_classifier"] > 1.2 and np.mean([row["loss_classifier"] for row in rows[-20:]]) < 0.6       # ln 4 = 1.386 is chance


def test_rows_and_files(tmp_path):
    folder, seen = tmp_path / "deep" / "run", []
    model, stream, settings = tiny_training.make(steps=10, out=folder, checkpoint_every=4, log_every=3, config={"model": "tiny"})
    rows = loop.train(model, stream, on_step=seen.append, **settings)
    assert [row["step"] for row in rows] == [2, 5, 8, 9] and [row["step"] for row in seen] == list(range(10))
    assert loop.read_log(folder / "log.jsonl") == rows
    assert json.loads((folder / "config.json").read_text()) == {"model": "tiny"}
    stored = checkpoint.read(folder / "checkpoint.safetensors")
    assert (stored.step, stored.config) == (10, {"model": "tiny"})
    np.testing.assert_array_equal(stored.params["head.w"], model.w)
    assert list(rows[0]) == ["step", "loss", "loss_classifier", "loss_size", "lr", "grad_norm", "seconds"]
    assert rows[0]["loss"] == rows[0]["loss_classifier"] + 0.01 * rows[0]["loss_size"]
    assert rows[0]["lr"] == settings["schedule"](2)


def test_nothing_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, stream, settings = tiny_training.make(steps=3)
    loop.train(model, stream, **settings)
    assert os.listdir(tmp_path) == []


def test_same_seed_same_bits_other_seed_other_bits():
    weights = []
    for seed in (0, 0, 1):
        model, stream, settings = tiny_training.make(steps=8)
        loop.train(model, stream, **{**settings, "seed": seed})
        weights.append(model.w)
    assert np.array_equal(weights[0], weights[1]) and not np.array_equal(weights[0], weights[2])


def test_a_loss_weight_of_zero_switches_the_loss_off():
    model, stream, settings = tiny_training.make(steps=1)
    before = model.w.copy()
    weights = {"loss_classifier": 0.0, "loss_size": 0.0}
    rows = loop.train(model, stream, **{**settings, "loss_weights": weights, "schedule": lambda step: 1.0})
    assert rows[0]["loss"] == 0.0 and rows[0]["grad_norm"] == 0.0 and rows[0]["loss_classifier"] > 0
    np.testing.assert_allclose(model.w, before, atol=2.0)


def test_unknown_loss_weight_is_named():
    model, stream, settings = tiny_training.make(steps=1)
    with pytest.raises(ValueError, match=r"\['loss_mask'\].*loss_classifier"):
        loop.train(model, stream, **{**settings, "loss_weights": {"loss_mask": 1.0}})


def test_gradients_are_clipped_and_the_row_tells_the_norm_before():
    moved = []
    for clip in (None, 1e-3):
        model, stream, settings = tiny_training.make(steps=1)
        settings["optimizer"] = loop.optim.SGD(model.named_params(), 1.0, momentum=0.0)
        before = model.w.copy()
        rows = loop.train(model, stream, **{**settings, "schedule": lambda step: 1.0, "clip": clip})
        assert rows[0]["grad_norm"] > 0.1
        moved.append(np.abs(model.w - before).max())
    assert moved[1] <= 1e-3 < moved[0]


def test_a_prefetcher_is_asked_for_the_steps_and_closed(tmp_path):
    asked = []

    def batches(start, stop):
        try:
            for s in range(start, stop):
                yield stream.batch(s)
        finally:
            asked.append((start, stop))
    model, stream, settings = tiny_training.make(steps=6, out=tmp_path, checkpoint_every=2)
    loop.train(model, stream, batches=batches, **settings)
    other, _, same = tiny_training.make(steps=6)
    loop.train(other, stream, **same)
    assert asked == [(0, 6)] and np.array_equal(model.w, other.w)
    with pytest.raises(ValueError, match="ended after step 2, expected 6"):
        loop.train(model, None, **{**settings, "out": None}, batches=lambda start, stop: [stream.batch(0), stream.batch(1)])


def test_a_folder_with_a_checkpoint_is_refused_and_untouched(tmp_path):
    model, stream, settings = tiny_training.make(steps=4, out=tmp_path)
    loop.train(model, stream, **settings)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="holds the checkpoint of a run already"):
        loop.train(model, stream, **settings)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


class Stopped(Exception):
    pass


def stop_at(step):
    def on_step(row):
        if row["step"] == step:
            raise Stopped
    return on_step


@pytest.mark.parametrize("stopped_at", [1, 7, 8, 12])
def test_resume_equals_an_uninterrupted_run(tmp_path, stopped_at):
    whole, stream, settings = tiny_training.make(steps=20, out=tmp_path / "whole", checkpoint_every=4)
    rows = loop.train(whole, stream, **settings)
    first, _, settings = tiny_training.make(steps=20, out=tmp_path / "cut", checkpoint_every=4)
    with pytest.raises(Stopped):
        loop.train(first, stream, on_step=stop_at(stopped_at), **settings)
    with open(tmp_path / "cut" / "log.jsonl", "a") as file:
        file.write('{"step": 13, "lo')                                     # killed in the middle of a line
    second, _, settings = tiny_training.make(seed=0, steps=20, out=tmp_path / "cut", checkpoint_every=4)
    again = loop.train(second, stream, resume=True, **settings)
    assert (tmp_path / "cut/checkpoint.safetensors").read_bytes() == (tmp_path / "whole/checkpoint.safetensors").read_bytes()
    timeless = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    assert timeless(again) == timeless(rows) == timeless(loop.read_log(tmp_path / "cut" / "log.jsonl"))


def test_resume_of_a_finished_run_does_nothing_and_of_a_longer_one_is_refused(tmp_path):
    model, stream, settings = tiny_training.make(steps=4, out=tmp_path)
    rows = loop.train(model, stream, **settings)
    before = model.w.copy()
    assert loop.train(model, stream, resume=True, **settings) == rows and np.array_equal(model.w, before)
    with pytest.raises(ValueError, match="at step 4, beyond steps=3"):
        loop.train(model, stream, resume=True, **{**settings, "steps": 3})
    with pytest.raises(ValueError, match="needs `out`"):
        loop.train(model, stream, resume=True, **{**settings, "out": None})


def test_ctrl_c_finishes_the_step_and_saves(tmp_path):
    whole, stream, settings = tiny_training.make(steps=12, out=tmp_path / "whole")
    loop.train(whole, stream, **settings)
    model, _, settings = tiny_training.make(steps=12, out=tmp_path / "cut")
    old_batch = stream.batch

    def press(step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return old_batch(step)
    stream.batch = press
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.train(model, stream, **settings)
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint.read(tmp_path / "cut/checkpoint.safetensors").step == 6
    stream.batch = old_batch
    model, _, settings = tiny_training.make(steps=12, out=tmp_path / "cut")
    loop.train(model, stream, resume=True, **settings)
    np.testing.assert_array_equal(model.w, whole.w)


def spoil_image(model, batch): batch.images[3, 1, 0, 1] = np.nan
def spoil_target(model, batch): batch.targets[2] = {"boxes": np.array([0.0, np.inf])}
def spoil_param(model, batch): model.b[2] = np.inf
def spoil_forward(model, batch): batch.images[...] = 1e200                 # finite, but h @ w overflows in the loss: infinity - infinity
def spoil_buffer(model, batch): model.mean[1] = np.nan


@pytest.mark.parametrize("spoil, name", [
    (spoil_image, r"images \(8, 3, 2, 2\) float64: 1 NaN, 0 infinite of 96, first at \(3, 1, 0, 1\)"),
    (spoil_param, r"parameter head\.b \(4,\)"), (spoil_buffer, r"cache head\.h \(8, 12\)"),
    (spoil_forward, r"cache head\.log_probs|loss loss_")])
def test_a_nan_stops_the_run_and_is_named(tmp_path, spoil, name):
    model, stream, settings = tiny_training.make(steps=9, out=tmp_path, checkpoint_every=2)
    old_batch = stream.batch

    def batch(step):
        result = old_batch(step)
        if step == 5:
            spoil(model, result)
            if spoil is spoil_forward:
                model.w *= 1e200
        return result
    stream.batch = batch
    with pytest.raises(FloatingPointError, match=rf"^step 5: loss_.*first bad tensor: ({name})"):
        loop.train(model, stream, **settings)
    assert checkpoint.read(tmp_path / "checkpoint.safetensors").step == 4                # the last good one
    assert loop.read_log(tmp_path / "log.jsonl")[-1]["step"] == 4


def test_a_nan_in_a_target_is_named():
    model, stream, settings = tiny_training.make(steps=1)
    batch = stream.batch(0)
    spoil_target(model, batch)
    error = loop.finite.explain_losses(model, batch, np.random.default_rng(0), {"loss": np.nan}, 0)
    assert "targets[2].boxes (2,) float64: 0 NaN, 1 infinite" in str(error)


def test_a_nan_gradient_is_named_and_nothing_is_updated():
    model, stream, settings = tiny_training.make(steps=3)
    before, right = model.w.copy(), model.backward

    def backward(dlosses, cache):
        dx, grads = right(dlosses, cache)
        grads["head"]["b"] = grads["head"]["b"] / 0
        return dx, grads
    model.backward = backward
    with pytest.raises(FloatingPointError, match=r"step 0: the losses are finite.*gradient head\.b"):
        loop.train(model, stream, **settings)
    np.testing.assert_array_equal(model.w, before)


def test_a_spoiled_model_is_never_saved(tmp_path):
    model, stream, settings = tiny_training.make(steps=4, out=tmp_path, checkpoint_every=2)
    settings["schedule"] = lambda step: 1e308 if step == 3 else 0.01      # the very last update sends every weight to infinity
    settings["optimizer"] = loop.optim.SGD(model.named_params(), 0.1)
    model.backward = lambda dlosses, cache: (None, {"head": {"w": np.full((4, 12), -9.0), "b": np.zeros(4)}})
    with pytest.raises(FloatingPointError, match=r"step 3: first bad tensor: parameter head\.w"):
        loop.train(model, stream, **{**settings, "clip": None})
    assert checkpoint.read(tmp_path / "checkpoint.safetensors").step == 2


def test_curves_are_drawn_at_the_end(tmp_path):
    from matplotlib.figure import Figure
    model, stream, settings = tiny_training.make(steps=3, out=tmp_path)
    loop.train(model, stream, plot=lambda rows: Figure().add_subplot().plot([row["loss"] for row in rows])[0].axes, **settings)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
