"""The lecture's figures by their id: `FIGURES["L16-U03"].draw()` -> a matplotlib Figure; on the command line, `numpyvision figure L16-U03`.

An id is a row of the lecture. Everything is computed by the operations when it is drawn; nothing is pasted. The drawing itself is in
plot/lecture_*.py.
"""
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from numpyvision.data import scenes
from numpyvision.demos import box_descent
from numpyvision.metrics import proposals as proposal_metrics
from numpyvision.plot import lecture, lecture_fields, lecture_roi, lecture_tasks, lecture_transposed, lecture_upsampling, style
from numpyvision.plot import proposals as proposal_pictures
from numpyvision.proposals import selective_search, sliding_window


@dataclass(frozen=True)
class Figure:
    """One figure: what it shows, other names that find it, and the function that draws it."""

    title: str
    also: tuple
    draw: Callable


def scene(index=158, size=(256, 256)):
    """The scene of the opening figures: two persons and a cat before sky, grass and trees."""
    return scenes.Scenes(1, seed=0, size=size, start=index)[0]


def draw_scene(draw):
    """A figure of lecture_tasks for that scene."""
    return draw(scene(), scenes.Scenes.classes, scenes.Scenes.semantic_classes)


def draw_box_descent(index=2):
    """The demonstration of demos/box_descent.py as a figure."""
    sample, true_box, descent = box_descent.descend_in_scene(index)
    at = [0, len(descent.boxes) // 6, len(descent.boxes) // 3, len(descent.boxes) - 1]
    picture = np.asarray(sample.image, np.float64)[None]
    crops = [(f"step {k}", box_descent.crop(picture, descent.boxes[k], 28)[0][0]) for k in (at[0], at[1], at[3])]
    crops.append(("template", box_descent.crop(picture, true_box, 28)[0][0]))
    return lecture_roi.draw_box_descent(sample.image, true_box, descent.boxes, descent.ious, crops)


def draw_selective_search(index=2, images=16):
    """One hierarchy from coarse to fine, and how many objects of some scenes the first boxes cover, against a plain grid of windows."""
    world = scenes.Scenes(images, seed=7)
    sample, samples = world[index], [world[i] for i in range(images)]
    tree = selective_search.hierarchy(sample.image)
    ax = lecture.canvas(12, 7.1, "Selective search: every region that ever grew is a proposal",
                        "every merge joins the two neighbours that are most alike in colour, texture, size and fill; nothing is learned")
    places = [lecture.inset(ax, 0.3 + 2.5 * column, 1.3 + 2.65 * row, 2.35, 2.35) for row in range(2) for column in range(3)]
    style.show_image(sample.image, places[0])
    for place, count in zip(places[1:5], (len(tree.merges) + 1, 20, 8, 3), strict=True):
        proposal_pictures.draw_regions(sample.image, tree.at(count), place)
    found = [selective_search.selective_search(s.image) for s in samples]
    proposal_pictures.draw_boxes(sample.image, found[index][:300], sample.boxes, places[5])
    counts, truth = np.unique(np.logspace(0, 3, 25).astype(int)), [s.boxes for s in samples]
    grid = sliding_window.sliding_window(sample.size)
    recalls = {"selective search": proposal_metrics.recall_at(found, truth, counts),
               "sliding window": proposal_metrics.recall_at([grid] * images, truth, counts)}
    proposal_pictures.plot_recall(counts, recalls, lecture.inset(ax, 8.5, 1.3, 3.2, 4.4))
    return ax.figure


FIGURES = {
    "L16-T01": Figure("the four tasks on one scene", ("tasks",), partial(draw_scene, lecture_tasks.draw_tasks)),
    "L16-T02": Figure("mean AP on Pascal VOC by year", ("voc",), lecture_tasks.draw_voc_history),
    "L16-T04": Figure("things and stuff", ("things", "stuff"), partial(draw_scene, lecture_tasks.draw_things_and_stuff)),
    "L16-S01": Figure("selective search: the hierarchy, and recall by number of proposals", ("selective_search", "proposals"),
                      draw_selective_search),
    "L16-F04": Figure("RoI Pool: a box snapped to the grid, its bins on the slide and in real code", ("roi_pool", "L16-F03", "L16-E07"),
                      lecture_roi.draw_roi_pool),
    "L16-F05": Figure("a sliding box: RoI Pool jumps, RoI Align follows", ("jumps",), lecture_roi.draw_pool_against_align),
    "L16-A01": Figure("RoI Align: equal bins, regular samples, four neighbours", ("roi_align", "L16-A02", "L16-E06"),
                      lecture_roi.draw_roi_align),
    "L16-A03": Figure("one sample of RoI Align, forward and backward", ("sample", "L16-A04"), lecture_roi.draw_sample_gradient),
    "L16-A05": Figure("a box that follows the gradient of its crop", ("box_descent",), draw_box_descent),
    "L16-G06": Figure("receptive field 1 + 2L, and the effective one, measured by gradient", ("receptive_field", "L16-E12"),
                      lecture_fields.draw_receptive_field),
    "L16-U01": Figure("bed of nails and nearest neighbour", ("bed_of_nails", "nearest", "L16-U02"),
                      lecture_upsampling.draw_nails_and_nearest),
    "L16-U03": Figure("bilinear interpolation 2x2 -> 4x4", ("bilinear", "L16-U04", "L16-E04"), lecture_upsampling.draw_bilinear),
    "L16-E03": Figure("the same with the slide's dots: align_corners=True", ("align_corners",),
                      partial(lecture_upsampling.draw_bilinear, True)),
    "L16-U05": Figure("bicubic interpolation 2x2 -> 4x4", ("bicubic", "L16-U06", "L16-E02"), lecture_upsampling.draw_bicubic),
    "L16-U07": Figure("max pooling remembers positions, max unpooling uses them", ("max_unpooling", "L16-U08", "L16-U10"),
                      lecture_upsampling.draw_max_unpooling),
    "L16-V03": Figure("transposed convolution 3x3, stride 2: the stamps, their overlaps, the trimming", ("stamps", "L16-V04"),
                      lecture_transposed.draw_stamps),
    "L16-V05": Figure("transposed convolution in 1D, in letters", ("transposed_1d", "L16-E11"), lecture_transposed.draw_1d),
    "L16-V07": Figure("convolution as a matrix and its transpose, stride 1", ("matrix", "L16-V08", "L16-V09", "L16-E01", "L16-E10"),
                      lecture_transposed.draw_matrix),
    "L16-V10": Figure("convolution as a matrix and its transpose, stride 2", ("matrix_stride_2", "L16-V11", "L16-V12"),
                      partial(lecture_transposed.draw_matrix, 2)),
}
NAMES = {name.lower(): row for row, figure in FIGURES.items() for name in (row, *figure.also)}


def find(name):
    """The id of a figure by id or other name, in any case, with or without "L16-" -> a key of FIGURES, or a ValueError with suggestions."""
    row = NAMES.get(name.lower()) or NAMES.get(f"l16-{name.lower()}")
    if row is None:
        close = [n for n in NAMES if name.lower() in n][:3] or difflib.get_close_matches(name.lower(), NAMES, 3, 0.6)
        close = [name.upper() if name.startswith("l16") else name for name in close]
        hint = f"did you mean {' or '.join(close)}?" if close else "`numpyvision figure` lists them"
        raise ValueError(f"no figure is called {name!r}; {hint}")
    return row


def listing():
    """One line a figure: its id, what it shows, its names in words."""
    lines = []
    for row, figure in FIGURES.items():
        rows = [a.removeprefix("L16-") for a in figure.also if a.startswith("L16-")]
        words = [a for a in figure.also if not a.startswith("L16-")]
        lines.append(f"{row:9}{', '.join(words):24} {figure.title}{f' (also {chr(44).join(rows)})' if rows else ''}")
    return "\n".join(lines)
