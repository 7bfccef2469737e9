"""Rows of the lecture: its tasks (T), cropping by RoI Pool (F) and RoI Align (A), and their errata. Run by test_lecture.py."""
import numpy as np
from lecture_rows import close, image, rng, row
from scipy import ndimage

from numpyvision import check
from numpyvision.boxes import iou
from numpyvision.data.scenes import Scenes
from numpyvision.demos import box_descent
from numpyvision.models import classifier, faster_rcnn, fcn, mask_rcnn
from numpyvision.ops import roi, roi_pool, roi_samples

SLIDE_BOX = np.array([[0, 2.7, 1.3, 6.7, 6.3]])            # RoI Pool's, on a map of cells


def two_persons_and_a_cat():
    return Scenes(1, start=158)[0]


@row("T01")
def four_tasks_give_four_kinds_of_answers():
    sample, small = two_persons_and_a_cat(), dict(widths=(8, 8, 8, 8), rng=rng())
    images, sizes = sample.image[None], np.array([[128, 128]])
    assert classifier.Classifier(Scenes.classes, **small).predict(images).argmax(1).shape == (1,), "one label"
    labels = fcn.FCN(Scenes.semantic_classes, widths=(4, 4, 8, 8, 8), rng=rng()).predict(images)
    assert labels.shape == (1, 128, 128) and labels.max() < len(Scenes.semantic_classes), "a label for every pixel"
    (found,) = faster_rcnn.FasterRCNN(Scenes.classes, **small, channels=8).predict(images, sizes, score_threshold=0.0)
    assert len(found.labels) == len(found.boxes) == len(found.scores) > 0 and found.masks is None, "label, box, score"
    (found,) = mask_rcnn.MaskRCNN(Scenes.classes, **small, channels=8).predict(images, sizes, score_threshold=0.0)
    assert found.masks.shape == (len(found.boxes), 128, 128) and found.masks.dtype == bool, "and a mask"


@row("T01", "G01")
def semantic_answers_merge_what_instance_answers_separate():
    sample = two_persons_and_a_cat()
    assert [Scenes.classes[k] for k in sample.labels] == ["person", "person", "cat"]
    person = Scenes.classes.index("person")
    merged = sample.masks[sample.labels == person].any(axis=0)
    np.testing.assert_array_equal(sample.semantic == person, merged)
    assert sum(name in ("sky", "grass", "trees") for name in (Scenes.semantic_classes[k] for k in np.unique(sample.semantic))) == 3
    touching = np.zeros((2, 6, 8), bool)                   # two objects of one class side by side: one component in the label map
    touching[0, 1:5, 1:4], touching[1, 1:5, 4:7] = True, True
    assert ndimage.label(touching.any(axis=0))[1] == 1 and len(touching) == 2


@row("T04")
def things_are_counted_and_stuff_is_not():
    things = [name for name, isthing in zip(Scenes.semantic_classes, Scenes.isthing, strict=True) if isthing]
    assert tuple(things) == Scenes.classes[1:], "a detector's classes are the things: it has no way to answer stuff"
    for sample in (Scenes(6, seed=4)[i] for i in range(6)):
        assert all(Scenes.isthing[k] for k in sample.labels)
        stuff = [s["category"] for s in sample.segments if not s["isthing"]]
        assert len(set(stuff)) == len(stuff), "at most one segment a stuff class"
        assert all(s["isthing"] == Scenes.isthing[s["category"]] == (s["instance"] is not None) for s in sample.segments)
        assert set(np.unique(sample.semantic)) == {s["category"] for s in sample.segments}, "semantic labels: both; panoptic: both"
        assert set(np.unique(sample.panoptic)) == {s["id"] for s in sample.segments}


@row("F03")
def region_features_are_always_of_the_same_size():
    x = rng(1).normal(size=(1, 512, 15, 20))               # of a 3 x 480 x 640 image: stride 32 along both axes (the slide: W before H)
    assert 640 / x.shape[3] == 480 / x.shape[2] == 32
    rois = np.array([[0, 0, 0, 640, 480], [0, 100, 100, 101, 101], [0, 33.3, 200, 61.7, 470]])
    for size in (2, 7):
        assert roi_pool.roi_pool_forward(x, rois, size, 1 / 32)[0].shape == (3, 512, size, size)


@row("F04")
def the_slides_box_becomes_4_columns_and_5_rows_split_2_2_and_2_3():
    bins = roi_pool.pool_bins(SLIDE_BOX, (8, 9), (2, 2), 1.0, "slide")
    assert [bins.left[0].tolist(), bins.right[0].tolist()] == [[3, 5], [5, 7]]
    assert [bins.top[0].tolist(), bins.bottom[0].tolist()] == [[1, 3], [3, 6]]
    x = rng(2).normal(size=(1, 1, 8, 9))
    out, _ = roi_pool.roi_pool_forward(x, SLIDE_BOX, 2, 1.0, "slide")
    cut = x[0, 0, 1:6, 3:7]
    close(out[0, 0], [[cut[:2, :2].max(), cut[:2, 2:].max()], [cut[2:, :2].max(), cut[2:, 2:].max()]], 0)


@row("F05")
def roi_pool_is_piecewise_constant_in_the_box():
    x, shift = rng(3).normal(size=(1, 4, 9, 14)), np.linspace(0, 4, 401) + 0.005
    boxes = np.array([[0, 1.2 + t, 1.3, 5.2 + t, 6.3] for t in shift])
    for mode in ("slide", "caffe"):
        out, cache = roi_pool.roi_pool_forward(x, boxes, 2, 1.0, mode)
        jumps = shift[1:][(np.diff(out, axis=0) != 0).any(axis=(1, 2, 3))] - 0.005
        assert len(jumps) == 4 and not roi_pool.roi_pool_backward(rng(4).normal(size=out.shape), cache)[1].any()
        close(jumps, [0.3, 1.3, 2.3, 3.3], 0.011)          # where a corner at 1.2 + t or 5.2 + t crosses a half
    aligned, _ = roi.roi_align_forward(x, boxes, 2, 1.0)
    assert abs(np.diff(aligned, axis=0)).max() < 0.1, "RoI Align follows the box without a jump"


@row("F06")
def roi_pools_gradient_goes_to_the_winner_of_each_bin():
    x, dout = rng(5).normal(size=(1, 1, 8, 9)), rng(6).normal(size=(1, 1, 2, 2))
    _, cache = roi_pool.roi_pool_forward(x, SLIDE_BOX, 2, 1.0, "slide")
    dx, _ = roi_pool.roi_pool_backward(dout, cache)
    assert np.count_nonzero(dx) == 4
    close(dx.ravel()[cache.argmax.ravel()], dout.ravel(), 0)
    x[0, 0, 3, 5] = 100                                    # in the overlap of real code's left and right bins
    _, cache = roi_pool.roi_pool_forward(x, SLIDE_BOX, 2, 1.0, "caffe")
    close(roi_pool.roi_pool_backward(dout, cache)[0][0, 0, 3, 5], dout[0, 0, 0].sum())


def slide_sample(reduce="avg"):
    """Features, RoI and record of the slide's sample f_{6.5,5.8}, whose neighbours are 1, 2, 3, 4."""
    x = np.zeros((1, 1, 9, 10))
    x[0, 0, 5, 6:8], x[0, 0, 6, 6:8] = (1, 2), (3, 4)
    roi_row = np.array([0, 6.0, 5.3, 8.0, 7.3])
    return x, roi_row, roi_samples.roi_align_samples(x, roi_row, 1, 1.0, 1, reduce=reduce, dout=np.ones((1, 1, 1)))


@row("A01")
def bins_are_equal_and_each_has_regular_samples_then_mean_or_maximum():
    x = rng(7).normal(size=(1, 3, 9, 10))
    box = np.array([[0, 1.37, 2.21, 7.83, 8.05]])
    for reduce, put_together in (("avg", np.mean), ("max", np.max)):
        record = roi_samples.roi_align_samples(x, box[0], 2, 1.0, 2, reduce=reduce)
        assert record.x.size == 16, "2 x 2 bins of 2 x 2 samples"
        sizes = record.bins[..., 2:] - record.bins[..., :2]
        close(sizes, np.broadcast_to(sizes[0, 0], sizes.shape))
        out, _ = roi.roi_align_forward(x, box, 2, 1.0, 2, reduce=reduce)
        close(out[0], put_together(record.values, axis=(3, 4)))


@row("A02")
def a_sample_is_the_sum_of_hats_and_of_its_four_neighbours():
    f, where = rng(8).normal(size=(9, 10)), rng(9).uniform(0, (9, 8), size=(50, 2))
    for x, y in where:
        hats = np.maximum(0, 1 - abs(x - np.arange(10))) * np.maximum(0, 1 - abs(y - np.arange(9)))[:, None]
        record = roi_samples.roi_align_samples(f[None, None], np.array([0, x - 0.5, y - 0.5, x + 1.5, y + 1.5]), 1, 1.0, 1)
        close([record.x.item(), record.y.item()], [x, y])
        close(record.values.item(), (f * hats).sum())
        close(record.values.item(), (f[record.rows, record.columns] * record.weights).sum())


@row("A03")
def the_worked_sample():
    x, roi_row, record = slide_sample()
    close([record.x.item(), record.y.item()], [6.5, 5.8])
    assert list(zip(record.columns.ravel().tolist(), record.rows.ravel().tolist(), strict=True)) == [(6, 5), (7, 5), (6, 6), (7, 6)]
    close(record.weights.ravel(), [0.5 * 0.2, 0.5 * 0.2, 0.5 * 0.8, 0.5 * 0.8])
    close(roi.roi_align_forward(x, roi_row[None], 1, 1.0, 1)[0], [[[[3.1]]]])


@row("A04")
def the_gradient_flows_to_the_four_nearest_cells():
    x, roi_row, record = slide_sample()
    g = 1.7
    dx, _ = roi.roi_align_backward(np.full((1, 1, 1, 1), g), roi.roi_align_forward(x, roi_row[None], 1, 1.0, 1)[1])
    expected = np.zeros((9, 10))
    expected[5:7, 6:8] = [[0.1 * g, 0.1 * g], [0.4 * g, 0.4 * g]]
    close(dx[0, 0], expected)
    close(record.feature_gradient()[0] * g, expected)


@row("A05")
def and_we_can_backprop_to_box_coordinates():
    x, roi_row, record = slide_sample()
    f65, f75, f66, f76 = 1, 2, 3, 4
    close(record.dx.item(), -0.2 * f65 + 0.2 * f75 - 0.8 * f66 + 0.8 * f76)
    close([record.dx.item(), record.dy.item()], [1, 2])
    _, drois = roi.roi_align_backward(np.ones((1, 1, 1, 1)), roi.roi_align_forward(x, roi_row[None], 1, 1.0, 1)[1])
    close(drois, [[0, 0.5, 1, 0.5, 1]])                    # a sample in the middle follows both sides by half
    x, boxes = rng(10).normal(size=(2, 3, 8, 9)), np.array([[0, 1.13, 0.71, 9.37, 11.21], [1, 3.29, 2.83, 12.47, 7.61]])
    report = check.gradcheck(roi.roi_align_forward, roi.roi_align_backward, [x, boxes], dict(output_size=2, spatial_scale=0.5), rng=rng(11),
                             elementwise=True, fixed={"rois": [0]})
    assert report.ok, report


@row("A05")
def a_box_finds_its_object_through_the_crop_alone():
    _, true_box, descent = box_descent.descend_in_scene(2)
    first, last = iou.box_iou(descent.boxes[[0, -1]], true_box[None])[:, 0]
    assert abs(first - 0.3) < 1e-6 and last > 0.9


@row("A06")
def values_stand_at_the_cells_centres():
    f = rng(12).normal(size=(1, 1, 5, 5))
    identity = np.array([[0, 0, 0, 2, 2.0]])
    close(roi.roi_align_forward(f, identity, 2, 1.0, 1, aligned=True)[0][0, 0], f[0, 0, :2, :2])
    half = (f[0, 0, :2, :2] + f[0, 0, :2, 1:3] + f[0, 0, 1:3, :2] + f[0, 0, 1:3, 1:3]) / 4       # a half-pixel to the right and down
    close(roi.roi_align_forward(f, identity, 2, 1.0, 1, aligned=False)[0][0, 0], half)


@row("A07")
def features_are_aligned_to_the_box():
    y, z = np.arange(14)[:, None] + 0.5, np.arange(16) + 0.5

    def crop(function, dy, dz):
        """Box and picture (a ramp) moved together by (dy, dz)."""
        ramp = image(3 * (y - dy) - 2 * (z - dz))
        return function(ramp, np.array([[0, 3 + dz, 2.5 + dy, 8.3 + dz, 7 + dy]]), 2, 1.0)[0]
    for shift in [(0.3, -0.7), (1.9, 2.123), (-1.01, 3)]:
        close(crop(roi.roi_align_forward, *shift), crop(roi.roi_align_forward, 0, 0))
        assert abs(crop(roi_pool.roi_pool_forward, *shift) - crop(roi_pool.roi_pool_forward, 0, 0)).max() > 0.05


@row("E06")
def samples_lie_at_quarters_of_a_bin_and_the_label_counts_from_one():
    x, _, record = slide_sample()
    wide = roi_samples.roi_align_samples(x, np.array([0, 1.3, 1.1, 8.9, 7.7]), 2, 1.0, 2)
    inside = (wide.x - wide.bins[..., 0, None, None]) / (wide.bins[..., 2] - wide.bins[..., 0])[..., None, None]
    close(np.unique(np.round(inside, 9)), [0.25, 0.75])
    drawn = np.array([0.29, 0.33, 0.65, 0.69])             # where the slide has its dots
    assert abs(inside[..., None] - drawn).min() > 0.03
    close(record.values, 3.1)                              # f_{6.5,5.8} counted from one is cell (5.5, 4.8) counted from zero
    moved = roi_samples.roi_align_samples(x[:, :, 1:, 1:], np.array([0, 5.0, 4.3, 7.0, 6.3]), 1, 1.0, 1)
    close([moved.x.item(), moved.y.item(), moved.values.item()], [5.5, 4.8, 3.1])


@row("E07")
def real_roi_pool_overlaps_and_is_one_cell_larger():
    for n, caffe, slide in ((5, [(0, 3), (2, 5)], [(0, 2), (2, 5)]), (4, [(0, 2), (2, 4)], [(0, 2), (2, 4)])):
        for mode, extra, expected in (("caffe", 1, caffe), ("slide", 0, slide)):
            bins = roi_pool.pool_bins(np.array([[0, 0, 0, 1.0, n - extra]]), (99, 99), (2, 1), 1.0, mode)
            assert list(zip(bins.top[0].tolist(), bins.bottom[0].tolist(), strict=True)) == expected
    bins = roi_pool.pool_bins(np.array([[0, 0, 0, 1.0, 6]]), (99, 99), (3, 1), 1.0, "caffe")
    assert list(zip(bins.top[0].tolist(), bins.bottom[0].tolist(), strict=True)) == [(0, 3), (2, 5), (4, 7)]
    cells = {}
    for mode in ("slide", "caffe"):
        bins = roi_pool.pool_bins(SLIDE_BOX, (8, 9), (2, 2), 1.0, mode)
        cells[mode] = (int(bins.right[0, -1] - bins.left[0, 0]), int(bins.bottom[0, -1] - bins.top[0, 0]))
    assert cells == {"slide": (4, 5), "caffe": (5, 6)}
