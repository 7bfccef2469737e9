"""Label maps from masks: overlaps, crowds, the background; the view of a data set as label maps; real nuclei."""
import numpy as np
import pytest

from numpyvision.data.open import open_dataset
from numpyvision.data.sample import Sample
from numpyvision.data.scenes import Scenes
from numpyvision.data.semantic import SemanticMaps, semantic_map


def sample(masks=None, labels=(), iscrowd=None):
    masks = None if masks is None else np.array(masks, bool).reshape(len(labels), 2, 4)
    return Sample(np.zeros((3, 2, 4), np.float32), np.zeros((len(labels), 4), np.float32), np.array(labels, np.int64), masks=masks,
                  iscrowd=None if iscrowd is None else np.array(iscrowd))


TABLE, CUP, PEOPLE = [[1, 1, 1, 0], [1, 1, 1, 0]], [[0, 1, 0, 0], [0, 0, 0, 0]], [[0, 0, 1, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_smaller_object_lies_on_the_larger(order):
    objects = [(TABLE, 1), (CUP, 2)]
    made = semantic_map(sample([objects[i][0] for i in order], [objects[i][1] for i in order]))
    assert made.tolist() == [[1, 2, 1, 0], [1, 1, 1, 0]] and made.dtype == np.uint8


def test_a_crowd_is_ignored_where_no_object_is():
    assert semantic_map(sample([PEOPLE, TABLE], [1, 3], [True, False])).tolist() == [[3, 3, 3, 255], [3, 3, 3, 0]]


def test_no_object_is_background_and_an_own_map_wins():
    assert not semantic_map(sample(np.zeros((0, 2, 4)))).any()
    scene = Scenes(1)[0]
    assert semantic_map(scene) is scene.semantic


def test_boxes_alone_cannot_say():
    with pytest.raises(ValueError, match="neither a semantic map nor masks"):
        semantic_map(sample(None, [1]))


def test_scenes_as_label_maps():
    scenes = Scenes(3, seed=5)
    maps = SemanticMaps(scenes)
    assert maps.classes == scenes.semantic_classes and len(maps) == 3 and maps.name == "scenes"
    seen = maps[2]
    np.testing.assert_array_equal(seen.semantic, scenes[2].semantic)
    assert len(seen.boxes) == 0 and seen.masks is None and seen.panoptic is None and seen.image_id == scenes[2].image_id


def test_nuclei_are_the_union_of_their_masks(data_folder):
    nuclei = open_dataset(f"coco:{data_folder}/nuclei", "val")
    maps = SemanticMaps(nuclei)
    assert maps.classes == nuclei.classes and len(maps.classes) == 2
    np.testing.assert_array_equal(maps[0].semantic == 1, nuclei[0].masks.any(axis=0))


def test_too_many_classes_for_a_byte():
    class Huge:
        name, classes = "huge", tuple(map(str, range(256)))
    with pytest.raises(ValueError, match="256 classes"):
        SemanticMaps(Huge())
