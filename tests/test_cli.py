"""The command line from outside: what it prints, writes and refuses, and with which exit code. Tiny runs of real models."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numpyvision import cli, contract, places, runs
from numpyvision.boxes.detections import Detections
from numpyvision.data.sample import Sample
from numpyvision.training import loop

XML = """<annotation><filename>{name}.png</filename><size><width>64</width><height>48</height></size>
<object><name>{label}</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"""
COMMANDS = [["train"], ["eval"], ["predict"], ["export"], ["compare"], ["gradcheck"], ["data", "check"], ["data", "show"]]


def write_voc(folder, count=4, splits=("train", "val")):
    """A Pascal VOC folder of small noisy pictures, one object each."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(folder / "JPEGImages" / f"p{i}.png")
        (folder / "Annotations" / f"p{i}.xml").write_text(XML.format(name=f"p{i}", label=("nut", "bolt")[i % 2]))
    for split, numbers in zip(splits, np.array_split(np.arange(count), max(1, len(splits))), strict=False):
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(f"p{i}" for i in numbers))
    return folder


def train(*more):
    return cli.run(["train", "classifier", "--batch-size", "2", *map(str, more)])


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a VOC data set and one finished run of a classifier on it."""
    folder = tmp_path_factory.mktemp("cli")
    write_voc(folder / "nuts")
    assert train("--data", f"voc:{folder}/nuts", "--steps", 3, "--out", folder / "done") == 0
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test works in an empty folder, and shows no traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NUMPYVISION_DEBUG", raising=False)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


# ---------------------------------------------------------------------------------------------------------------- help and errors
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_examples(command, capsys):
    assert cli.run([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text and f"numpyvision {' '.join(command)} " in text


def test_help_is_quick_because_nothing_heavy_is_loaded():
    code = ("import sys; from numpyvision import cli; assert cli.run(['--help']) == 0 and cli.run(['train', '--help']) == 0;"
            "print('loaded', {'numba', 'scipy', 'matplotlib', 'PIL', 'tqdm', 'safetensors'} & set(sys.modules))")
    env = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert result.stdout.splitlines()[-1] == "loaded set()", result.stderr


def test_no_command_shows_help_and_version_is_told(capsys):
    assert cli.run([]) == 0 and "train" in capsys.readouterr().out
    assert cli.run(["--version"]) == 0 and "numpyvision 0." in capsys.readouterr().out


@pytest.mark.parametrize("arguments, text", [
    (["frobnicate"], "No such command 'frobnicate'"), (["train"], "Missing argument"), (["train", "classifier", "--stepz", "3"], "--stepz"),
    (["train", "classifier", "--steps", "many"], "--steps"), (["train", "classifier", "--steps", "0"], "--steps"),
    (["train", "resnext"], "no model is called 'resnext'; there are"), (["train", "classifier", "--data", "imagenet"], "unknown data set"),
    (["train", "classifier", "--data", "voc:/no/such"], "/no/such"), (["train", "classifier", "--data", "scenes:x"], "whole number"),
    (["train", "classifier", "--data", "scenes:2", "--lr", "-1"], "lr must be"),
    (["train", "classifier", "--resume"], "no such run to resume"),
    (["train", "classifier", "--resume", "--out", "nowhere"], "nowhere: no such run"), (["eval", "nowhere"], "nowhere: no such run"),
    (["eval", "."], "not the folder of a run"), (["predict", "nowhere", "no.jpg"], "no.jpg"), (["gradcheck", "relo"], "did you mean relu"),
    (["data", "check", "/no/such"], "/no/such"), (["data", "show", "scenes", "--split", "train", "--count", "0"], "--count"),
    (["data", "show", "scenes", "--split", "tset"], "splits train and val, got 'tset'"),
    (["predict", "x", "."], "cannot be read: Is a directory"),
    (["figure", "L16-U03", "--out", "."], "is a folder; name a file"), (["figure", "L16-U03", "--out", "a/b.png"], "there is no folder a;"),
    (["figure", "L16-U03", "--out", "b.doc"], "must end in .png"), (["bench", "relu", "--json", "a/b.json"], "there is no folder a;"),
    (["bench", "relu", "--out", "slide"], "must end in .png"), (["exercise", "list", "--folder", __file__], "is a file; name a folder"),
    (["exercise", "grade", ".", "--answers", "nowhere"], "nowhere: No such file"),
    (["check", "zoo", "--op", "cnv2d"], "no bug has this code and operation; codes: ")],
    ids=lambda a: " ".join(a) if isinstance(a, list) else "")
def test_mistakes_are_one_line_and_code_2(arguments, text, capsys, tmp_path):
    assert cli.run(arguments) == 2
    out, error = capsys.readouterr()
    assert text in error and error.count("\n") == 1 and error.startswith("numpyvision: ")
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "runs"])                        # no folder of a run that never was


def test_images_that_are_not_there_leave_no_folder_of_a_run(tmp_path, capsys):
    for picture in (write_voc(tmp_path / "nuts") / "JPEGImages").iterdir():
        picture.unlink()
    assert cli.run(["train", "faster_rcnn", "--data", f"voc:{tmp_path}/nuts"]) == 2
    error = capsys.readouterr().err
    assert "image: the file does not exist" in error and error.count("\n") == 1 and not Path("runs").exists()


def test_a_long_message_is_one_line_too(capsys, monkeypatch):
    def fail(name):
        raise ValueError("first\n   second")
    monkeypatch.setattr(runs, "check_name", fail)
    assert cli.run(["train", "classifier"]) == 2 and capsys.readouterr().err == "numpyvision: first second\n"


def test_traceback_on_demand(capsys, monkeypatch):
    monkeypatch.setenv("NUMPYVISION_DEBUG", "1")
    assert cli.run(["eval", "nowhere"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_main_exits_with_the_code():
    with pytest.raises(SystemExit) as stopped:
        cli.main(["eval", "nowhere"])
    assert stopped.value.code == 2


# ---------------------------------------------------------------------------------------------------------------- train
def test_a_run_has_its_files(workplace):
    assert set(files(workplace / "done")) == {"checkpoint.safetensors", "config.json", "log.jsonl", "curves.png", "metrics.json"}
    config = json.loads((workplace / "done/config.json").read_text())
    assert config["name"] == "classifier" and config["data"] == f"voc:{workplace}/nuts" and config["recipe"]["steps"] == 3
    assert len(loop.read_log(workplace / "done/log.jsonl")) == 3


def test_options_reach_the_loop(monkeypatch):
    reached = {}
    monkeypatch.setattr(loop, "train", lambda model, stream, **settings: reached.update(settings, stream=stream))
    dataset = runs.open_data("scenes:4")
    config = runs.make_config("classifier", "scenes:4", dataset, seed=5, steps=100, batch_size=3, lr=0.25)
    runs.train(config, "out", dataset, resume=True)
    assert (reached["seed"], reached["steps"], reached["out"], reached["resume"], reached["checkpoint_every"]) == (5, 100, "out", True, 5)
    assert (reached["stream"].seed, reached["stream"].batch_size) == (5, 3)
    assert max(map(reached["schedule"], range(100))) == pytest.approx(0.25) and reached["schedule"](0) < 0.001 > reached["schedule"](99)
    assert len(list(reached["batches"](7, 9))) == 2 and reached["config"] is config


def test_default_folders_are_numbered_and_scenes_are_the_default(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(runs, "open_data", lambda spec, *args, real=runs.open_data: real("scenes:3" if spec == "scenes" else spec, *args))
    assert train("--steps", 1) == 0 and train("--steps", 1) == 0
    assert sorted(os.listdir("runs")) == ["classifier", "classifier-2"]
    assert "runs/classifier-2/" in capsys.readouterr().out
    assert files("runs/classifier")["checkpoint.safetensors"] == files("runs/classifier-2")["checkpoint.safetensors"]
    assert places.latest("classifier") == Path("runs/classifier-2")


def test_nothing_is_overwritten(workplace, tmp_path, capsys):
    before = files(workplace / "done")
    assert train("--out", workplace / "done", "--data", "scenes:2") == 2
    assert "is not empty" in capsys.readouterr().err and files(workplace / "done") == before
    (tmp_path / "file").touch()
    assert train("--out", "file", "--data", "scenes:2") == 2 and "is a file" in capsys.readouterr().err


@pytest.mark.parametrize("more, text", [(["--seed", 1], "--seed 0"), (["--lr", 0.5], "--lr"), (["--data", "scenes"], "--data voc:"),
                                        (["--steps", 2], "cannot be shortened")])
def test_resume_refuses_to_become_another_run(workplace, capsys, more, text):
    before = files(workplace / "done")
    assert train("--out", workplace / "done", "--resume", *more) == 2
    assert text in capsys.readouterr().err and files(workplace / "done") == before


def test_ctrl_c_saves_and_resume_gives_the_same_bits(workplace, monkeypatch, capsys):
    data = ["--data", f"voc:{workplace}/nuts", "--steps", 6, "--seed", 3]
    assert train(*data, "--out", "whole") == 0
    real, pressed = loop.train_step, []

    def step(model, batch, optimizer, lr, seed, *rest):
        if seed[1] == 2 and not pressed:
            pressed.append(os.kill(os.getpid(), signal.SIGINT))
        return real(model, batch, optimizer, lr, seed, *rest)
    monkeypatch.setattr(loop, "train_step", step)
    assert train(*data, "--out", "cut") == 130
    error = capsys.readouterr().err
    assert "go on with: numpyvision train classifier --out cut --resume" in error
    assert len(loop.read_log("cut/log.jsonl")) == 3
    assert train("--out", "cut", "--resume") == 0
    assert files("cut")["checkpoint.safetensors"] == files("whole")["checkpoint.safetensors"]


def test_a_diverging_run_fails_in_one_line(workplace, capsys):
    assert train("--data", f"voc:{workplace}/nuts", "--steps", 30, "--lr", 1e30, "--out", "wild") == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("numpyvision: step ") and "first bad tensor: " in last and "learning rate" in last


def test_a_damaged_checkpoint_is_named(workplace, capsys, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes((workplace / "done/checkpoint.safetensors").read_bytes()[:1000])
    assert cli.run(["eval", str(tmp_path)]) == 2
    assert "checkpoint.safetensors: header: not a complete safetensors file" in capsys.readouterr().err


def test_a_missing_val_split_is_told_before_training(tmp_path, capsys):
    write_voc(tmp_path / "nuts", splits=("train",))
    assert train("--data", "voc:nuts", "--out", "run") == 2
    assert "val.txt" in capsys.readouterr().err and not Path("run").exists()


def test_without_splits_the_numbers_say_so(tmp_path, capsys):
    write_voc(tmp_path / "nuts", splits=())
    assert train("--data", "voc:nuts", "--steps", 1, "--out", "run") == 0
    assert "the numbers below are for the images of training" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------------- eval, predict
def test_eval_prints_a_table_or_json(workplace, capsys):
    assert cli.run(["eval", str(workplace / "done")]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert cli.run(["eval", str(workplace / "done"), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers == json.loads((workplace / "done/metrics.json").read_text()) and numbers["images"] == 2
    assert cli.run(["eval", str(workplace / "done"), "--json", "--count", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1


def test_eval_on_other_classes_is_refused(workplace, capsys):
    assert cli.run(["eval", str(workplace / "done"), "--data", "scenes:2"]) == 2
    assert "the model knows the classes bolt, nut; scenes has person" in capsys.readouterr().err


def test_predict_names_and_draws_and_never_overwrites(workplace, capsys):
    image = str(workplace / "nuts/JPEGImages/p0.png")
    assert cli.run(["predict", str(workplace / "done"), image, image, "--out", "found"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "bolt" in first and first.endswith("found/p0.png") and second.endswith("found/p0-2.png")
    assert sorted(os.listdir("found")) == ["p0-2.png", "p0.png"]


def test_a_detector_from_end_to_end(workplace, capsys):
    """Images are resized for the model; what it says comes back in the photographs' own pixels."""
    assert cli.run(["train", "faster_rcnn", "--data", f"voc:{workplace}/nuts", "--steps", "2", "--batch-size", "2", "--out", "run"]) == 0
    assert "VOC AP" in capsys.readouterr().out and {"predictions.png", "metrics.json"} <= set(files("run"))
    assert cli.run(["eval", "run", "--json"]) == 0
    assert {"AP", "AP50", "VOC_mAP", "per_class"} <= set(json.loads(capsys.readouterr().out))
    assert cli.run(["predict", "run", str(workplace / "nuts/JPEGImages/p1.png"), "--score", "0"]) == 0
    assert Path("run/predictions/p1.png").exists()


def test_predictions_are_in_the_coordinates_of_the_image():
    class Model:
        def predict(self, images, sizes):
            assert sizes.tolist() == [[24, 32]]
            return [Detections(np.array([[0, 0, 32, 24]], np.float32), np.array([1]), np.array([0.9], np.float32))]
    sample = Sample(np.zeros((3, 48, 64), np.float32), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    np.testing.assert_array_equal(runs.predict(Model(), [sample], short_side=24)[0].boxes, [[0, 0, 64, 48]])


# ---------------------------------------------------------------------------------------------------------------- gradcheck, data
def test_gradcheck_is_a_table(capsys):
    assert cli.run(["gradcheck", "relu", "linear"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines[:-1]) and f"{len(lines) - 1} of {len(lines) - 1} cases" in lines[-1]
    assert cli.run(["gradcheck", "--list"]) == 0 and "conv2d" in capsys.readouterr().out.splitlines()


def test_a_wrong_gradient_fails(capsys, monkeypatch):
    from numpyvision.ops import activation
    monkeypatch.setattr(contract, "operations", lambda: {"relu": (activation.relu_forward, lambda dout, cache: 1.01 * dout)})
    assert cli.run(["gradcheck", "relu"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_data_show_and_check(workplace, capsys):
    assert cli.run(["data", "show", "scenes:3"]) == 0 and cli.run(["data", "show", "scenes:3"]) == 0
    assert sorted(os.listdir()) == ["scenes-2.png", "scenes.png"]
    assert cli.run(["data", "check", f"{workplace}/nuts"]) == 0
    assert "no faults" in capsys.readouterr().out and Path("nuts-check.png").exists()
    write_voc(Path("bad"))
    Path("bad/JPEGImages/p1.png").write_bytes(b"not a picture")
    assert cli.run(["data", "check", "bad", "--out", "h.png"]) == 1
    assert "p1.png" in capsys.readouterr().out and Path("h.png").exists()
