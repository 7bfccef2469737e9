"""`Scenes`: the synthetic world. Endless small pictures with exact truth, each a pure function of (seed, index).

Shapes here: G objects of a scene, H W its size. Labels 1..6 are the things of `classes`; the semantic map continues them with the stuff, so
that a thing's label is also its semantic class. How a scene comes to be: `scene_layout` decides who stands where; `scene_people`,
`scene_animals`, `scene_vehicles` and `scene_stuff` draw them with polygons; `scene_raster` turns polygons into pixels and says who
owns which.
"""
import operator

import numpy as np

from numpyvision.data import scene_layout as layout
from numpyvision.data import scene_raster as raster
from numpyvision.data.sample import Sample
from numpyvision.data.scene_people import KEYPOINTS
from numpyvision.data.scene_shapes import Dice

MIN_VISIBLE = 0.4        # a thing of which less is to be seen is taken out of the scene: nobody could be asked to find it
MIN_AREA = 24            # nor one of fewer visible pixels than this


class Scenes:
    """A data set of `count` scenes: number i is scene `start + i` of this seed, the same on every machine and in any order of access.

    size (H, W) from 32 on. Every sample has boxes, labels, masks, keypoints (persons; zero for others), areas, semantic and panoptic maps.
    """

    name = "scenes"
    classes = ("background", *layout.THINGS)
    semantic_classes = (*classes, *layout.STUFF)                                 # 0 never occurs: every pixel is some thing or some stuff
    isthing = tuple(0 < k <= len(layout.THINGS) for k in range(len(semantic_classes)))
    keypoint_names = KEYPOINTS

    def __init__(self, count, seed=0, size=(128, 128), start=0):
        self.count, self.seed = _whole("count", count), _whole("seed", seed)
        self.start = _whole("start", start)
        if not isinstance(size, (tuple, list)) or len(size) != 2:
            raise ValueError(f"size must be (height, width), got {size!r}; for a square of 128 pixels give (128, 128)")
        self.size = tuple(_whole("size", side) for side in size)
        if min(self.size) < 32:
            raise ValueError(f"size must be at least (32, 32), got {self.size}: objects would be a few pixels small")

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        """Scene i as a Sample with fresh arrays."""
        i = operator.index(i)
        if not -self.count <= i < self.count:
            raise IndexError(f"scene {i} does not exist: this data set has scenes 0 to {self.count - 1}")
        return render_scene(self.seed, self.start + i % self.count, self.size)

    def __repr__(self):
        return f"Scenes(count={self.count}, seed={self.seed}, size={self.size}, start={self.start})"


def _whole(name, value):
    """value as an int >= 0, or a ValueError that names it."""
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, 0 or more, got {value!r}")
    return number


def render_scene(seed, index, size):
    """Draw scene `index` of `seed` -> Sample. Things that are hidden too much are taken out, and it is painted again without them."""
    dice = Dice(np.random.default_rng([seed, index]))
    scene = layout.compose(dice, size)
    actors = scene.actors
    while True:
        drawing = raster.Drawing()
        drawing.extend(scene.backdrop)
        first_parts = [drawing.extend(actor.drawing) for actor in actors]
        claims = np.array(drawing.claims)
        picture, top, full = raster.render(drawing, size, scene.tint, scene.grain, layout.FIRST_THING + 6)
        owner = claims[top]                                                      # (H, W) the claim that owns each pixel
        visible = np.bincount(owner.ravel(), minlength=len(full))
        fair = [actor.label == 0 or _fair(visible, full, _claim(actor)) for actor in actors]
        if all(fair):
            return _truth(picture, top, owner, visible, actors, first_parts, index)
        actors = [actor for actor, keep in zip(actors, fair, strict=True) if keep]


def _claim(actor):
    """The number under which a thing owns pixels (its parts all have it, except those that claim nothing)."""
    return max(actor.drawing.claims)


def _fair(visible, full, claim):
    return visible[claim] >= max(MIN_AREA, MIN_VISIBLE * full[claim])


def _truth(picture, top, owner, visible, actors, first_parts, index):
    """Everything the Sample says, read off the ownership map."""
    things = [(actor, part) for actor, part in zip(actors, first_parts, strict=True) if actor.label]
    claims = np.array([_claim(actor) for actor, _ in things], np.int64)
    labels = np.array([actor.label for actor, _ in things], np.int64)
    masks = owner[None] == claims[:, None, None]                                 # (G, H, W)
    category = np.zeros(len(visible), np.uint8)                                  # claim -> semantic class
    category[1:layout.FIRST_THING] = np.arange(len(layout.STUFF)) + len(layout.THINGS) + 1
    category[claims] = labels
    segments = [{"id": c, "category": int(category[c]), "isthing": False, "instance": None} for c in range(1,
                layout.FIRST_THING) if visible[c]]
    segments += [{"id": int(c), "category": int(label), "isthing": True, "instance": row}
                 for row, (c, label) in enumerate(zip(claims, labels, strict=True))]
    keypoints = np.zeros((len(things), len(KEYPOINTS), 3), np.float32)
    for row, (actor, first) in enumerate(things):
        if actor.joints:
            keypoints[row] = _keypoints(actor.joints, first, top)
    return Sample(image=picture / np.float32(255), boxes=_boxes(masks), labels=labels, masks=masks, keypoints=keypoints,
                  areas=visible[claims].astype(np.float64), semantic=category[owner], panoptic=owner.astype(np.int64), segments=segments,
                  image_id=index)


def _boxes(masks):
    """Tight half-open boxes (G, 4) of masks (G, H, W) that are not empty."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        x, y = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        box[:] = x[0], y[0], x[-1] + 1, y[-1] + 1
    return boxes


def _keypoints(joints, first, top):
    """(17, 3): x, y and 2 where the joint shows, 1 where a part painted later (of this or another object) owns its pixel, all 0 outside."""
    out = np.zeros((len(KEYPOINTS), 3), np.float32)
    height, width = top.shape
    for row, name in enumerate(KEYPOINTS):
        x, y, part = joints[name]
        if 0 <= x < width and 0 <= y < height:
            out[row] = x, y, 1 if top[int(y), int(x)] > first + part else 2
    return out
