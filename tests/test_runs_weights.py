"""A run's weights as one file to give away: what it holds, what comes back, and what is refused."""
import numpy as np
import pytest

from numpyvision import cli, runs
from numpyvision.training import checkpoint, loop


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps, which has an optimiser's state."""
    folder = tmp_path_factory.mktemp("weights") / "run"
    dataset = runs.open_data("scenes:4")
    runs.train(runs.make_config("classifier", "scenes:4", dataset, steps=2, batch_size=2), folder, dataset, progress=False)
    return folder


def test_the_file_holds_the_weights_alone_and_builds_the_model(run, tmp_path, capsys):
    file = tmp_path / "weights.safetensors"
    assert cli.run(["export", str(run), str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: {file.stat().st_size / 1e6:.2f} MB\n"
    assert checkpoint.read(run / loop.CHECKPOINT).optimizer and not checkpoint.read(file).optimizer
    (trained, _), (model, config) = runs.load(run), runs.load_weights(file)
    assert config["name"] == "classifier" and config["data"] == "scenes" and checkpoint.read(file).step == 2
    for (name, mine), (_, theirs) in zip(model.named_params(), trained.named_params(), strict=True):
        assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs), name
    sample = runs.open_data("scenes:4")[3]
    np.testing.assert_array_equal(runs.predict(model, [sample])[0], runs.predict(trained, [sample])[0])


def test_half_the_bytes_round_to_eleven_binary_digits(run, tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    runs.export(run, whole)
    runs.export(run, half, half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    (model, _), (rounded, _) = runs.load_weights(whole), runs.load_weights(half)
    for (name, exact), (_, near) in zip(model.named_params(), rounded.named_params(), strict=True):
        assert near.dtype == np.float32, name
        np.testing.assert_allclose(near, exact, rtol=2.0 ** -11, atol=2.0 ** -25)       # atol: under 6e-5 halves are evenly spaced


def test_nothing_is_overwritten_and_other_files_are_named(run, tmp_path, capsys):
    file = tmp_path / "weights.safetensors"
    file.write_text("mine")
    assert cli.run(["export", str(run), str(file)]) == 2 and file.read_text() == "mine"
    assert "nothing is overwritten" in capsys.readouterr().err
    model, _ = runs.load(run)
    checkpoint.save(tmp_path / "bare.safetensors", model)
    with pytest.raises(ValueError, match="config.name: absent"):
        runs.load_weights(tmp_path / "bare.safetensors")
