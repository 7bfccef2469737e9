"""The checker lists every fault at once; `open_dataset` understands one line of text."""
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numpyvision.boxes import masks
from numpyvision.data.checkup import check_dataset
from numpyvision.data.coco import COCO
from numpyvision.data.open import HELD_OUT_SEED, open_dataset
from numpyvision.data.voc import VOC
from numpyvision.plot import datasets as plot

REAL = Path(os.environ.get("NUMPYVISION_DATA", "../shared/data"))


def voc_object(x1, y1, x2, y2, name="cat"):
    return (f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>")


@pytest.fixture
def voc(tmp_path):
    """A VOC folder of five images, each wrong in another way, but for the first."""
    for sub in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / sub).mkdir(parents=True)
    size = "<size><width>20</width><height>10</height></size>"
    for name in "abcde":
        objects = voc_object(1, 1, 10, 5) + (voc_object(3, 3, 3, 8) + voc_object(1, 1, 10, 5) if name == "b" else "")
        (tmp_path / f"Annotations/{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
        Image.new("RGB", (20, 10)).save(tmp_path / f"JPEGImages/{name}.png")
    (tmp_path / "Annotations/c.xml").write_text("<annotation>")
    (tmp_path / "JPEGImages/d.png").unlink()
    (tmp_path / "JPEGImages/e.png").write_bytes((tmp_path / "JPEGImages/a.png").read_bytes()[:45])
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "ImageSets/Main/val.txt").write_text("a\ne\nf\n")
    (tmp_path / "ImageSets/Main/test.txt").write_text("")
    return tmp_path


def test_every_fault_of_a_voc_folder_is_listed_at_once(voc):
    report = check_dataset(voc)
    assert sorted((Path(f.file).name, f.field) for f in report.faults) == [
        ("Main", "train, val"), ("b.png", "objects of class cat"), ("b.xml", "object[1].bndbox"), ("c.xml", "annotation"),
        ("d.jpg", "image"), ("e.png", "image"), ("f.xml", "annotation"), ("test.txt", "split")]
    assert not report.ok and report.splits == {"train": 4, "val": 2}
    assert report.statistics.image_sizes.tolist() == [[10, 20]] * 2 and report.statistics.class_counts.tolist() == [3]
    text = str(report)
    assert "8 faults:" in text and "bad XML" in text and "1 images are in both splits, such as a" in text and "2 have the same box" in text


def test_every_fault_of_a_coco_folder_is_listed_at_once(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    good = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [3, 2, 5, 4], "segmentation": [[3, 2, 8, 2, 8, 6]]}
    content = {"images": [{"id": i, "file_name": name, "height": 10, "width": 20} for i, name in ((7, "a.png"), (8, "b.png"))],
               "annotations": [good, {**good, "id": 2, "bbox": [3, 2, 0, 4]}, {**good, "id": 3, "category_id": 6}],
               "categories": [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}]}
    (tmp_path / "instances_train.json").write_text(json.dumps(content))
    content["annotations"] = [{**good, "segmentation": {"size": [10, 20], "counts": [3]}}]
    (tmp_path / "instances_val.json").write_text(json.dumps(content))
    (tmp_path / "instances_test.json").write_text("{")
    report = check_dataset(f"coco:{tmp_path}")
    assert sorted((Path(f.file).name, f.field) for f in report.faults if Path(f.file) != tmp_path) == [
        ("b.png", "image"), ("instances_test.json", "annotations"),
        ("instances_train.json", "annotations[id=2].bbox"), ("instances_train.json", "annotations[id=3].category_id"),
        ("instances_val.json", "annotations[id=1].segmentation")]
    assert "train, val: 2 images are in both splits, such as a.png" in str(report)
    assert report.statistics.classes == ("cat", "dog") and report.statistics.class_counts.tolist() == [1, 0]
    assert "1 classes without any object" in str(report) and report.statistics.truths["with a mask"] == 1


def test_a_sound_folder_has_no_faults_and_true_statistics(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    mask = np.zeros((10, 20), bool)
    mask[2:6, 3:12] = True
    content = {"images": [{"id": 7, "file_name": "a.png", "height": 10, "width": 20}], "categories": [{"id": 5, "name": "cat"}],
               "annotations": [{"id": 1, "image_id": 7, "category_id": 5, "bbox": [3, 2, 9, 4], "iscrowd": 1,
                                "segmentation": masks.encode_mask(mask)}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    for spec in (tmp_path, tmp_path / "instances.json", f"coco:{tmp_path}"):
        report = check_dataset(spec)
        s = report.statistics
        assert report.ok and str(report).endswith("no faults")
        assert s.box_sizes.tolist() == [6] and np.allclose(s.aspect_ratios, 4 / 9) and s.objects_per_image.tolist() == [1]
        assert s.truths == {"with a mask": 1, "with labelled keypoints": 0, "are crowd regions": 1, "are difficult": 0}


def test_the_picture_of_the_statistics(voc, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    s = check_dataset(voc).statistics
    plot.plot_dataset_statistics(s, tmp_path / "statistics.png")
    assert Image.open(tmp_path / "statistics.png").size[0] > 800
    ax = plot.plot_classes([f"c{k}" for k in range(30)], np.arange(30))
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"c{k}" for k in range(29, 9, -1)] + ["10 others"]
    assert ax.patches[-1].get_width() == sum(range(10)) and ax.patches[0].get_width() == 29
    heights = [patch.get_height() for patch in plot.plot_log_histogram([1, 1, 1, 100], "x").patches]
    assert sum(heights) == 4 and heights[0] == 3 and heights[-1] == 1
    assert sum(patch.get_height() for patch in plot.plot_counts([0, 3, 3, 500]).patches) == 4
    empty = type(s)((), np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0, np.int64), np.zeros((0, 2), np.int64), {})
    plot.plot_dataset_statistics(empty, tmp_path / "empty.png")


def test_a_spec_opens_its_data_set(voc):
    (voc / "Annotations/c.xml").unlink()
    scenes = open_dataset("scenes", seed=3)
    assert len(scenes) == 4000 and scenes.seed == 3 and scenes.size == (128, 128)
    held_out = open_dataset("scenes:7", "val", seed=3, size=(64, 96))
    assert len(held_out) == 7 and held_out.seed == HELD_OUT_SEED and held_out.size == (64, 96)
    assert len(open_dataset("scenes", "val")) == 500
    (voc / "ImageSets/Main/train.txt").write_text("a\nb\n")
    for spec in (f"voc:{voc}", str(voc)):
        assert isinstance(open_dataset(spec), VOC) and len(open_dataset(spec)) == 2


@pytest.mark.parametrize("spec, words", [
    ("imagenet:x", "unknown data set 'imagenet:x'; expected scenes, scenes:COUNT, voc:PATH or coco:PATH"),
    ("cats", "unknown data set 'cats'"),
    ("voc:/no/where", "no such folder: '/no/where'"),
    ("coco:", "no such folder: ''"),
    ("/no/where", "no such folder: '/no/where'"),
    ("scenes:many", "whole number of at least 1"),
    ("scenes:0", "whole number of at least 1"),
])
def test_a_wrong_spec_is_an_error_of_one_line(spec, words):
    for function in (open_dataset, check_dataset):
        with pytest.raises(ValueError) as error:
            function(spec)
        assert words in str(error.value) and "\n" not in str(error.value)


def test_a_folder_that_is_no_data_set_and_the_held_out_seed_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is no data set"):
        open_dataset(tmp_path)
    with pytest.raises(ValueError, match="held-out"):
        open_dataset("scenes", seed=HELD_OUT_SEED)


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is absent (set NUMPYVISION_DATA)")
def test_the_real_data_have_the_faults_we_know_of():
    report = check_dataset(REAL / "bccd")
    assert sorted(Path(f.file).stem for f in report.faults) == ["BloodImage_00338", "BloodImage_00343"]
    assert report.splits == {"train": 205, "trainval": 292, "val": 87} and len(report.statistics.box_sizes) == 3941
    report = check_dataset(REAL / "coco_small")
    assert report.ok and report.statistics.truths == {"with a mask": 333, "with labelled keypoints": 27, "are crowd regions": 5,
                                                      "are difficult": 0}
    assert isinstance(open_dataset(f"coco:{REAL / 'nuclei'}", "val"), COCO)
