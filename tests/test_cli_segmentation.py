"""Models that label pixels, from the command line: on scenes with their stuff, and on a COCO folder whose masks become a class."""
import json
from pathlib import Path

import numpy as np
import pytest

from numpyvision import cli, runs
from numpyvision.data.sample import Sample
from numpyvision.data.semantic import SemanticMaps


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_coco(folder, count=3):
    """Discs on noise, 40 x 56 pixels, with masks, in two splits."""
    from PIL import Image
    rng, y, x = np.random.default_rng(0), *np.mgrid[:40, :56]
    for split in ("train", "val"):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for i in range(count):
            name, disc = f"{split}{i}.png", (y - 20) ** 2 + (x - rng.integers(15, 40)) ** 2 < 100
            pixels = rng.integers(0, 90, (40, 56, 3)) + 150 * disc[..., None]
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name)
            columns = np.flatnonzero(disc.any(axis=0))
            images.append({"id": i, "file_name": name, "height": 40, "width": 56})
            polygon = [[float(columns[0]), 10.0, float(columns[-1] + 1), 10.0, float(columns[-1] + 1), 30.0, float(columns[0]), 30.0]]
            annotations.append({"id": i, "image_id": i, "category_id": 7, "bbox": [float(columns[0]), 10.0, float(len(columns)), 20.0],
                                "area": 300.0, "iscrowd": 0, "segmentation": polygon})
        truth = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "disc"}]}
        (folder / f"instances_{split}.json").write_text(json.dumps(truth))


@pytest.mark.parametrize("name", ["fcn", "deconvnet", "sliding_window"])
def test_train_eval_predict_on_scenes(name, capsys):
    assert cli.run(["train", name, "--data", "scenes:3", "--steps", "2", "--batch-size", "2", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "11 classes" in out and "frequency-weighted IoU" in out and "thinner than 5 pixels" in out
    assert {"checkpoint.safetensors", "metrics.json", "predictions.png", "curves.png"} <= {p.name for p in Path("run").iterdir()}
    assert cli.run(["eval", "run", "--count", "2", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert {"mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "thin_mean_iou"} <= set(numbers)
    assert numbers["images"] == 2 and numbers["per_class"]["background"]["IoU"] is None    # scenes have none, and nothing was taken for it
    if name == "sliding_window":
        cost = numbers["cost"]["multiply_adds"]
        assert cost["naive"] > 15 * cost["dense"] and isinstance(cost["naive"], int)
    write_coco(Path("discs"), 1)
    assert cli.run(["predict", "run", "discs/images/val0.png"]) == 0
    assert "%" in capsys.readouterr().out and Path("run/predictions/val0.png").exists()


def test_masks_of_a_coco_folder_become_a_class(capsys):
    write_coco(Path("discs"))
    assert cli.run(["train", "fcn", "--data", "coco:discs", "--steps", "2", "--batch-size", "2", "--out", "run"]) == 0
    assert "1 classes" in capsys.readouterr().out
    assert set(json.loads(Path("run/metrics.json").read_text())["per_class"]) == {"background", "disc"}


def test_boxes_alone_are_refused_in_one_line(capsys):
    from numpyvision.data.open import open_dataset
    write_coco(Path("discs"))
    boxes = open_dataset("coco:discs", masks=False)
    with pytest.raises(ValueError, match="neither a semantic map nor masks"):
        SemanticMaps(boxes)[0]


def test_label_maps_come_back_at_the_size_of_the_image():
    """Resized from 48 x 64 to 24 x 32 and padded to 32 x 32: each pixel of the answer is the model's at half its place."""
    class Model:
        task = "semantic"

        def predict(self, images, sizes):
            assert images.shape[2:] == (32, 32) and sizes.tolist() == [[24, 32]]
            return np.arange(32 * 32).reshape(1, 32, 32) % 251
    sample = Sample(np.zeros((3, 48, 64), np.float32), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    found = runs.predict(Model(), [sample], short_side=24)[0]
    y, x = np.mgrid[:48, :64]
    np.testing.assert_array_equal(found, (y // 2 * 32 + x // 2) % 251)
    np.testing.assert_array_equal(runs.predict(Model(), [Sample(np.zeros((3, 24, 32), np.float32), sample.boxes, sample.labels)])[0],
                                  (np.arange(32 * 32).reshape(32, 32) % 251)[:24])


def test_a_view_of_the_first_images_keeps_the_semantic_classes():
    dataset = runs.open_data("scenes:4", "val", 2)
    assert len(SemanticMaps(dataset).classes) == 12 and SemanticMaps(dataset)[1].semantic.max() > 6


def test_set_changes_an_argument_of_the_model(capsys):
    assert cli.run(["train", "fcn", "--data", "scenes:2", "--steps", "1", "--out", "run", "--set", "upsampler=max_unpool",
                    "--set", "convs=[1, 1, 1, 1, 1]", "--set", "balance=0"]) == 0
    model = json.loads(Path("run/config.json").read_text())["model"]
    assert model["upsampler"] == "max_unpool" and model["convs"] == [1] * 5 and model["balance"] == 0
    assert json.loads(Path("run/metrics.json").read_text())["parameters"] > 10_000


@pytest.mark.parametrize("setting, message", [
    ("upsampler", "NAME=VALUE, got 'upsampler'"), ("upsampla=x", "fcn takes no argument 'upsampla'; it takes skips, upsampler"),
    ("upsampler=x", "upsampler must be one of"), ("classes=[]", "no argument 'classes'")])
def test_a_wrong_setting_is_one_line(setting, message, capsys, tmp_path):
    assert cli.run(["train", "fcn", "--data", "scenes:2", "--steps", "1", "--set", setting]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and list(tmp_path.rglob("*")) in ([], [tmp_path / "runs"])
    assert cli.run(["train", "fcn", "--resume", "--out", "run", "--set", "skips=4s"]) == 2
    assert "belongs to a new run" in capsys.readouterr().err
