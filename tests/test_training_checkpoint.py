"""Checkpoints: what goes in comes out, in place; damaged and foreign files are named; the good file is never lost."""
import json
import os

import numpy as np
import pytest
import tiny_training
from safetensors.numpy import save_file

from numpyvision.training import checkpoint, optim


def trained(seed=0, dtype=np.float32):
    model = tiny_training.TinyModel(seed, dtype)
    optimizer = optim.Adam(model.named_params())
    rng = np.random.default_rng(seed)
    for _ in range(3):
        optimizer.step({"head": {"w": rng.standard_normal((4, 12)).astype(dtype), "b": rng.standard_normal(4).astype(dtype)}})
    model.mean += rng.standard_normal(12).astype(dtype)
    return model, optimizer


def everything(model, optimizer):
    state = {n: a.copy() for n, a in optimizer.state_dict().items()}
    return {n: a.copy() for n, a in [*model.named_params(), *model.named_buffers()]} | state


def assert_equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


@pytest.fixture
def good(tmp_path):
    model, optimizer = trained()
    checkpoint.save(tmp_path / "c.safetensors", model, optimizer, step=7, config={"model": "tiny", "widths": [1, 2]})
    return tmp_path / "c.safetensors"


def test_round_trip_in_place(good):
    model, optimizer = trained(seed=1)
    arrays = dict(model.named_params()) | dict(model.named_buffers())
    held = dict(optimizer.params)
    stored = checkpoint.load(good, model, optimizer)
    assert (stored.step, stored.config) == (7, {"model": "tiny", "widths": [1, 2]})
    assert_equal(everything(model, optimizer), everything(*trained()))
    assert all(a is arrays[n] for n, a in [*model.named_params(), *model.named_buffers()])
    assert all(held[n] is p for n, p in model.named_params())
    assert optimizer.steps == 3


def test_a_model_alone_can_be_filled(good):
    model = tiny_training.TinyModel(5, np.float32)
    checkpoint.load(good, model)
    np.testing.assert_array_equal(model.w, trained()[0].w)


def test_equal_contents_give_equal_bytes(good, tmp_path):
    for i in range(4):
        checkpoint.save(tmp_path / f"{i}", *trained(), step=7, config={"widths": [1, 2], "model": "tiny"})
        assert (tmp_path / f"{i}").read_bytes() == good.read_bytes()


def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="no checkpoint there"):
            checkpoint.read(path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, -1, -200])
def test_a_truncated_file_is_named(good, size):
    data = good.read_bytes()
    good.write_bytes(data[:size])
    model, optimizer = trained(seed=1)
    before = everything(model, optimizer)
    with pytest.raises(ValueError, match=r"c\.safetensors: header: not a complete safetensors file"):
        checkpoint.load(good, model, optimizer)
    assert_equal(everything(model, optimizer), before)


def test_a_foreign_file_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n" + bytes(300))
    with pytest.raises(ValueError, match=r"a\.png: header"):
        checkpoint.read(tmp_path / "a.png")
    save_file({"x": np.zeros(3)}, tmp_path / "b", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"b: metadata: no entry 'numpyvision'"):
        checkpoint.read(tmp_path / "b")
    good = {"format_version": 1, "step": 0, "config": {}}
    for field, about in [("numpyvision", "{"), ("format_version", json.dumps({**good, "format_version": 2})), ("format_version", "[]"),
                         ("step", json.dumps({**good, "step": "7"})), ("config", json.dumps({**good, "config": None}))]:
        save_file({"params.x": np.zeros(3)}, tmp_path / "c", metadata={"numpyvision": about})
        with pytest.raises(ValueError, match=rf"c: metadata\.{field}: "):
            checkpoint.read(tmp_path / "c")
    save_file({"weights": np.zeros(3)}, tmp_path / "d", metadata={"numpyvision": json.dumps(good)})
    with pytest.raises(ValueError, match="d: tensor weights: "):
        checkpoint.read(tmp_path / "d")


def test_another_model_is_named_and_nothing_changes(good):
    class Other(tiny_training.TinyModel):
        pass
    changes = [("b", np.zeros(5, np.float32), r"params\.head\.b: expected \(5,\) float32, got \(4,\) float32"),
               ("mean", np.zeros(12), r"buffers\.mean: expected \(12,\) float64, got \(12,\) float32"),
               ("named_params", lambda: [("neck.w", np.zeros(3)), ("head.b", np.zeros(4, np.float32))], r"missing neck\.w; unknown head"),
               ("named_buffers", lambda: [], "unknown mean")]
    for attribute, value, text in changes:
        model = Other(1, np.float32)
        before = model.w.copy()
        setattr(model, attribute, value)
        with pytest.raises(ValueError, match=text):
            checkpoint.load(good, model)
        np.testing.assert_array_equal(model.w, before)
    model = Other(1, np.float32)
    before = model.w.copy()
    with pytest.raises(ValueError, match=r"c\.safetensors: optimizer: names .* missing momentum"):
        checkpoint.load(good, model, optim.SGD(model.named_params(), 0.1))
    np.testing.assert_array_equal(model.w, before)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_good_file_and_no_litter(good, monkeypatch, failing):
    data = good.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(good, *trained(seed=2), step=8)
    assert good.read_bytes() == data and os.listdir(good.parent) == [good.name]


def test_leftovers_of_a_killed_write_do_no_harm(good):
    (good.parent / f".{good.name}.partial").write_bytes(b"half")
    checkpoint.save(good, *trained(seed=2), step=8)
    assert checkpoint.read(good).step == 8 and os.listdir(good.parent) == [good.name]


def test_strided_and_scalar_arrays_are_stored_by_value(tmp_path):
    class Model:
        def named_params(self): return [("w", np.arange(12.0).reshape(3, 4).T[::2])]
        def named_buffers(self): return [("count", np.array(5))]
    checkpoint.save(tmp_path / "c", Model())
    stored = checkpoint.read(tmp_path / "c")
    np.testing.assert_array_equal(stored.params["w"], [[0, 4, 8], [2, 6, 10]])
    assert stored.buffers["count"].shape == () and stored.buffers["count"] == 5
