"""check/picture.py: a failed check shows where the error lives, and says which slice is drawn."""
import numpy as np
import pytest

from numpyvision.check import gradcheck, picture
from numpyvision.ops import conv

RNG = np.random.default_rng


def report(x_shape=(1, 2, 5, 5), break_it=True):
    x, w = RNG(0).standard_normal(x_shape), RNG(1).standard_normal((3, x_shape[1], 3, 3))

    def backward(dout, cache):
        dx, dw, _ = conv.conv2d_backward(dout, cache)
        if break_it:
            dx[-1, 0, 1] *= 3
        return dx, dw
    return gradcheck(conv.conv2d_forward, backward, [x, w], {"padding": 1}, rng=RNG(2))


def test_a_failure_is_a_png_and_html_with_the_table():
    failed = report()
    assert failed._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    shown = failed._repr_html_()
    assert "data:image/png;base64," in shown and "conv2d: " in shown
    assert failed.message.split(".")[0] in shown.replace("&#x27;", "'")


def test_what_is_right_has_no_picture():
    fine = report(break_it=False)
    assert fine._repr_png_() is None and "<img" not in fine._repr_html_() and "<pre" in fine._repr_html_()


def test_small_arrays_show_every_cell_and_big_ones_their_worst_plane():
    a = np.arange(2 * 3 * 2 * 2.).reshape(2, 3, 2, 2)
    (one, other), text = picture.sheet([a, a + 1])
    assert one.shape == (5, 8) and np.isnan(one[2]).all() and one[3, 0] == 12 and text == "every plane of (2, 3, 2, 2), 2 x 3 of them"
    assert other[0, 1] == 2
    big = np.zeros((2, 3, 40, 40))
    wrong = big.copy()
    wrong[1, 2, 7, 7] = 1
    (one, other), text = picture.sheet([wrong, big])
    assert one.shape == (40, 40) and one[7, 7] == 1 and text == "image 1, channel 2 of (2, 3, 40, 40): the worst plane"
    assert picture.sheet([np.ones(3)] * 2)[0][0].shape == (1, 3) and picture.sheet([np.ones((3, 4))] * 2)[1] == "all 3 x 4 elements"
    assert picture.sheet([np.float64(1)] * 2)[1] == "a single number"


@pytest.mark.parametrize("shape", [(1, 2, 5, 5), (2, 3, 40, 40)])
def test_the_title_says_what_is_drawn(shape):
    from matplotlib.figure import Figure
    failed, figure = report(shape), Figure()
    picture.draw(figure, failed, picture.worst_row(failed))
    title = figure.get_suptitle()
    assert title.startswith(f"conv2d: {failed.diagnosis}") and ("every plane" in title or "the worst plane" in title)
    assert [a.get_title() for a in figure.axes[:3]] == ["backward", "finite difference", "backward - finite difference"]


def test_a_wrong_forward_is_drawn_beside_the_reference():
    x = RNG(0).standard_normal((3, 4))
    failed = gradcheck(lambda x: (x + 1, x), lambda d, x: d.copy(), [x], rng=RNG(0), reference=(lambda x: (x.copy(), x), None))
    assert failed.diagnosis == "wrong-forward" and picture.worst_row(failed).claimed is not None and failed._repr_png_()
