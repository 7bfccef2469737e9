"""The Pascal VOC loader: coordinates by hand, every kind of fault in a small folder of its own, and the real blood cells."""
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numpyvision.data.faults import DataError
from numpyvision.data.voc import VOC, splits

REAL = Path(os.environ.get("NUMPYVISION_DATA", "../shared/data")) / "bccd"
OBJECT = "<object><name>{name}</name>{extra}<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"


def item(*box, name="cat", extra=""):
    return OBJECT.format(*box, name=name, extra=extra)


def annotation(*objects, size="<size><width>20</width><height>10</height><depth>3</depth></size>"):
    return f"<annotation><filename>a.png</filename>{size}{''.join(objects)}</annotation>"


@pytest.fixture
def folder(tmp_path):
    """Writes a VOC folder of one 20x10 image; its annotation is the argument."""
    def write(xml, name="a", split="a\n"):
        for sub in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (tmp_path / sub).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), (255, 128, 0)).save(tmp_path / "JPEGImages" / f"{name}.png")
        (tmp_path / "Annotations" / f"{name}.xml").write_text(xml)
        (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(split)
        return tmp_path
    return write


def test_one_based_inclusive_pixels_become_half_open_coordinates(folder):
    path = folder(annotation(item(1, 1, 20, 10), item(3, 2, 5, 7, name="ant", extra="<difficult>1</difficult>")))
    dataset = VOC(path)
    sample = dataset[0]
    assert dataset.classes == ("background", "ant", "cat") and len(dataset) == 1
    assert sample.boxes.tolist() == [[0, 0, 20, 10], [2, 1, 5, 7]] and sample.boxes.dtype == np.float32
    assert sample.labels.tolist() == [2, 1] and sample.labels.dtype == np.int64
    assert sample.difficult.tolist() == [False, True] and sample.areas.tolist() == [200, 18]
    assert sample.image.shape == (3, 10, 20) and sample.image.dtype == np.float32
    assert np.allclose(sample.image[:, 0, 0], [1, 128 / 255, 0]) and sample.image_id == "a"
    assert dataset.faults == []


def test_boxes_and_size_are_known_without_the_image(folder):
    path = folder(annotation(item(1, 1, 20, 10)))
    dataset = VOC(path)
    (path / "JPEGImages" / "a.png").unlink()
    boxes, size = dataset.boxes_and_size(0)
    assert boxes.tolist() == [[0, 0, 20, 10]] and boxes.dtype == np.float32 and size == (10, 20)


def test_an_image_without_objects_is_a_sample(folder):
    sample = VOC(folder(annotation()), classes=("cat",))[0]
    assert sample.boxes.shape == (0, 4) and sample.labels.shape == (0,) and sample.difficult.shape == (0,)


def test_classes_are_those_of_the_folder_or_the_ones_given(folder):
    folder(annotation(item(1, 1, 5, 5, name="zebra")), name="b", split="a\n")
    path = folder(annotation(item(1, 1, 5, 5)))
    assert VOC(path, "train").classes == ("background", "cat", "zebra")   # b is in no split, but the classes must agree in all
    for given in (("cat", "ant"), ["background", "cat", "ant"]):
        assert VOC(path, classes=given).classes == ("background", "cat", "ant") and VOC(path, classes=given)[0].labels.tolist() == [1]


GOOD = item(2, 2, 9, 9)


@pytest.mark.parametrize("bad, field, words", [
    (item(4, 4, 4, 8), "object[0].bndbox", "zero area"),
    (item(8, 4, 4, 8), "object[0].bndbox", "reversed"),
    (item(4, 5, 8, 4), "object[0].bndbox", "reversed"),
    (item(30, 2, 40, 8), "object[0].bndbox", "outside the 20x10 image"),
    (item("nan", 2, 10, 8), "object[0].bndbox.xmin", "not a number: 'nan'"),
    (item(2, 2, 10, "inf"), "object[0].bndbox.ymax", "not a number: 'inf'"),
    (item("two", 2, 10, 8), "object[0].bndbox.xmin", "not a number: 'two'"),
    ("<object><name>cat</name></object>", "object[0].bndbox.xmin", "absent"),
    (item(2, 2, 10, 8, name=""), "object[0].name", "absent"),
    (item(2, 2, 10, 8, name="unicorn"), "object[0].name", "unknown class 'unicorn'"),
])
def test_a_faulty_box_is_skipped_and_named_or_raised_if_strict(folder, bad, field, words):
    path = folder(annotation(bad, GOOD))
    dataset = VOC(path, classes=("cat",))
    assert dataset[0].boxes.tolist() == [[1, 1, 9, 9]] and dataset[0].labels.tolist() == [1]
    fault, = dataset.faults
    assert fault.file.endswith("a.xml") and fault.field == field and words in fault.message
    with pytest.raises(DataError, match=r"a\.xml: object") as error:
        VOC(path, classes=("cat",), strict=True)
    assert error.value.field == field and words in error.value.message


def test_a_box_that_sticks_out_is_clipped_and_noted(folder):
    path = folder(annotation(item(0, 2, 25, 12)))
    dataset = VOC(path)
    assert dataset[0].boxes.tolist() == [[0, 1, 20, 10]]
    assert "sticks out" in dataset.faults[0].message
    with pytest.raises(DataError, match="sticks out"):
        VOC(path, strict=True)


@pytest.mark.parametrize("text, words", [("", "the file is empty"), ("<annotation><object>", "bad XML")])
def test_an_unreadable_annotation_is_an_error(folder, text, words):
    with pytest.raises(DataError, match=rf"a\.xml: annotation: {words}"):
        VOC(folder(text))


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(DataError, match="Annotations: no such folder"):
        VOC(tmp_path / "nowhere")
    path = folder(annotation(GOOD), split="a\nb\n")
    with pytest.raises(DataError, match=r"b\.xml: annotation: cannot be read"):
        VOC(path)
    with pytest.raises(DataError, match=r"val\.txt: split: no such file; splits here: train"):
        VOC(path, "val")
    (path / "ImageSets/Main/train.txt").write_text("\n")
    with pytest.raises(DataError, match="the file is empty"):
        VOC(path)
    (path / "JPEGImages/a.png").unlink()
    dataset = VOC(path, split=None)                                    # opens: the boxes are fine
    with pytest.raises(DataError, match=r"JPEGImages/a\.png: image: the file does not exist"):
        dataset[0]


def test_a_truncated_jpeg_is_named_when_it_is_read(folder):
    path = folder(annotation(GOOD).replace("a.png", "a.jpg"))
    noise = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path / "JPEGImages/a.jpg")
    data = (path / "JPEGImages/a.jpg").read_bytes()
    (path / "JPEGImages/a.jpg").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DataError, match=r"a\.jpg: image: cannot be read: .*(?i:truncated)"):
        VOC(path)[0]
    (path / "JPEGImages/a.jpg").write_bytes(b"this is no image")
    with pytest.raises(DataError, match=r"a\.jpg: image: cannot be read"):
        VOC(path)[0]


def test_a_size_that_differs_from_the_image_is_an_error(folder):
    size = "<size><width>21</width><height>10</height></size>"
    with pytest.raises(DataError, match=r"a\.xml: size: says 21x10 .* is 20x10"):
        VOC(folder(annotation(GOOD, size=size)))[0]


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>", "<size><width>x</width><height>9</height></size>"])
def test_an_absent_size_is_taken_from_the_image(folder, size):
    dataset = VOC(folder(annotation(item(2, 2, 99, 9), size=size)))
    assert dataset[0].boxes.tolist() == [[1, 1, 20, 9]] and dataset.faults[0].field == "size"


def test_an_image_twice_in_the_split_is_taken_once(folder):
    dataset = VOC(folder(annotation(GOOD), split="a\na  1\n"))
    assert len(dataset) == 1 and "2 times" in dataset.faults[0].message


def test_the_summary_is_one_line_and_comes_once(folder, capsys):
    path = folder(annotation(item(4, 4, 4, 8), item(9, 4, 4, 8), GOOD))
    VOC(path)
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "2 faults" in printed and "zero area" in printed
    VOC(path)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is absent (set NUMPYVISION_DATA)")
def test_the_real_blood_cells_load():
    assert splits(REAL) == ["train", "trainval", "val"]
    train, val, both = (VOC(REAL, split) for split in ("train", "val", "trainval"))
    assert (len(train), len(val), len(both)) == (205, 87, 292)
    assert train.classes == val.classes == ("background", "Platelets", "RBC", "WBC")
    assert sorted(Path(f.file).stem for f in both.faults) == ["BloodImage_00338", "BloodImage_00343"]
    assert all("zero area" in f.message for f in both.faults)
    sample = train[0]
    assert sample.image.shape == (3, 480, 640) and 0.2 < sample.image.mean() < 0.9
    total = sum(len(record.boxes) for record in both._records)
    assert total == 3941
