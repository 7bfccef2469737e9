"""The lecture's figures: every id draws, what is written on them are the lecture's numbers, and nothing runs off the page."""
import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.transforms import Bbox  # noqa: E402

from numpyvision import cli, figures  # noqa: E402
from numpyvision.ops import roi_samples  # noqa: E402
from numpyvision.plot import lecture_fields, lecture_roi, lecture_transposed, lecture_upsampling  # noqa: E402


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def texts(figure):
    """Everything written on a figure, its axes and its insets."""
    return [t.get_text() for ax in figure.axes for t in (*ax.texts, ax.title)] + [t.get_text() for t in figure.texts]


@pytest.mark.parametrize("row", figures.FIGURES)
def test_every_figure_draws_its_words_on_the_page_and_apart_from_the_note(row):
    figure = figures.FIGURES[row].draw()
    figure.canvas.draw()
    page = Bbox.from_bounds(0, 0, *figure.canvas.get_width_height())
    title, *note = [text.get_window_extent() for text in figure.texts]
    for text in [t for ax in figure.axes for t in ax.texts if t.get_text()]:
        box = text.get_window_extent()
        assert box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1, f"{text.get_text()!r} off the page"
        assert not any(box.overlaps(other) for other in (title, *note)), f"{text.get_text()!r} lies on the title or the note"
    assert all(box.x1 <= page.x1 for box in (title, *note)), "the title or the note is too long"


def test_ids_are_rows_and_names_find_them():
    assert figures.find("L16-U03") == figures.find("u03") == figures.find("Bilinear") == "L16-U03"
    assert figures.find("U08") == "L16-U07" and figures.find("L16-E12") == "L16-G06"
    names = [name for row, figure in figures.FIGURES.items() for name in (row, *figure.also)]
    assert len(set(names)) == len(names), "a name stands for one figure"
    with pytest.raises(ValueError, match="did you mean bilinear"):
        figures.find("bilinar")
    with pytest.raises(ValueError, match="lists them"):
        figures.find("zzzzzz")


def test_the_numbers_of_the_slides_stand_on_the_figures():
    bilinear = texts(lecture_upsampling.draw_bilinear())
    for number in "1.00 1.25 1.75 2.00 1.50 2.25 2.50 2.75 3.25 3.50 3.00 3.75 4.00".split():
        assert number in bilinear
    bicubic = texts(lecture_upsampling.draw_bicubic())
    for number in "0.68 1.02 1.56 1.89 1.35 1.68 2.23 2.56 2.44 2.77 3.32 3.65 3.11 3.44 3.98 4.32".split():
        assert number in bicubic
    stamps = texts(lecture_transposed.draw_stamps())
    assert {"36", "55", "34", "30"} <= set(stamps) and "output 5x5, kept 4x4" in stamps
    assert "az + bx" in texts(lecture_transposed.draw_1d())
    assert {"ax + by + cz", "bz + cy + dx"} <= set(texts(lecture_transposed.draw_matrix()))
    assert {"bx + cy + dz", "az + bx"} <= set(texts(lecture_transposed.draw_matrix(2)))
    assert any("0.5 \\cdot 0.8" in t for t in texts(lecture_roi.draw_roi_align()))
    assert "f  =  0.1 · 1 + 0.1 · 2 + 0.4 · 3 + 0.4 · 4  =  3.1" in texts(lecture_roi.draw_sample_gradient())
    assert "rows 0:2, 2:5\ncolumns 0:2, 2:4" in texts(lecture_roi.draw_roi_pool())
    assert "L = 5:  11 x 11" in texts(lecture_fields.draw_receptive_field(deepest=3))


def test_samples_of_any_record_are_drawn_where_they_are():
    x = np.random.default_rng(0).normal(size=(1, 1, 6, 7))
    record = roi_samples.roi_align_samples(x, np.array([0, 4, 6, 21.0, 17]), (2, 3), 0.25)
    ax = lecture_roi.draw_samples(record, at=(0, 2, 1, 1))
    offsets = np.concatenate([c.get_offsets() for c in ax.collections])
    wanted = np.stack([record.x, record.y], axis=-1).reshape(-1, 2) + 0.5               # a value stands at its cell's centre
    assert all((abs(offsets - point) < 1e-9).all(axis=1).any() for point in wanted)
    assert len(ax.lines) == 4 and len(ax.patches) == 2 * 3 + 1


def test_stamps_of_other_filters_and_strides():
    figure = lecture_transposed.draw_stamps([[1, 2, 3]], [[1, -1], [2, 0]], stride=3, padding=0, output_padding=0)
    assert "output 2x8, kept 2x8" in texts(figure)


def test_the_command_lists_draws_and_complains(tmp_path, capsys):
    assert cli.run(["figure"]) == 0
    listed = capsys.readouterr().out
    assert all(row in listed for row in figures.FIGURES)
    assert cli.run(["figure", "nails", "--out", str(tmp_path / "a.png")]) == 2
    assert "bed_of_nails" in capsys.readouterr().err
    assert cli.run(["figure", "bed_of_nails", "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").stat().st_size > 10_000 and str(tmp_path / "a.png") in capsys.readouterr().out
