"""Label maps against the truth: the right pixels in the right colours, and a page that is written."""
import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.colors as colors  # noqa: E402

from numpyvision.data.sample import Sample  # noqa: E402
from numpyvision.plot import segmentation, style  # noqa: E402

CLASSES = ("background", "dog", "sky")
TRUTH = np.array([[1, 1, 2, 2], [1, 255, 2, 0]], np.uint8)
FOUND = np.array([[1, 2, 2, 2], [1, 1, 2, 2]], np.uint8)


@pytest.fixture(autouse=True)
def closed():
    yield
    matplotlib.pyplot.close("all")


def picture(ax):
    return np.asarray(ax.images[0].get_array())                          # (H, W, 3)


def test_classes_have_their_colours_and_ignored_is_white():
    shown = picture(segmentation.draw_labels(TRUTH, CLASSES))
    np.testing.assert_allclose(shown[0, 0], style.class_color(1))
    np.testing.assert_allclose(shown[0, 2], colors.to_rgb("#a8d5f2"))    # the sky is sky blue, whatever its number
    np.testing.assert_allclose(shown[1, 1], 1)
    assert segmentation.present(TRUTH, FOUND) == [0, 1, 2]


@pytest.mark.parametrize("image", [None, np.full((3, 2, 4), 0.5)])
def test_wrong_pixels_are_red_ignored_ones_white(image):
    shown, red = picture(segmentation.draw_errors(TRUTH, FOUND, image)), colors.to_rgb(style.POSITIVE)
    wrong = (shown == red).all(axis=2)
    assert wrong.tolist() == [[False, True, False, False], [False, False, False, True]] and (shown[1, 1] == 1).all()


def test_a_row_says_how_much_is_right():
    sample = Sample(np.zeros((3, 2, 4)), np.zeros((0, 4)), np.zeros(0, np.int64), semantic=TRUTH)
    axes = segmentation.draw_comparison(sample, FOUND, CLASSES)
    assert len(axes) == 4 and axes[3].get_xlabel() == "71.4 % of the pixels right"
    sample.semantic = np.full((2, 4), 255, np.uint8)
    assert "nan" in segmentation.draw_comparison(sample, FOUND)[3].get_xlabel()


def test_a_page_is_written_with_one_legend(tmp_path):
    samples = [Sample(np.zeros((3, 2, 4)), np.zeros((0, 4)), np.zeros(0, np.int64), semantic=TRUTH)] * 2
    segmentation.draw_page(samples, [FOUND, FOUND], CLASSES, tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 1000
    figure = segmentation.draw_page(samples, [FOUND, FOUND], CLASSES)
    assert [t.get_text() for t in figure.legends[0].texts] == list(CLASSES) and len(figure.axes) == 8


def test_overlay_has_a_legend():
    ax = segmentation.draw_overlay(np.zeros((3, 2, 4)), FOUND, CLASSES)
    assert [t.get_text() for t in ax.get_legend().texts] == ["dog", "sky"]
