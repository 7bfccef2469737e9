"""Transforms move everything in a sample together. The witness: an object that is drawn into the image must stay where its box, mask,
keypoints and labels say it is."""
import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from numpyvision.boxes import masks
from numpyvision.data import transforms as T
from numpyvision.data.sample import Sample


def scene(seed=0, height=60, width=80, dtype=np.float32):
    """Three bright rectangles on black, side by side, whose every truth is known; joints of an object are its corners and its centre."""
    rng = np.random.default_rng(seed)
    x1, y1 = width // 3 * np.arange(3) + rng.integers(0, 5, 3), rng.integers(0, height - 25, 3)
    boxes = np.stack([x1, y1, x1 + rng.integers(8, 17, 3), y1 + rng.integers(8, 25, 3)], axis=1).astype(np.float32)
    shapes = np.zeros((3, height, width), bool)
    keypoints = np.zeros((3, 17, 3), np.float32)
    for i, (a, b, c, d) in enumerate(boxes.astype(int)):
        shapes[i, b:d, a:c] = True
        keypoints[i, :5] = [[a, b, 2], [c, b, 2], [c, d, 1], [a, d, 2], [(a + c) / 2, (b + d) / 2, 2]]
    semantic = np.zeros((height, width), np.uint8)
    panoptic = np.zeros((height, width), np.int64)
    for i, shape in enumerate(shapes):
        semantic[shape], panoptic[shape] = 5 + i, 1_000_000 + i
    segments = [{"id": 1_000_000 + i, "category": 5 + i, "isthing": True, "instance": i} for i in range(3)]
    segments.append({"id": 0, "category": 0, "isthing": False, "instance": None})
    image = (shapes.any(axis=0) * rng.uniform(0.5, 1, (3, 1, 1))).astype(dtype)
    return Sample(image, boxes, np.array([1, 2, 1]), shapes, keypoints, iscrowd=np.array([False, True, False]),
                  difficult=np.array([True, False, False]), areas=shapes.sum(axis=(1, 2)).astype(np.float64), semantic=semantic,
                  panoptic=panoptic, segments=segments, image_id=3, path="x", scale=1.0)


ALL = [T.ResizeShortSide(30), T.ResizeShortSide(97), T.ResizeShortSide((20, 40, 80), max_size=90),
       T.HorizontalFlip(1.0), T.HorizontalFlip(0.0),
       T.RandomResizedCrop((40, 50)), T.RandomResizedCrop((90, 30), (0.1, 0.3)), T.ColorJitter(), T.Normalize(),
       T.Compose([T.HorizontalFlip(), T.ResizeShortSide(45), T.ColorJitter()])]


def arrays(sample):
    return {f.name: v for f in dataclasses.fields(sample) if isinstance(v := getattr(sample, f.name), np.ndarray)}


@pytest.mark.parametrize("transform", ALL, ids=str)
def test_a_transform_is_pure_repeatable_and_keeps_types(transform):
    sample, untouched = scene(), scene()
    for array in arrays(sample).values():
        array.flags.writeable = False
    out, again = transform(sample, np.random.default_rng(1)), transform(sample, np.random.default_rng(1))
    for name, array in arrays(untouched).items():
        assert np.array_equal(getattr(sample, name), array)
        assert getattr(out, name).dtype == array.dtype, name
        assert np.array_equal(getattr(out, name), getattr(again, name)), name
    assert sample.segments == untouched.segments and out.image_id == 3 and out.path == "x"
    assert out.image.flags.c_contiguous and len({len(arrays(out)[n]) for n in ("boxes", "labels", "masks", "keypoints", "areas")}) == 1


@pytest.mark.parametrize("transform", ALL, ids=str)
def test_a_sample_without_objects_or_without_truth_passes(transform):
    empty = T.select(scene(), [False] * 3)
    assert transform(empty, np.random.default_rng(0)).boxes.shape == (0, 4)
    bare = Sample(scene().image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    out = transform(bare, np.random.default_rng(0))
    assert out.masks is None and out.keypoints is None and out.segments is None and out.areas is None


@pytest.mark.parametrize("transform", ALL[:7], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_image_boxes_masks_and_maps_stay_together(transform, seed):
    out = transform(scene(seed), np.random.default_rng(seed))
    height, width = out.image.shape[1:]
    assert out.masks.shape[1:] == out.semantic.shape == out.panoptic.shape == (height, width)
    assert (out.boxes[:, :2] >= 0).all() and (out.boxes[:, 2:] <= [width, height]).all() and (out.boxes[:, 2:] > out.boxes[:, :2]).all()
    filled = masks.mask_to_box(out.masks)                              # the mask's own box: pixels round, boxes do not
    visible = out.masks.any(axis=(1, 2))
    assert np.abs(filled - out.boxes)[visible].max(initial=0) <= max(1.0, out.scale / 2 + 0.51)
    things, reach = out.semantic > 0, 2 * int(np.ceil(max(out.scale, 1))) + 3   # the light is where the label map says things are,
    deep = ndimage.minimum_filter(things, reach, mode="constant", cval=0)   # ... except near an outline, which resizing blurs
    free = ~ndimage.maximum_filter(things, reach, mode="constant", cval=1)
    colour = scene(seed).image.max(axis=(1, 2))[:, None]
    assert np.allclose(out.image[:, deep], colour, atol=1e-4) and np.allclose(out.image[:, free], 0, atol=1e-4)
    assert free.any() and (deep.any() or out.scale < 0.7 or not visible.any())
    assert np.array_equal(out.semantic > 0, out.panoptic > 0) and (out.panoptic[out.semantic == 5] == 1_000_000).all()
    for segment in out.segments:
        if segment["instance"] is not None:
            mask = out.masks[segment["instance"]]
            assert (out.panoptic[mask] == segment["id"]).all()


def test_resize_keeps_one_exact_scale():
    sample = scene(height=50, width=77)
    out = T.ResizeShortSide(20)(sample, None)
    assert out.scale == 0.4 and out.image.shape == (3, 20, 30)         # 77 * 0.4 = 30.8: the last 0.8 pixel is cut off
    assert np.allclose(out.boxes, np.clip(sample.boxes * 0.4, 0, [30, 20, 30, 20]))
    assert np.allclose(out.areas[0], sample.areas[0] * 0.16)
    labelled = out.keypoints[..., 2] > 0
    assert np.allclose(out.keypoints[labelled, :2], sample.keypoints[labelled, :2] * 0.4)
    assert T.ResizeShortSide(20, max_size=25)(sample, None).image.shape == (3, 16, 25)
    twice = T.ResizeShortSide(40)(out, None)
    assert twice.scale == 0.8


def test_resizing_by_whole_factors_is_known_by_hand():
    image = np.zeros((3, 2, 4), np.float64)
    image[0] = [[0, 1, 2, 3], [4, 5, 6, 7]]
    sample = Sample(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), semantic=image[0].astype(np.uint8))
    half = T.ResizeShortSide(1)(sample, None)
    # antialiased by half: triangle of weights 1 3 3 1 over the pixels that exist: (3*0 + 3*1 + 1*2) / 7 = 5/7 along x
    assert np.allclose(half.image[0], [[5 / 7 + 2, 16 / 7 + 2]]) and half.image.dtype == np.float64
    assert half.semantic.tolist() == [[5, 7]]                          # centres fall on the corner of four pixels: the lower right one
    double = T.ResizeShortSide(4)(sample, None)
    assert np.allclose(double.image[0, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    assert double.semantic[:, 0].tolist() == [0, 0, 4, 4] and double.semantic[3].tolist() == [4, 4, 5, 5, 6, 6, 7, 7]
    assert T.ResizeShortSide(2)(sample, None).image is not image


def test_flip_swaps_left_and_right_joints_and_is_its_own_inverse():
    sample = scene()
    flipped = T.mirror(sample)
    x1, y1, x2, y2 = sample.boxes[0]
    assert flipped.boxes[0].tolist() == [80 - x2, y1, 80 - x1, y2]
    assert flipped.keypoints[0, 2].tolist() == [80 - x2, y1, 2]        # the left eye (1), at the upper right, is now the right eye (2)
    assert (flipped.keypoints[:, 5:] == 0).all()                       # what was not labelled stays so, at 0
    assert np.array_equal(flipped.image, sample.image[:, :, ::-1])
    for name, array in arrays(T.mirror(flipped)).items():
        assert np.array_equal(array, getattr(sample, name)), name


def test_flip_happens_with_its_probability():
    sample, rng = scene(), np.random.default_rng(0)
    flips = sum(not np.array_equal(T.HorizontalFlip(0.3)(sample, rng).image, sample.image) for _ in range(400))
    assert 90 <= flips <= 150                                          # 120 +- 3 sigma


def test_crop_keeps_the_objects_whose_centre_is_inside():
    sample, transform = scene(), T.RandomResizedCrop((50, 30), (0.1, 0.5))
    kept = dropped = 0
    for seed in range(40):
        out = transform(sample, np.random.default_rng(seed))
        assert out.image.shape == (3, 50, 30)
        original = [i for i in range(3) if any(s["instance"] is not None and s["id"] == 1_000_000 + i for s in out.segments)]
        kept, dropped = kept + len(original), dropped + 3 - len(original)
        assert len(out.boxes) == len(original) and out.labels.tolist() == [[1, 2, 1][i] for i in original]
        assert out.difficult.tolist() == [[True, False, False][i] for i in original]
        centre_seen = out.keypoints[:, 4, 2] > 0                       # joint 4 is the centre of the box
        assert centre_seen.all()
        x, y, v = np.moveaxis(out.keypoints, -1, 0)
        assert ((0 <= x) & (x < 30) & (0 <= y) & (y < 50)).all()
        wanted = sample.keypoints[original, :5, :2] - sample.boxes[original, None, :2]   # joints from their box's corner, joint 0
        seen = (v[:, :5] > 0) & (v[:, :1] > 0)
        assert np.allclose((out.keypoints[:, :5, :2] - out.keypoints[:, :1, :2])[seen], (wanted * out.scale)[seen], atol=1e-3)
    assert kept > 10 and dropped > 10


def test_jitter_changes_what_it_says():
    sample = dataclasses.replace(scene(dtype=np.float64), image=np.random.default_rng(0).uniform(0.4, 0.6, (3, 60, 80)))
    rng = np.random.default_rng(0)
    same = T.ColorJitter(0, 0, 0)(sample, rng).image
    assert np.allclose(same, sample.image, atol=1e-12)
    brighter = T.ColorJitter(0.3, 0, 0)(sample, rng).image / sample.image
    assert np.ptp(brighter) < 1e-9 and abs(brighter[0, 0, 0] - 1) > 1e-3
    grey = lambda image: np.tensordot(T.LUMA, image, 1)
    contrast = T.ColorJitter(0, 0.3, 0)(sample, rng).image
    ratio = (contrast - grey(contrast).mean()) / (sample.image - grey(sample.image).mean())
    assert np.ptp(ratio) < 1e-6 and np.isclose(grey(contrast).mean(), grey(sample.image).mean())
    saturated = T.ColorJitter(0, 0, 0.3)(sample, rng).image
    assert np.allclose(grey(saturated), grey(sample.image)) and not np.allclose(saturated, sample.image, atol=1e-4)
    b, c, s = np.random.default_rng(7).uniform([0.8] * 3, [1.2] * 3)   # all three, one after the other
    steps = sample.image * b
    steps = grey(steps).mean() + c * (steps - grey(steps).mean())
    steps = grey(steps) + s * (steps - grey(steps))
    assert np.allclose(T.ColorJitter()(sample, np.random.default_rng(7)).image, steps, atol=1e-12)
    extreme = T.ColorJitter(0.9, 0.9, 0.9)(scene(), rng).image
    assert extreme.min() >= 0 and extreme.max() <= 1


def test_normalize_by_hand():
    out = T.Normalize((0.5, 0, 0), (0.5, 1, 2))(scene(), None).image
    image = scene().image
    assert np.allclose(out[0], image[0] * 2 - 1) and np.allclose(out[1], image[1]) and np.allclose(out[2], image[2] / 2)
