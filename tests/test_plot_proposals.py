"""The pictures of proposals show what they are given."""
import numpy as np

from numpyvision.plot import proposals
from numpyvision.proposals import selective_search as search


def test_hierarchy(tmp_path):
    image = np.random.default_rng(0).random((3, 24, 32))
    tree = search.hierarchy(image, 20, "rgb", sigma=1, min_size=10)
    figure = proposals.draw_hierarchy(image, [tree.at(n) for n in (1, 3, 9)], search.selective_search(image), tmp_path / "h.png")
    assert [ax.get_title() for ax in figure.axes[:3]] == ["the image", "1 region", "3 regions"]
    assert (tmp_path / "h.png").stat().st_size > 1000


def test_regions_have_their_mean_colour():
    image = np.zeros((3, 2, 4))
    image[0, :, 1:] = [0.3, 0.6, 0.9]
    shown = proposals.draw_regions(image, np.array([[0, 0, 7, 7]] * 2)).images[0].get_array()
    np.testing.assert_allclose(shown[0, :, 0], [0.15, 0.15, 1, 0.75])                              # a white line where region 7 begins


def test_recall():
    ax = proposals.plot_recall([1, 10, 100], {"selective search": [0.1, 0.6, 0.95], "grid": [0, 0.2, 0.5]})
    assert len(ax.lines) == 2 and ax.lines[1].get_ydata().tolist() == [0, 0.2, 0.5]
