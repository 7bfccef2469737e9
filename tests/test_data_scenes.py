"""The synthetic world: the same scene everywhere, and a truth that agrees with itself and with the pixels."""
import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import numpyvision
from numpyvision.data import scene_layout, scene_raster, scene_shapes, scenes
from numpyvision.data.sample import Sample
from numpyvision.data.scene_people import KEYPOINTS
from numpyvision.data.scenes import Scenes

SIZES = [(128, 128), (96, 96), (256, 320), (33, 70)]


def digest(sample):
    h = hashlib.sha256()
    for a in (sample.image, sample.boxes, sample.labels, sample.masks, sample.keypoints, sample.areas, sample.semantic, sample.panoptic):
        h.update(np.ascontiguousarray(a).tobytes())
    return h.hexdigest()


@pytest.fixture(scope="module")
def world():
    """200 scenes."""
    ds = Scenes(200, seed=5)
    return ds, [ds[i] for i in range(len(ds))]


# --- the same scene everywhere ----------------------------------------------------------------------------------------------------------
def test_a_scene_does_not_depend_on_order_count_or_start():
    ds = Scenes(50, seed=3)
    forwards = [digest(ds[i]) for i in range(6)]
    assert [digest(ds[i]) for i in reversed(range(6))] == forwards[::-1]
    assert digest(Scenes(6, seed=3)[4]) == forwards[4]
    assert digest(Scenes(1, seed=3, start=4)[0]) == forwards[4]
    assert digest(ds[-46]) == forwards[4] and digest(ds[np.int64(4)]) == forwards[4]
    assert len(set(forwards)) == 6 and digest(Scenes(50, seed=4)[0]) != forwards[0]


def test_a_scene_is_the_same_in_another_process():
    code = ("import hashlib, sys; from tests.test_data_scenes import digest; from numpyvision.data.scenes import Scenes;"
            "print(*[digest(Scenes(9, seed=11)[i]) for i in (7, 2)])")
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    env = {**os.environ, "PYTHONHASHSEED": "123", "PYTHONPATH": root}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=root).stdout.split()
    assert out == [digest(Scenes(9, seed=11)[i]) for i in (7, 2)]


def test_a_sample_is_fresh():
    ds = Scenes(3)
    first = ds[1]
    before = digest(first)
    for a in (first.image, first.boxes, first.masks, first.keypoints, first.semantic, first.panoptic):
        a[...] = 0
    assert digest(ds[1]) == before


# --- the truth --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", SIZES)
def test_shapes_and_dtypes(size):
    ds = Scenes(12, seed=1, size=size)
    for s in ds:
        g, (h, w) = len(s), size
        assert isinstance(s, Sample) and s and s.size == size
        expected = {"image": ((3, h, w), np.float32), "boxes": ((g, 4), np.float32), "labels": ((g,), np.int64), "masks": ((g, h, w), bool),
                    "keypoints": ((g, 17, 3), np.float32), "areas": ((g,), np.float64), "semantic": ((h, w), np.uint8),
                    "panoptic": ((h, w), np.int64)}
        for name, (shape, dtype) in expected.items():
            a = getattr(s, name)
            assert a.shape == shape and a.dtype == dtype and a.flags.c_contiguous, name
        assert 0 <= s.image.min() and s.image.max() <= 1
        np.testing.assert_array_equal(s.image * np.float32(255), np.round(s.image * 255))                  # 8-bit colours


def test_boxes_are_tight_and_areas_count_the_mask(world):
    for s in world[1]:
        for box, mask, area in zip(s.boxes, s.masks, s.areas, strict=True):
            ys, xs = np.nonzero(mask)
            np.testing.assert_array_equal(box, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert area == mask.sum() >= scenes.MIN_AREA


def test_masks_semantic_and_panoptic_agree(world):
    ds, samples = world
    for s in samples:
        assert s.masks.sum(axis=0).max(initial=0) <= 1                                                     # disjoint
        ids = [segment["id"] for segment in s.segments]
        assert len(set(ids)) == len(ids) and set(np.unique(s.panoptic)) == set(ids) and 0 not in ids       # unique, present, no void
        stuff = [segment["category"] for segment in s.segments if not segment["isthing"]]
        assert len(set(stuff)) == len(stuff)
        assert [seg["instance"] for seg in s.segments if seg["isthing"]] == list(range(len(s)))
        for segment in s.segments:
            region = s.panoptic == segment["id"]
            assert ds.isthing[segment["category"]] == segment["isthing"]
            assert np.all(s.semantic[region] == segment["category"])
            if segment["isthing"]:
                np.testing.assert_array_equal(region, s.masks[segment["instance"]])
                assert s.labels[segment["instance"]] == segment["category"]
            else:
                assert segment["instance"] is None


def test_class_names():
    ds = Scenes(1)
    assert ds.classes[0] == "background" and {"person", "cat", "dog", "car"} < set(ds.classes) and 6 <= len(ds.classes) <= 7
    assert ds.semantic_classes[:len(ds.classes)] == ds.classes and {"sky", "grass", "water", "trees"} < set(ds.semantic_classes)
    assert len(ds.isthing) == len(ds.semantic_classes) and sum(ds.isthing) == len(ds.classes) - 1 and not ds.isthing[0]
    assert ds.keypoint_names == KEYPOINTS and len(set(KEYPOINTS)) == 17 and len(ds) == 1 and ds.name == "scenes"


def test_the_classes_are_balanced_and_a_scene_has_up_to_six_things(world):
    ds, samples = world
    share = np.bincount(np.concatenate([s.labels for s in samples]), minlength=len(ds.classes))[1:]
    share = share / share.sum()
    assert share.min() > 0.10 and share.max() < 0.24, dict(zip(ds.classes[1:], share, strict=True))
    counts = np.bincount([len(s) for s in samples], minlength=7)
    assert len(counts) == 7 and counts[0] <= 8 and (counts[1:6] > 5).all()
    seen = np.unique(np.concatenate([np.unique(s.semantic) for s in samples]))
    np.testing.assert_array_equal(seen, np.arange(1, len(ds.semantic_classes)))


def test_things_come_small_and_large(world):
    sides = np.concatenate([(s.boxes[:, 2:] - s.boxes[:, :2]).max(axis=1) for s in world[1]])
    assert sides.min() < 20 and sides.max() > 80 and 30 < np.median(sides) < 50
    areas = np.concatenate([s.areas for s in Scenes(60, seed=2, size=(256, 256))])
    small, large = (areas < 32 ** 2).mean(), (areas >= 96 ** 2).mean()           # COCO's bands: at 128 x 128 nothing reaches its "large"
    assert small > 0.1 and large > 0.005 and 1 - small - large > 0.3


def test_a_scene_without_things():
    ds = Scenes(400, seed=0)
    empty = next(s for s in ds if len(s) == 0)
    assert empty.boxes.shape == (0, 4) and empty.masks.shape == (0, 128, 128) and empty.keypoints.shape == (0, 17, 3)
    assert empty and all(not segment["isthing"] for segment in empty.segments)


def test_what_is_mostly_hidden_is_taken_out(monkeypatch):
    """Ask for wholly visible things: then only such remain, and those that remain look as before."""
    ds = Scenes(40, seed=8)
    usual = [len(s) for s in ds]
    monkeypatch.setattr(scenes, "MIN_VISIBLE", 1.0)
    strict = [len(s) for s in ds]
    assert all(a >= b for a, b in zip(usual, strict, strict=True)) and sum(usual) > sum(strict) > 0
    assert scenes._fair(np.array([0, 30]), np.array([0, 30]), 1) and not scenes._fair(np.array([0, 30]), np.array([0, 31]), 1)
    assert not scenes._fair(np.array([0, 23]), np.array([0, 23]), 1)


# --- joints -----------------------------------------------------------------------------------------------------------------------------
def alone(index, ds):
    """The persons of a scene, each painted alone: (joints, mask of its whole outline) one by one, in the sample's order."""
    scene = scene_layout.compose(scene_shapes.Dice(np.random.default_rng([ds.seed, index])), ds.size)
    for actor in scene.actors:
        if actor.joints:
            yield actor.joints, scene_raster.render(actor.drawing, ds.size, num_claims=scene_layout.FIRST_THING + 6)[1] >= 0


def test_joints_lie_inside_the_persons_outline():
    ds, seen = Scenes(60, seed=6, size=(256, 256)), 0
    for i in range(len(ds)):
        for joints, whole in alone(i, ds):
            grown = np.pad(whole, 1)
            grown = np.any([np.roll(grown, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0)[1:-1, 1:-1]
            assert set(joints) == set(KEYPOINTS)
            for name, (x, y, _) in joints.items():
                if 0 <= x < 256 and 0 <= y < 256:
                    assert grown[int(y), int(x)], (i, name)
                    seen += 1
    assert seen > 300


def test_visibility(world):
    ds, samples = world
    person, total = ds.classes.index("person"), np.zeros(3)
    for s in samples:
        assert not s.keypoints[s.labels != person].any()
        for k, mask in zip(s.keypoints[s.labels == person], s.masks[s.labels == person], strict=True):
            x, y, v = k.T
            assert set(v) <= {0, 1, 2} and not k[v == 0].any()
            assert ((x[v > 0] >= 0) & (x[v > 0] < 128) & (y[v > 0] >= 0) & (y[v > 0] < 128)).all()
            total += np.bincount(v.astype(int), minlength=3)
            near = np.pad(mask, 2)
            for xx, yy in k[v == 2, :2].astype(int):
                assert near[yy:yy + 5, xx:xx + 5].any(), "a visible joint has pixels of its person beside it"
    assert (total > 0).all() and total[2] > total[1]


def test_a_joint_under_a_later_part_is_hidden_and_one_outside_is_absent():
    joints = {name: (2.5, 3.5, 4) for name in KEYPOINTS}
    joints["nose"], joints["left_eye"], joints["left_wrist"] = (0.5, 0.5, 4), (-0.5, 1.0, 4), (1.5, 8.0, 4)
    top = np.full((8, 6), 14, np.int32)                                          # the limb itself: part 4 of a person that begins at 10
    top[0, 0] = 16                                                               # something painted later
    k = scenes._keypoints(joints, 10, top)
    np.testing.assert_array_equal(k[0], [0.5, 0.5, 1])
    np.testing.assert_array_equal(k[KEYPOINTS.index("left_eye")], 0)
    np.testing.assert_array_equal(k[KEYPOINTS.index("left_wrist")], 0)
    np.testing.assert_array_equal(k[KEYPOINTS.index("right_hip")], [2.5, 3.5, 2])


def test_a_person_who_looks_at_us_has_the_left_side_at_our_right(world):
    ds, samples = world
    checked = 0
    for s in samples:
        for k in s.keypoints[s.labels == ds.classes.index("person")]:
            left, right = (k[[KEYPOINTS.index(f"{side}_{part}") for part in ("eye", "shoulder", "hip")]] for side in ("left", "right"))
            if (left[0, 2], right[0, 2]) == (2, 2):                              # both eyes are seen: a front view
                assert (left[:, 0] > right[:, 0]).all()
                checked += 1
    assert checked > 20


# --- the rasteriser ---------------------------------------------------------------------------------------------------------------------
def test_coverage_by_hand():
    """A rectangle from (0.25, 0.5) to (2.5, 2): pixel i covers [i, i + 1)."""
    polygon = np.array([(0.25, 0.5), (2.5, 0.5), (2.5, 2.0), (0.25, 2.0)])
    expected = np.outer([0.5, 1.0, 0.0], [0.75, 1.0, 0.5, 0.0])
    np.testing.assert_allclose(scene_raster.coverage(polygon, 0, 3, 0, 4), expected, atol=1e-12)
    np.testing.assert_allclose(scene_raster.coverage(polygon[::-1], 0, 3, 0, 4), expected, atol=1e-12)     # either direction
    np.testing.assert_allclose(scene_raster.coverage(polygon, 1, 3, 1, 3), expected[1:, 1:3], atol=1e-12)  # a window cuts, nothing more


def painted(polygons, size, claims=None):
    drawing = scene_raster.Drawing()
    for k, polygon in enumerate(polygons):
        claim = k + 1 if claims is None else claims[k]
        drawing.add(np.array(polygon, float), (1., 0., 0., 0., 1., 0.), scene_raster.flat((1.0, 0.5, 0.0)), claim)
    return scene_raster.render(drawing, size, num_claims=len(polygons) + 1)


@pytest.mark.parametrize("mode", ["numpy", "compiled"])
def test_a_disc_covers_its_area_and_the_front_part_owns_the_overlap(mode):
    with numpyvision.use(mode):
        disc = scene_shapes.DISC.points * 9.3 + (15.2, 14.7)
        _, top, full = painted([disc, [(0, 0), (15, 0), (15, 30), (0, 30)], [(-9, -9), (-1, -9), (-1, -1)]], (30, 32))
        assert abs(full[1] - math.pi * 9.3 ** 2) < 8 and full[2] == 15 * 30 and full[3] == 0
        assert (top[:, :15] == 1).all() and (top[15, 15:24] == 0).all() and top[0, 31] == -1
        square = [(2, 2), (6, 2), (6, 6), (2, 6)]
        _, top, full = painted([square, [(4, 2), (8, 2), (8, 6), (4, 6)]], (10, 10), claims=[2, 2])
        assert full[2] == 24                                                     # two parts of one claim: their union, counted once
        _, top, full = painted([square, square], (10, 10), claims=[1, 0])
        assert (top[2:6, 2:6] == 0).all()                                        # what claims nothing hides nothing


@pytest.mark.parametrize("size", [(128, 128), (64, 100)])
def test_the_readable_renderer_paints_the_same_picture(size):
    ds = Scenes(8, seed=21, size=size)
    fast = [ds[i] for i in range(8)]
    with numpyvision.use("numpy"):
        slow = [ds[i] for i in range(8)]
    for a, b in zip(fast, slow, strict=True):
        assert digest(a) == digest(b)


def test_smooth_passes_through_its_points_and_a_limb_has_its_width():
    points = np.array([(0, 0), (4, 0), (5, 3), (1, 4.0)])
    np.testing.assert_allclose(scene_shapes.smooth(points, 4).points[::4], points)
    ring = scene_shapes.smooth(scene_shapes.DOT.points, 4).points                # ten points of a circle: the curve stays on it
    middle = (9 * math.cos(math.pi / 10) - math.cos(3 * math.pi / 10)) / 8       # half-way between two of them, from the formula
    np.testing.assert_allclose(np.hypot(*ring.T).min(), middle, atol=1e-12)
    np.testing.assert_allclose(np.hypot(*ring.T).max(), 1, atol=1e-12)
    limb = scene_shapes.limb((0, 0), (10, 0), 4, 2).points
    np.testing.assert_allclose([limb[:, 0].min(), limb[:, 0].max(), limb[:, 1].min(), limb[:, 1].max()], [-2, 11, -2, 2], atol=1e-12)


def test_noise_tiles_wrap_and_stay_within_one():
    tiles = scene_raster.tiles()
    assert tiles.shape == (6, 128, 128) and (np.abs(tiles).max(axis=(1, 2)) == 1).all() and np.abs(tiles.mean(axis=(1, 2))).max() < 0.05
    np.testing.assert_array_equal(tiles * 4096, np.round(tiles * 4096))


# --- errors -----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bad, message", [
    (dict(count=-1), "count"), (dict(count=2.5), "count"), (dict(count=True), "count"), (dict(count=3, seed=-4), "seed"),
    (dict(count=3, seed="x"), "seed"), (dict(count=3, start=-1), "start"), (dict(count=3, size=128), "size"),
    (dict(count=3, size=(128,)), "size"), (dict(count=3, size=(128, 8)), "32"), (dict(count=3, size=(128, 64.5)), "size")])
def test_wrong_arguments_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        Scenes(**bad)


@pytest.mark.parametrize("i", [5, -6, 99])
def test_an_index_outside_is_an_index_error(i):
    with pytest.raises(IndexError, match="scenes 0 to 4"):
        Scenes(5)[i]
    assert len(list(Scenes(2))) == 2 and list(Scenes(0)) == []
