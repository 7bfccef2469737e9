"""The lecture's rows of slow and Fast R-CNN (S, F): proposals, their labels, crops, targets, and what sharing the features changes."""
import numpy as np
from lecture_rows import close, rng, row

from numpyvision.boxes import coder
from numpyvision.data.sample import Sample
from numpyvision.data.scenes import Scenes
from numpyvision.metrics import cost, proposals
from numpyvision.models import region_proposals, slow_rcnn
from numpyvision.models.fast_rcnn import FastRCNN
from numpyvision.models.slow_rcnn import SlowRCNN
from numpyvision.proposals.selective_search import selective_search

CLASSES = ["background", "dog", "cat"]
TINY = dict(classes=CLASSES, widths=[8, 8, 8, 8], blocks=[1, 1, 1, 1], channels=8, hidden=8)
SIZES = np.array([[96, 96]])
DOG, CAT, DOG2 = [8, 40, 48, 80], [50, 30, 80, 62], [60, 64, 92, 92]       # the slide's picture: two dogs and a cat between them
GIVEN = np.array([[10, 38, 50, 78], [52, 32, 84, 62], [58, 66, 90, 94], [4, 2, 60, 24.]])


def scene(dtype=np.float64):
    return Sample(image=rng(1).random((3, 96, 96)).astype(dtype), boxes=np.array([DOG, CAT, DOG2], dtype),
                  labels=np.array([1, 2, 1]))


def both():
    """Slow and Fast R-CNN of the same weights: one network, two places for the crop."""
    models = [kind(**TINY, rng=np.random.default_rng(3), dtype=np.float64) for kind in (SlowRCNN, FastRCNN)]
    for (name, a), (other, b) in zip(*(m.named_params() for m in models), strict=True):
        assert name == other and (a == b).all()
    return models


@row("S01")
def proposals_from_selective_search_are_the_same_every_time_and_cover_the_objects():
    scenes = [Scenes(3, seed=2, size=(48, 48))[i] for i in range(3)]
    found = [selective_search(s.image, scales=(50,), colours=("hsv",), min_size=10) for s in scenes]
    again = selective_search(scenes[0].image, scales=(50,), colours=("hsv",), min_size=10)
    assert (found[0] == again).all()
    recall = proposals.recall_at(found, [s.boxes for s in scenes], [1, 1000])
    assert recall[0] < 0.5 <= recall[1]


@row("S02")
def proposals_are_positive_neutral_and_negative():
    """Against a 10 x 10 object, boxes of the same corner and width 10, 6, 5, 4, 3, 2.9: IoU 1, 0.6, 0.5, 0.4, 0.3, 0.29."""
    sample = Sample(image=np.zeros((3, 16, 16)), boxes=np.array([[0., 0, 10, 10]]), labels=np.array([1]))
    boxes = np.array([[0, 0, w, 10] for w in (10, 6, 5, 4, 3, 2.9)])
    assert region_proposals.categorise(boxes, sample).tolist() == [1, 1, 1, -1, -1, 0]
    assert region_proposals.without_neutral([boxes], [sample])[0][:, 2].tolist() == [10, 6, 5, 2.9]


@row("S03")
def crops_have_one_size_and_are_the_image_between_its_pixels():
    """The crop against bilinear interpolation written out; (N, 3, 224, 224) if you wish; a neutral box is never cropped."""
    image = rng(2).random((1, 3, 20, 30))
    x1, y1, x2, y2 = box = np.array([3.3, 2.1, 25.7, 17.4])
    rois = np.array([[0, *box]])
    crop, _ = slow_rcnn.crop_regions_forward(image, rois, 8)
    for i, j in ((0, 0), (3, 5), (7, 7)):
        y, x = y1 + (i + 0.5) / 8 * (y2 - y1) - 0.5, x1 + (j + 0.5) / 8 * (x2 - x1) - 0.5          # pixel i lies at i + 0.5
        a, b = int(y), int(x)
        rows = image[0, :, a] * (1 - (y - a)) + image[0, :, a + 1] * (y - a)
        close(crop[0, :, i, j], rows[:, b] * (1 - (x - b)) + rows[:, b + 1] * (x - b))
    assert slow_rcnn.crop_regions_forward(image, np.repeat(rois, 2, axis=0), 224)[0].shape == (2, 3, 224, 224)
    neutral = np.array([[8., 40, 48, 56]])                                                           # IoU 0.4 with the first dog
    model, sample = both()[0], scene()
    _, cache = model.forward(sample.image[None], [sample], SIZES, rng=rng(), proposals=[np.concatenate([GIVEN, neutral])])
    cropped = cache.crop.rois[:, 1:]
    assert (cropped == GIVEN[3]).all(axis=1).any() and not (cropped == neutral).all(axis=1).any()


@row("S04")
def negatives_have_a_class_and_no_box():
    for model in both():
        sample = scene()
        rois, labels, gt_deltas = model.box.targets([GIVEN], [sample], rng())
        assert (labels == 0).any() and (gt_deltas[labels == 0] == 0).all() and (gt_deltas[labels > 0] != 0).any()
        empty = Sample(image=sample.image, boxes=sample.boxes[:0], labels=sample.labels[:0])
        losses, cache = model.forward(sample.image[None], [empty], SIZES, rng=rng(), proposals=[GIVEN])
        dimages, _ = model.backward({"loss_box_reg": 1.0}, cache)
        assert losses["loss_box_reg"] == 0 and (dimages == 0).all() and losses["loss_classifier"] > 0


@row("S05")
def the_box_transform():
    t, p = np.array([[0.5, -0.2, np.log(2), 0]]), np.array([[40, 35, 60, 45.]])                      # (50, 40, 20, 10) by its centre
    close(coder.decode_boxes(t, p), [[40, 33, 80, 43]])                                              # (60, 38, 40, 10)
    close(coder.decode_boxes(coder.encode_boxes(np.array([DOG], float), p), p), [DOG])


@row("S06")
def slow_costs_the_crops_areas_over_the_images_area():
    sample, (slow, fast) = scene(), both()
    arguments = sample.image[None], [sample], SIZES
    _, slow_cache = slow.forward(*arguments, rng=rng(), proposals=[GIVEN])
    _, fast_cache = fast.forward(*arguments, rng=rng(), proposals=[GIVEN])
    R = len(slow_cache.crop.rois)
    assert R > 4 and cost.multiply_adds(slow_cache.backbone) * 96 * 96 == cost.multiply_adds(fast_cache.backbone) * R * 32 * 32
    assert cost.multiply_adds(slow_cache.box) == cost.multiply_adds(fast_cache.box) > 0


@row("S07", "F02")
def the_slides_targets_are_dog_cat_dog_background_in_both():
    sample = scene()
    all_targets = [m.box.targets(region_proposals.without_neutral([GIVEN], [sample]), [sample], rng()) for m in both()]
    rois, labels, _ = all_targets[0]
    of_region = [labels[(rois[:, 1:] == box).all(axis=1)].item() for box in GIVEN]
    assert [CLASSES[k] for k in of_region] == ["dog", "cat", "dog", "background"]
    for slow, fast in zip(*all_targets, strict=True):
        assert (slow == fast).all()


@row("F01")
def a_region_sees_beyond_its_box_in_fast_and_not_in_slow():
    image = scene().image[None]
    elsewhere = image.copy()
    elsewhere[..., 86:, 2:12] = 1 - elsewhere[..., 86:, 2:12]                                        # far from the region
    region = [np.array([[50., 8, 82, 40]])]
    slow, fast = ([m.outputs(x, region)[0] for x in (image, elsewhere)] for m in both())
    assert (slow[0] == slow[1]).all() and abs(fast[0] - fast[1]).max() > 0


@row("F07")
def boxes_are_regressed_class_by_class():
    for model in both():
        sample = scene()
        logits, deltas = model.outputs(sample.image[None], [GIVEN])
        assert logits.shape == (4, 3) and deltas.shape == (4, 2, 4)
        sample.labels[:] = 2
        _, cache = model.forward(sample.image[None], [sample], SIZES, rng=rng(), proposals=[GIVEN])
        _, grads = model.backward({"loss_box_reg": 1.0}, cache)
        w = grads["box"]["regressor"]["w"].reshape(-1, 2, 4)
        assert (w[:, 0] == 0).all() and (w[:, 1] != 0).any()
