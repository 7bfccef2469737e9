"""Pictures are checked by what is on them (rectangles, texts, lines, images and their places), never by pixels of a rendering."""
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402

from numpyvision.boxes import anchors as anchor_boxes  # noqa: E402
from numpyvision.data.sample import Sample  # noqa: E402
from numpyvision.plot import anchors, boxes, curves, features, gradients, masks, style  # noqa: E402

CLASSES = ("background", "cat", "dog")
BOXES = np.array([[2., 3., 12., 13.], [20., 8., 39., 29.], [0., 0., 40., 30.]])


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def image(H=30, W=40):
    return np.random.default_rng(0).random((3, H, W)).astype(np.float32)


def sample(**more):
    return Sample(image=image(), boxes=BOXES, labels=np.array([1, 2, 1]), **more)


def rectangles(ax):
    return np.array([[*p.get_xy(), p.get_x() + p.get_width(), p.get_y() + p.get_height()] for p in ax.patches if isinstance(p, Rectangle)])


def texts(ax):
    return [t.get_text() for t in ax.texts]


# ------------------------------------------------------------------------------------------------ boxes
def test_boxes_are_drawn_where_they_are_over_an_image_in_box_coordinates():
    ax = boxes.draw_boxes(image(), BOXES, [1, 2, 1], [0.9, 0.8, 0.07], CLASSES)
    np.testing.assert_allclose(rectangles(ax), BOXES)
    assert ax.images[0].get_extent() == [0, 40, 30, 0], "pixel i covers [i, i + 1): a box of the whole image is 0, 0, W, H"
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 40), (30, 0))
    assert texts(ax) == ["cat 0.90", "dog 0.80", "cat 0.07"]
    colors = [p.get_edgecolor() for p in ax.patches]
    assert colors[0] == colors[2] != colors[1]


def test_labels_and_scores_are_optional_and_no_box_is_normal():
    assert texts(boxes.draw_boxes(image(), BOXES)) == []
    assert texts(boxes.draw_boxes(image(), BOXES, scores=[1, 1, 1])) == ["1.00"] * 3
    assert texts(boxes.draw_boxes(image(), BOXES, [1, 2, 1])) == ["1", "2", "1"]
    nothing = [np.zeros((0, *shape)) for shape in ((4,), (), (), (30, 40), (17, 3))]
    ax = boxes.draw_boxes(image(), *nothing[:3], CLASSES, *nothing[3:])
    assert len(ax.patches) == len(ax.texts) == 0 and len(ax.images) == 1


def test_draw_boxes_uses_the_axes_given():
    figure, (left, right) = plt.subplots(1, 2)
    assert boxes.draw_boxes(image(), BOXES, ax=right) is right and not left.patches and plt.get_fignums() == [figure.number]


def test_every_tag_stays_inside_the_image():
    """Measured on the rendered figure: boxes at all edges and corners, in axes as small as in a page of samples."""
    rng = np.random.default_rng(1)
    start = np.concatenate([rng.uniform(0, [110, 80], (6, 2)), [[0, 0], [118, 0], [0, 88], [118, 88]]])
    figure, ax = plt.subplots(figsize=(2.6, 2))
    boxes.draw_boxes(image(90, 120), np.concatenate([start, start + 2], 1), [2] * 10, [0.5] * 10, CLASSES, ax=ax)
    figure.canvas.draw()
    frame = ax.get_window_extent()
    for text in ax.texts:
        inside = text.get_window_extent()
        assert frame.x0 <= inside.x0 and inside.x1 <= frame.x1 and frame.y0 <= inside.y0 and inside.y1 <= frame.y1


def test_tags_avoid_each_other_where_there_is_room():
    box, taken = (10, 30, 30, 50), []
    for _ in range(6):
        x, y = boxes.place_tag(box, 8, 4, (100, 100), taken)
        assert not any(x < b[2] and b[0] < x + 8 and y < b[3] and b[1] < y + 4 for b in taken)
        taken.append((x, y, x + 8, y + 4))
    assert boxes.place_tag((0, 0, 5, 5), 8, 4, (100, 100), []) == (0, 0)
    assert boxes.place_tag((95, 50, 100, 60), 8, 4, (100, 100), []) == (92, 46)


def test_a_sample_names_crowds_and_difficult_objects():
    ax = boxes.draw_sample(sample(iscrowd=np.array([True, False, False]), difficult=np.array([False, True, False])), CLASSES)
    assert texts(ax) == ["crowd cat", "dog ?", "cat"]


def test_joints_hidden_seen_and_unlabelled():
    joints = np.zeros((17, 3))
    joints[:4] = [[5, 5, 2], [6, 4, 1], [8, 4, 2], [9, 9, 0]]
    ax = boxes.draw_sample(sample(keypoints=joints[None]), CLASSES)
    seen, hidden = ax.collections
    np.testing.assert_array_equal(seen.get_offsets(), [[5, 5], [8, 4]])
    np.testing.assert_array_equal(hidden.get_offsets(), [[6, 4]])
    assert len(ax.lines) == 2, "nose to either eye; the unlabelled ear has no limb"


def test_truth_beside_prediction(tmp_path):
    found = SimpleNamespace(boxes=BOXES, labels=np.array([1, 1, 2]), scores=np.array([0.9, 0.4, 0.6]))
    figure = boxes.draw_truth_and_predictions([sample(), sample()], [found, found], CLASSES)
    assert [ax.get_title() for ax in figure.axes] == ["truth", "prediction", "", ""]
    assert [len(ax.patches) for ax in figure.axes] == [3, 2, 3, 2]
    assert texts(figure.axes[1]) == ["cat 0.90", "dog 0.60"], "predictions under min_score are left out"
    path = tmp_path / "predictions.png"
    boxes.draw_truth_and_predictions([sample()] * 5, [found] * 5, CLASSES, path, min_score=0.3)
    assert path.stat().st_size > 10_000 and plt.get_fignums() == [figure.number], "a figure that was saved is closed"


def test_a_page_has_one_picture_a_sample():
    figure = boxes.draw_page([sample(image_id=i) for i in range(5)], CLASSES, columns=3)
    assert [ax.get_title() for ax in figure.axes] == list("01234")
    assert len(boxes.draw_page([sample()], CLASSES, columns=4).axes) == 1


# ------------------------------------------------------------------------------------------------ masks and label maps
def test_a_mask_is_tinted_and_its_outline_solid():
    mask = np.zeros((6, 6), bool)
    mask[1:5, 1:5] = True
    layer = masks.mask_layer(mask[None], [(1., 0., 0.)])
    np.testing.assert_array_equal(layer[..., 3] == 1, masks.outline(mask))
    assert masks.outline(mask).sum() == 12 and (layer[2:4, 2:4, 3] == 0.45).all() and (layer[~mask] == 0).all()
    assert masks.outline(np.ones((3, 3), bool)).sum() == 8, "the image's edge is an edge of the mask"


def test_masks_of_one_class_differ_in_shade():
    squares = np.zeros((3, 30, 40), bool)
    squares[0, :5, :5] = squares[1, :5, 10:15] = squares[2, :5, 20:25] = True
    ax = boxes.draw_boxes(image(), BOXES, [1, 2, 1], masks=squares)
    first, other, second = (np.asarray(ax.images[1].get_array())[2, x, :3] for x in (2, 12, 22))
    np.testing.assert_allclose(first, style.class_color(1))
    np.testing.assert_allclose(other, style.class_color(2))
    np.testing.assert_allclose(second, 0.8 * first)


def test_semantic_and_panoptic_pictures_name_what_is_there():
    semantic = np.zeros((4, 6), np.uint8)
    semantic[:, 3:], semantic[0, 0] = 2, 255
    ids = np.where(semantic == 2, 7, 1)
    ids[2:, 4:] = 8
    segments = [dict(id=1, category=0, isthing=False), dict(id=7, category=2, isthing=True), dict(id=8, category=2, isthing=True)]
    s = SimpleNamespace(semantic=semantic, panoptic=ids, segments=segments)
    ax = masks.draw_semantic(s, ("sky", "grass", "cat"))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["sky", "cat"]
    picture = np.asarray(ax.images[0].get_array())
    assert (picture[0, 0] == 1).all() and (picture[1, 4] == style.class_color(2)).all(), "a thing has its label's colour"
    np.testing.assert_allclose(picture[1, 1], np.array([0xa8, 0xd5, 0xf2]) / 255, err_msg="sky is blue")
    ax = masks.draw_panoptic(s, ("sky", "grass", "cat"))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["sky", "cat x 2"]
    picture = np.asarray(ax.images[0].get_array())
    assert (picture[1, 3] == 1).all(), "a white line between segments"
    assert not np.array_equal(picture[1, 5], picture[3, 5]) and (picture[3, 5] < 1).any(), "two cats, two shades"


def test_colours_are_distinct_and_text_on_them_contrasts():
    colors = [style.class_color(k) for k in range(1, 13)]
    assert len(set(colors)) == 12 and min(np.abs(np.subtract(a, b)).max() for i, a in enumerate(colors) for b in colors[:i]) > 0.1
    assert style.text_color((1, 1, 0.5)) == style.INK and style.text_color((0, 0, 0.6)) == style.PAPER
    assert style.class_color(80) != style.class_color(81)


# ------------------------------------------------------------------------------------------------ curves
def test_curves_show_every_loss_smoothed_over_raw_and_the_rate_below():
    rows = [dict(step=i, loss=2. + i % 2, loss_box=1. + i % 2, lr=0.1, grad_norm=3., seconds=1.) for i in range(160)]
    ax = curves.plot_curves(rows)
    assert len(ax.lines) == 4, "two losses, raw and smoothed; norms and seconds are no losses"
    raw, smoothed = (line.get_ydata() for line in ax.lines[:2])
    np.testing.assert_array_equal(raw, [row["loss"] for row in rows])
    np.testing.assert_allclose(smoothed[10:], 2.5)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["loss  2.5", "box  1.5"]
    (strip,) = ax.child_axes
    np.testing.assert_array_equal(strip.lines[0].get_ydata(), 0.1)


def test_curves_bear_no_rows_one_row_and_missing_losses():
    assert not curves.plot_curves([]).lines
    curves.plot_curves([dict(step=0, loss=1., lr=0.)]).figure.canvas.draw()
    ax = curves.plot_curves([dict(step=0, loss=1.), dict(step=1, loss=3., loss_mask=2.), dict(step=2, loss=np.nan)])
    assert len(ax.lines) == 4 and not ax.child_axes
    ax.figure.canvas.draw()


def test_smoothing_is_a_running_mean_that_skips_nan():
    np.testing.assert_allclose(curves.smooth([1, 2, np.nan, 4], 2), [1, 1.5, 2, 4])
    np.testing.assert_array_equal(curves.smooth([np.nan, 3], 1), [np.nan, 3])


@pytest.mark.parametrize("precision, recall, area", [
    ([1, 1, 2 / 3, 0.5, 0.6], [1 / 3, 2 / 3, 2 / 3, 2 / 3, 1], 0.866667),          # L16's mAP slide
    ([0, 1 / 2, 2 / 3], [0, 1 / 2, 1], 2 / 3)])                                    # rises: only the envelope has this area
def test_precision_recall_fills_the_area_that_average_precision_measures(precision, recall, area):
    ax = curves.plot_precision_recall(np.array(precision), np.array(recall))
    corners = ax.collections[0].get_paths()[0].vertices
    x, y = np.append(corners, corners[:1], 0).T
    assert abs(np.sum(x[1:] * y[:-1] - x[:-1] * y[1:])) / 2 == pytest.approx(area, abs=5e-7), "shoelace formula"


# ------------------------------------------------------------------------------------------------ features, anchors, gradients
def test_features_are_tiled_in_order_on_a_signed_scale():
    maps = np.arange(-6., 18.).reshape(6, 2, 2)
    ax = features.draw_features(maps, columns=4)
    sheet = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert sheet.shape == (5, 11)
    np.testing.assert_array_equal(sheet[:2, 3:5], maps[1])
    np.testing.assert_array_equal(sheet[3:, :2], maps[4])
    assert np.isnan(sheet[2]).all() and np.isnan(sheet[3:, 6:]).all()
    assert ax.images[0].get_clim() == (-17, 17) and ax.get_title() == "6 channels, 2 x 2"
    assert features.draw_features(np.ones((1, 9, 2, 2)), count=4).images[0].get_clim() == (0, 1)
    with pytest.raises(ValueError, match="one image at a time"):
        features.draw_features(np.zeros((1, 1, 2, 3, 4)))


def test_anchors_of_the_middle_place_and_of_a_matching():
    grid = anchor_boxes.grid_anchors((4, 5), 16, cell=anchor_boxes.cell_anchors([16, 32], [0.5, 1, 2]))
    ax = anchors.draw_anchors(grid, (64, 80))
    assert len(ax.collections[0].get_offsets()) == 20 and ax.get_title() == "120 anchors, 6 a place"
    drawn = rectangles(ax)
    np.testing.assert_array_equal(drawn[0], [0, 0, 80, 64])
    assert len(drawn) == 7 and len(np.unique(np.round((drawn[1:, :2] + drawn[1:, 2:]) / 2, 3), axis=0)) == 1
    labels = np.zeros(120, int)
    labels[[3, 5]], labels[7] = 1, -1
    ax = anchors.draw_anchors(grid, (64, 80), image(64, 80), labels, BOXES)
    assert ax.get_title() == "2 positive, 117 negative, 1 neutral" and len(rectangles(ax)) == 1 + 1 + 2 + 3
    anchors.draw_anchors(np.zeros((0, 4)), (64, 80)).figure.canvas.draw()


def test_numbers_are_written_into_their_cells():
    ax = gradients.draw_numbers([[1, -2.5], [np.nan, 0]], title="dx", mark=[(0, 1)])
    assert {t.get_position(): t.get_text() for t in ax.texts} == {(0.5, 0.5): "1", (1.5, 0.5): "-2.5", (1.5, 1.5): "0"}
    assert ax.get_title() == "dx" and ax.images[0].get_extent() == [0, 2, 2, 0]
    np.testing.assert_array_equal(rectangles(ax), [[1, 0, 2, 1]])
    assert texts(gradients.draw_numbers(np.array([-0.0]))) == ["0"]


def test_a_gradient_glows_where_it_is_strong():
    dimage = np.zeros((3, 8, 8))
    dimage[:, 2, 5] = 1
    ax = gradients.draw_gradient(dimage, image(8, 8), title="who matters")
    picture = np.asarray(ax.images[0].get_array())
    assert np.unravel_index(picture.sum(2).argmax(), (8, 8)) == (2, 5) and picture[2, 5, 0] == 1 and picture[0].max() <= 0.35
    assert np.isfinite(gradients.draw_gradient(np.zeros((3, 8, 8))).images[0].get_array()).all()
    with pytest.raises(ValueError, match="one image"):
        gradients.draw_gradient(np.zeros((1, 3, 8, 8)))


def test_importing_the_pictures_does_not_import_matplotlib():
    names = "boxes, masks, curves, features, anchors, gradients, style"
    code = f"import sys; from numpyvision.plot import {names}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_in_a_crowd_no_tag_hides_what_it_names_and_one_class_gets_a_colour_an_object():
    from numpyvision.plot import boxes
    image, many = np.zeros((3, 64, 100)), np.array([[4 * i, 8, 4 * i + 3, 20] for i in range(boxes.CROWD)], float)
    few = boxes.draw_boxes(image, many[:-1], np.ones(len(many) - 1, int), classes=("background", "cell"))
    crowd = boxes.draw_boxes(image, many, np.ones(len(many), int), classes=("background", "cell"))
    assert len(few.texts) == boxes.CROWD - 1 and len(crowd.texts) == 0
    assert len(set(boxes.object_colors([1, 1, 1], ("background", "cell")))) == 3
    assert len(set(boxes.object_colors([1, 1, 2], ("background", "cat", "dog")))) == len(set(boxes.object_colors([1, 1, 2]))) == 2
