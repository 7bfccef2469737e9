"""Selective search: regions that can be counted by hand, the compiled loops against the plain ones, and recall on scenes (L16-S01)."""
import numpy as np
import pytest

import numpyvision
from numpyvision.data.scenes import Scenes
from numpyvision.metrics import proposals
from numpyvision.proposals import selective_search as search

RED, PINK, BLUE = (0.9, 0.1, 0.1), (0.9, 0.4, 0.4), (0.1, 0.1, 0.9)


def picture():
    """24 x 32: blue ground, on it a red square and, touching it, a pink one."""
    image = np.empty((3, 24, 32))
    image[:] = np.array(BLUE)[:, None, None]
    image[:, 8:16, 6:14] = np.array(RED)[:, None, None]
    image[:, 8:16, 14:22] = np.array(PINK)[:, None, None]
    return image


def test_three_colours_are_three_segments_and_the_two_reds_join_first(mode):
    tree = search.hierarchy(picture(), scale=20, colour="rgb", sigma=0, min_size=4)
    assert tree.segments[0, 0] == 0 and tree.segments[8, 6] == 1 and tree.segments[8, 14] == 2     # numbered by their first pixel
    assert tree.merges.tolist() == [[1, 2], [0, 3]]
    assert tree.boxes.tolist() == [[0, 0, 32, 24], [6, 8, 14, 16], [14, 8, 22, 16], [6, 8, 22, 16], [0, 0, 32, 24]]
    assert tree.sizes.tolist() == [24 * 32 - 128, 64, 64, 128, 24 * 32]
    assert np.unique(tree.at(2)).tolist() == [0, 3] and np.unique(tree.at(1)).tolist() == [4] and (tree.at(99) == tree.segments).all()


def test_boxes_come_coarse_to_fine_each_once(mode):
    settings = dict(scales=(20,), colours=("rgb",), sigma=0, min_size=4)
    found = search.selective_search(picture(), **settings)
    assert found.tolist() == [[0, 0, 32, 24], [6, 8, 22, 16], [14, 8, 22, 16], [6, 8, 14, 16]]
    assert search.selective_search(picture(), **settings, max_boxes=2).tolist() == found[:2].tolist()
    assert len(search.selective_search(picture(), **settings, min_side=9)) == 1


@pytest.mark.parametrize("weights, partner", [((1, 0, 0, 0), 1), ((0, 0, 1, 0), 0)])
def test_each_similarity_alone(weights, partner, mode):
    """Three strips: the middle one has the colour of its right neighbour, but the left one is smaller."""
    image = np.empty((3, 8, 24))
    for start, stop, colour in ((0, 4, BLUE), (4, 10, RED), (10, 24, (0.88, 0.1, 0.1))):
        image[:, :, start:stop] = np.array(colour)[:, None, None]
    segments = np.repeat([0, 1, 2], [4, 6, 14])[None].repeat(8, axis=0)
    tree = search.group(image, segments, weights)
    assert tree.merges[0].tolist() == [partner, partner + 1]


def test_likeness_by_hand():
    """Two of 10 pixels each in a box of 4 x 6 in a picture of 100: size 1 - 20 / 100, fill 1 - (24 - 20) / 100."""
    boxes, sizes = np.array([[0., 0, 4, 3], [0, 3, 4, 6]]), np.array([10, 10])
    colour, texture = np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([[1.0, 0], [0.0, 1]])
    from numpyvision import kernels
    for weight, expected in (((1, 0, 0, 0), 0.7), ((0, 1, 0, 0), 0.0), ((0, 0, 1, 0), 0.8), ((0, 0, 0, 1), 0.96)):
        arguments = 0, 1, sizes, boxes, colour, texture, 100, np.array(weight, float)
        assert search._likeness(*arguments) == pytest.approx(expected)
        assert kernels.selective_search.likeness(*arguments) == pytest.approx(expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("colour", ["rgb", "hsv"])
def test_compiled_equals_readable(seed, colour):
    image = Scenes(3, seed=4, size=(40, 48))[seed].image
    with numpyvision.use("numpy"):
        plain = search.hierarchy(image, 40, colour, min_size=8)
    fast = search.hierarchy(image, 40, colour, min_size=8)
    assert len(plain.merges) > 8
    for a, b in zip(plain, fast, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_hierarchy_is_a_tree_of_growing_regions():
    tree = search.hierarchy(Scenes(1, seed=5)[0].image)
    S = len(tree.merges) + 1
    assert sorted(tree.merges.ravel().tolist()) == list(range(2 * S - 2))                          # everything but the root joins once
    assert (np.bincount(tree.segments.ravel()) == tree.sizes[:S]).all() and tree.sizes[:S].min() >= 20
    for t, (a, b) in enumerate(tree.merges):
        assert a < S + t and b < S + t and tree.sizes[S + t] == tree.sizes[a] + tree.sizes[b]
    for count in (1, 2, 7, S):
        regions = tree.at(count)
        assert len(np.unique(regions)) == count
        for r in np.unique(regions):
            y, x = np.nonzero(regions == r)
            assert tree.boxes[r].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1] and tree.sizes[r] == len(x)


def test_the_same_boxes_every_time_and_for_both_dtypes():
    image = Scenes(1, seed=6)[0].image
    first = search.selective_search(image)
    np.testing.assert_array_equal(first, search.selective_search(image.copy()))
    np.testing.assert_array_equal(first, search.selective_search(image.astype(np.float64)))
    assert first.dtype == np.float32 and len(np.unique(first, axis=0)) == len(first)
    np.testing.assert_array_equal(first, search.selective_search(np.asfortranarray(image)))


def test_the_papers_random_order_holds_the_same_boxes():
    image = Scenes(1, seed=6)[0].image
    first, a, b = search.selective_search(image), *(search.selective_search(image, rng=np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.tolist() != first.tolist() and sorted(a.tolist()) == sorted(first.tolist())


def test_L16_S01_recall_on_scenes():
    scenes = Scenes(20, seed=7)
    found, truth = zip(*((search.selective_search(s.image), s.boxes) for s in (scenes[i] for i in range(20))), strict=True)
    recall = proposals.recall_at(found, truth, [10, 100, 300])
    assert recall[0] < recall[1] <= recall[2] and recall[2] >= 0.9


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 9), (3, 2, 2), (3, 30, 5)])
def test_a_picture_of_one_colour_has_one_box(shape, mode):
    assert search.selective_search(np.full(shape, 0.5)).tolist() == [[0, 0, shape[2], shape[1]]]


def test_hsv():
    colours = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0.25, 0.25]], float).T[:, None]
    expected = [[0, 1, 1], [1 / 3, 1, 1], [2 / 3, 1, 1], [1 / 6, 1, 1], [0, 0, 0.5], [0, 0, 0], [0, 0.5, 0.5]]
    np.testing.assert_allclose(search.hsv(colours)[:, 0].T, expected, atol=1e-15)


def test_errors():
    image = np.full((3, 8, 8), 0.5)
    for arguments, message in (((image[0],), "image must be"), ((np.full((4, 8, 8), 0.5),), r"image must be \(3, H, W\)"),
                               ((image * 255,), "divide a picture of bytes by 255"), ((image * np.nan,), "NaN"), ((image, ()), "scales"),
                               ((image, (0,)), "scales"), ((image, (50,), ("lab",)), "rgb, hsv"), ((np.zeros((3, 0, 4)),), "with pixels")):
        with pytest.raises(ValueError, match=message):
            search.selective_search(*arguments)
    with pytest.raises(ValueError, match="four"):
        search.selective_search(image, weights=(1, 1))
