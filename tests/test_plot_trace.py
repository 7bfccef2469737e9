"""The stages of a detector: what is drawn is what the trace holds, the surest first, and no more than a reader can see."""
import matplotlib
import numpy as np
import pytest
import whole_model

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402

from numpyvision.plot import trace as trace_pictures  # noqa: E402
from numpyvision.plot.trace import FEW, STAGES  # noqa: E402


@pytest.fixture(scope="module")
def traced():
    model, images, _, sizes = whole_model.scene(post_nms=40)
    found, traces = model.predict(images, sizes, score_threshold=0.3, trace=True)
    return images[0], found[0], traces[0]


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def rectangles(ax):
    """[(x1, y1, x2, y2)] in the order of drawing."""
    return np.array([[*p.get_xy(), p.get_x() + p.get_width(), p.get_y() + p.get_height()] for p in ax.patches if isinstance(p, Rectangle)])


def test_detections_are_named_over_what_they_dropped(traced):
    image, found, trace = traced
    ax = trace_pictures.draw_stage(image, trace, "detections")
    drawn, shown = rectangles(ax), min(FEW, len(found))
    np.testing.assert_allclose(drawn[-shown:][::-1], found.boxes[:shown])
    dropped = np.isin(trace["final.suppressed_by"], trace["final.kept"][:FEW]).sum()
    assert len(drawn) == shown + dropped and dropped > 0
    assert [t.get_text() for t in ax.texts][0].split()[0] == trace.classes[found.labels[0]]


@pytest.mark.parametrize("stage, name", [("topk", "rpn.kept_by_topk"), ("decoded", "rpn.clipped"), ("rpn_nms", "rpn.kept_by_nms"),
                                         ("proposals", "rpn.proposals"), ("candidates", "final.boxes")])
def test_the_surest_few_are_drawn_and_the_title_says_of_how_many(traced, stage, name):
    image, _, trace = traced
    ax = trace_pictures.draw_stage(image, trace, stage)
    count = len(trace[name])
    boxes, colors, dropped = trace_pictures.stage_boxes(trace, stage)
    assert len(boxes) == len(colors) == count > FEW and len(rectangles(ax)) == FEW + len(dropped)
    assert ax.get_title() == f"{STAGES[stage]}: {FEW} of {count}"
    np.testing.assert_allclose(rectangles(ax)[-1], boxes[0])
    if stage == "rpn_nms":
        by = trace["rpn.suppressed_by"]
        assert len(dropped) == np.isin(by, trace["rpn.kept_by_nms"][:FEW]).sum() < (by >= 0).sum()


def test_all_stages_make_one_figure(traced):
    figure = trace_pictures.draw_stages(traced[0], traced[2])
    assert len(figure.axes) == len(STAGES)
    with pytest.raises(ValueError, match="stage must be one of topk, .* got 'nms'"):
        trace_pictures.draw_stage(traced[0], traced[2], "nms")


def test_an_image_in_which_nothing_is_found():
    model, images, _, sizes = whole_model.scene()
    _, traces = model.predict(images, sizes, score_threshold=1.0, trace=True)
    ax = trace_pictures.draw_stage(images[0], traces[0], "detections")
    assert len(rectangles(ax)) == 0 and ax.get_title().endswith(": 0")
