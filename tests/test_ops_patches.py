"""Patches by hand: the middle, the corners with zeros outside, an even size, and gradients that add up."""
import numpy as np
import pytest

from numpyvision.ops import patches

X = np.arange(1.0, 13).reshape(1, 1, 3, 4)


def test_the_pixels_around_a_centre(mode):
    out, cache = patches.extract_patches_forward(X, np.array([[0, 1, 1], [0, 0, 0], [0, 2, 3]]), 3)
    assert out[0, 0].tolist() == [[1, 2, 3], [5, 6, 7], [9, 10, 11]]
    assert out[1, 0].tolist() == [[0, 0, 0], [0, 1, 2], [0, 5, 6]]
    assert out[2, 0].tolist() == [[7, 8, 0], [11, 12, 0], [0, 0, 0]]
    dx = patches.extract_patches_backward(np.ones_like(out), cache)
    assert dx[0, 0].tolist() == [[2, 2, 1, 0], [2, 2, 2, 1], [1, 1, 2, 1]]              # how many patches each pixel is in


def test_an_even_patch_has_one_more_before_its_centre():
    out, _ = patches.extract_patches_forward(X, np.array([[0, 1, 1]]), 2)
    assert out[0, 0].tolist() == [[1, 2], [5, 6]]


@pytest.mark.parametrize("centre", [[1, 0, 0], [0, 3, 0], [0, 0, 4], [0, -1, 0]])
def test_a_centre_outside_is_named(centre):
    with pytest.raises(ValueError, match=r"\(image, y, x\) inside 1 images of 3 x 4"):
        patches.extract_patches_forward(X, np.array([centre]), 3)
