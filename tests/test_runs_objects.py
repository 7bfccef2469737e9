"""`numpyvision train joint_rcnn` from outside: masks and poses are trained, scored, drawn, and brought back to a photograph's own size."""
import json

import numpy as np
import pytest

from numpyvision import cli, recipes, runs
from numpyvision.boxes import mask_crops
from numpyvision.data import transforms
from numpyvision.data.sample import Sample


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "joint"
    assert cli.run(["train", "joint_rcnn", "--data", "scenes:4", "--steps", "2", "--batch-size", "2", "--out", str(folder)]) == 0
    return folder


def test_a_run_scores_boxes_masks_and_poses_and_draws_them(run, capsys):
    numbers = json.loads((run / "metrics.json").read_text())
    assert {"AP", "AP50", "VOC_mAP", "per_class"} <= set(numbers) and {"AP", "per_class"} <= set(numbers["masks"])
    assert "AR50" in numbers["keypoints"] and (run / "predictions.png").stat().st_size > 1000
    losses = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert losses["loss_mask"] > 0 and "loss_keypoint" in losses
    assert cli.run(["eval", str(run), "--count", "1"]) == 0
    headings = [line for line in capsys.readouterr().out.splitlines() if line in ("boxes", "masks", "keypoints")]
    assert headings == ["boxes", "masks", "keypoints"]


def test_predictions_come_back_at_the_photographs_own_size(run):
    model, _ = runs.load(run)
    sample = runs.open_data("scenes:4")[1]
    big = transforms.ResizeShortSide(200)(sample, np.random.default_rng(0))
    predict = model.predict
    model.predict = lambda images, sizes: predict(images, sizes, score_threshold=0)
    found = runs.predict(model, [big], short_side=100)[0]
    assert len(found) and found.masks.shape == (len(found), 200, 200) and found.keypoints.shape == (len(found), 17, 3)
    np.testing.assert_array_equal(found.masks, mask_crops.paste_masks(found.more["mask_probs"], found.boxes, (200, 200)))
    y, x = np.nonzero(found.masks.any(axis=0))
    assert max(*y, *x) > 120, "masks reach beyond the 100 pixels that the model saw"


@pytest.mark.parametrize("name, truth", [("mask_rcnn", ["masks"]), ("keypoint_rcnn", ["keypoints"]),
                                         ("joint_rcnn", ["masks", "keypoints"])])
def test_recipes_keep_the_truth_that_their_heads_read(name, truth):
    for spec in ("scenes", "coco:photos"):
        recipe = recipes.RECIPES[name](("background", "person", "cat"), spec)
        assert recipe.extra["truth"] == truth and recipe.model["masks"] == ("masks" in truth)
        assert recipe.model.get("keypoints", False) == ("keypoints" in truth)


def test_small_objects_get_small_anchors_and_a_larger_picture(tmp_path):
    """The median side against the image's short side: 12 of 240 pixels is a nucleus, 60 a blood cell."""
    def photos(side):
        box = np.array([[3, 5, 3 + side, 5 + side], [50, 50, 50 + side, 50 + 4 * side]], float)
        sample = Sample(image=np.zeros((3, 240, 300), np.float32), boxes=box, labels=np.array([1, 1]))
        empty = Sample(image=sample.image, boxes=box[:0], labels=sample.labels[:0])
        return type("Photos", (list,), {"classes": ("background", "cell"), "name": "photos"})([sample, empty, sample])
    assert runs.object_size(photos(12)) == pytest.approx(1.5 * 12 / 240)       # of sides 12 and 24, three of each
    assert runs.object_size(photos(12)[1:2]) is None
    told = type("Told", (), {"__len__": lambda self: 1, "boxes_and_size": lambda self, i: (np.array([[0, 0, 10, 10]]), (100, 120))})()
    assert runs.object_size(told) == pytest.approx(0.1), "no image is read where the annotations tell"
    small, large = (runs.make_config("mask_rcnn", f"coco:{tmp_path}", photos(side)) for side in (12, 60))
    assert small["recipe"]["short_side"] > large["recipe"]["short_side"] == 240
    assert np.max(small["model"]["anchor_sizes"]) < np.max(large["model"]["anchor_sizes"])
    assert runs.make_config("mask_rcnn", "scenes", photos(12))["recipe"]["short_side"] is None
