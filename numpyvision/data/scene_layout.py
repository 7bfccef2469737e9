"""Where things are: one scene's landscape, and who stands in it.

Shapes here: H W size of the picture, u = min(H, W) / 128 pixels the scene's unit. The lower in the picture, the nearer
and larger is what stands there; objects are painted from far to near.
"""
from typing import NamedTuple

import numpy as np

from numpyvision.data import scene_stuff as stuff
from numpyvision.data.scene_animals import cat, dog, flying_bird, standing_bird
from numpyvision.data.scene_people import person
from numpyvision.data.scene_raster import Drawing
from numpyvision.data.scene_shapes import mix, vary
from numpyvision.data.scene_vehicles import boat, car

THINGS = ("person", "cat", "dog", "car", "bird", "boat")
STUFF = ("sky", "grass", "water", "trees", "road")
SKY, GRASS, WATER, TREES, ROAD = range(1, 6)                                     # what the stuff claims
FIRST_THING = 6                                                                  # thing i of a scene claims FIRST_THING + i


class Kind(NamedTuple):
    """How one kind of thing is drawn and how much room it takes, in its own units around its foot."""

    draw: object
    pixels: float            # its size in the foreground of a 128 x 128 picture
    left: float
    right: float
    top: float


KINDS = {
    "person": Kind(person, 84, 0.22, 0.22, 1.0), "cat": Kind(cat, 50, 0.45, 0.55, 1.0), "dog": Kind(dog, 54, 0.5, 0.65, 1.0),
    "car": Kind(car, 88, 0.5, 0.5, 0.55), "boat": Kind(boat, 70, 0.46, 0.5, 0.95), "standing bird": Kind(standing_bird, 34, 0.45, 0.6, 1.0),
    "flying bird": Kind(flying_bird, 30, 0.5, 0.5, 0.5),
}


class Land(NamedTuple):
    """Where the ground, the water and the road of a scene are (rows, pixels)."""

    horizon: float
    ground: tuple            # (first, last) row that feet may stand on
    lake: tuple | None       # (first, last) row of open water
    lane: tuple | None       # (first, last) row of the road that wheels may stand on
    zoom: float


class Actor(NamedTuple):
    """One object or tree: its drawing, the row of its foot (the depth order), its label (0 a tree) and its joints."""

    drawing: Drawing
    foot: float
    label: int
    joints: dict


class Scene(NamedTuple):
    """Everything that `render` and the truth need."""

    backdrop: Drawing
    actors: list
    tint: tuple
    grain: tuple


def compose(dice, size):
    """One scene: dice -> landscape, trees and 0 to 6 things, from far to near."""
    u = min(size) / 128
    mood = dice.pick(stuff.MOODS)
    backdrop, land, light = _landscape(dice, size, u, mood)
    actors, taken = [], []
    for n in range(_count(dice)):
        _place_thing(dice, size, u, land, light, actors, taken, FIRST_THING + n)
    green = dice.pick(stuff.LEAF_GREENS if dice.chance(0.8) else stuff.AUTUMN)
    for _ in range(int(dice.between(0.3, 5))):
        _place_tree(dice, size, u, land, light, vary(green, dice, 0.06), actors, taken)
    actors.sort(key=lambda actor: actor.foot)
    return Scene(backdrop, actors, mood.tint, (int(128 * dice()), int(128 * dice())))


def _count(dice):
    """How many things: none in one scene of a hundred, else 1 to 6."""
    return int(np.searchsorted((0.01, 0.16, 0.40, 0.64, 0.82, 0.93), dice(), side="right"))


# --- the landscape ----------------------------------------------------------------------------------------------------------------------
def _landscape(dice, size, u, mood):
    """Sky, hills, wood, lake, meadow, road -> drawing, Land, direction of the light."""
    height, width = size
    drawing = Drawing()
    horizon = height * dice.between(0.28, 0.42)
    side = stuff.sky(drawing, mood, dice, size, horizon + 8 * u, u, SKY)
    light = stuff.light_of(side, dice)
    green = vary(dice.pick(stuff.GREENS), dice, 0.04)
    far, near = mix(mix(green, mood.sky_low, mood.haze), (1, 1, 0.85), 0.08), mix(green, (0.13, 0.32, 0.16), 0.22)
    hills = stuff.ridge(dice, width, horizon, 5 * u)
    stuff.meadow(drawing, dice, hills - (0, 4 * u * dice()), height, mix(far, mood.sky_low, 0.35), far, GRASS, 0.06)
    front = stuff.ridge(dice, width, horizon + 5 * u, 2 * u)
    if dice.chance(0.65):
        leaves = mix(vary(dice.pick(stuff.LEAF_GREENS), dice), mood.sky_low, mood.haze * 0.6)
        stuff.tree_line(drawing, dice, front, u, leaves, 3 * u, TREES)
    stuff.meadow(drawing, dice, front, height, mix(far, green, 0.45), near, GRASS)
    plan, lake, lane = dice(), None, None
    ground = (float(front[:, 1].max()) + 4 * u, height - 2 * u)
    if plan < 0.30:                                                              # a lake between the hills and us
        shore_y = horizon + (height - horizon) * dice.between(0.38, 0.62)
        bank = stuff.ridge(dice, width, shore_y, 3 * u)
        stuff.water(drawing, mood, dice, front + (0, 3 * u), height, u, WATER)
        stuff.meadow(drawing, dice, bank, height, mix(far, green, 0.7), near, GRASS)
        stuff.shore(drawing, bank, u)
        lake, ground = (ground[0] + 4 * u, float(bank[:, 1].min()) - 2 * u), (float(bank[:, 1].max()) + 5 * u, ground[1])
    elif plan < 0.58:                                                            # water at our feet
        bank = stuff.ridge(dice, width, horizon + (height - horizon) * dice.between(0.45, 0.66), 3 * u)
        stuff.water(drawing, mood, dice, bank, height, u, WATER)
        stuff.shore(drawing, bank, u)
        lake, ground = (float(bank[:, 1].max()) + 7 * u, height - 3 * u), (ground[0], float(bank[:, 1].min()) - 2 * u)
    if dice.chance(0.55) and ground[1] - ground[0] > 16 * u:
        thick = min((ground[1] - ground[0]) * dice.between(0.3, 0.45), 26 * u)
        y = dice.between(ground[0] + 0.6 * thick, ground[1] - 0.5 * thick)
        stuff.road(drawing, dice, size, y, thick, u, ROAD)
        lane = (y - 0.05 * thick, y + 0.42 * thick)
    land = Land(horizon, ground, lake, lane, dice.between(0.8, 1.2))
    for top, bottom in _grass_bands(land):
        stuff.tufts(drawing, dice, size, top, bottom, u, near, int(dice.between(4, 16)))
    return drawing, land, light


def _grass_bands(land):
    """The rows of the ground above and below the road, where flowers may grow."""
    if land.lane is None:
        return [land.ground]
    thick = (land.lane[1] - land.lane[0]) / 0.47
    bands = [(land.ground[0], land.lane[0] - 0.55 * thick), (land.lane[1] + 0.2 * thick, land.ground[1])]
    return [band for band in bands if band[1] - band[0] > 0.2 * thick]


# --- who stands in it -------------------------------------------------------------------------------------------------------------------
def _pick_kind(dice, land):
    """A kind of thing that this land has a place for; the weights balance the six classes over many scenes."""
    kinds = ["person", "cat", "dog", "bird"]
    weights = [1.0, 1.0, 1.0, 0.9]
    kinds.append("car"); weights.append(1.75 if land.lane else 0.4)
    if land.lake:
        kinds.append("boat"); weights.append(2.1)
    mark = dice() * sum(weights)
    for kind, weight in zip(kinds, weights, strict=True):
        mark -= weight
        if mark < 0:
            return kind
    return "person"


def _place_thing(dice, size, u, land, light, actors, taken, claim):
    """Find room for one thing and draw it. Some overlap is wanted; a thing that finds no room in a dozen tries stays away."""
    height, width = size
    name = _pick_kind(dice, land)
    label = THINGS.index(name) + 1
    if name == "bird":
        name = "flying bird" if dice.chance(0.6) else "standing bird"
    kind = KINDS[name]
    limit = 0.6 if dice.chance(0.5) else 0.08
    for _ in range(12):
        foot = _foot(dice, name, land, height)
        depth = (foot - land.horizon) / (height - land.horizon)
        near = 0.26 + 0.74 * depth if name != "flying bird" else dice.between(0.42, 1.1)
        scale = max(kind.pixels * near * land.zoom * dice.between(0.85, 1.15), 14) * u
        x = width * dice.between(0.04, 0.96)
        low = foot + (0.35 * scale if name == "flying bird" else 0.0)
        box = (x - kind.left * scale, foot - kind.top * scale, x + kind.right * scale, low)
        inside = (min(box[2], width) - max(box[0], 0)) / (box[2] - box[0])
        if inside > 0.68 and all(_overlap(box, other) <= limit for other in taken):
            facing = 1 if box[0] < 0 else -1 if box[2] > width else dice.sign()  # at the picture's edge it looks inwards: we see its head
            figure = kind.draw(dice, x, foot, scale, facing, light, claim)
            actors.append(Actor(figure.drawing, foot, label, figure.joints))
            taken.append(box)
            return


def _foot(dice, name, land, height):
    """The row on which this kind of thing stands, swims or flies."""
    if name == "flying bird":
        return dice.between(0.08, 0.95) * land.horizon
    if name == "boat":
        return dice.between(*land.lake)
    if name == "car" and land.lane:
        return dice.between(*land.lane)
    first, last = land.ground
    if dice.chance(0.12) and last > height - 4:
        return last + 0.05 * height                                              # feet below the picture's edge
    return first + (last - first) * dice() ** 0.8


def _overlap(box, other):
    """Intersection over the smaller box."""
    w, h = min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / min((box[2] - box[0]) * (box[3] - box[1]), (other[2] - other[0]) * (other[3] - other[1]))


def _place_tree(dice, size, u, land, light, green, actors, taken):
    """A tree on the grass that hides at most a third of any thing."""
    first, last = land.ground
    for _ in range(6):
        foot = first - 2 * u + (last - first) * dice() ** 1.6
        h = u * dice.between(50, 80) * (0.3 + 0.7 * (foot - land.horizon) / (size[0] - land.horizon)) * land.zoom
        x = size[1] * dice()
        on_road = land.lane and land.lane[0] - 4 * u < foot < land.lane[1] + 3 * u
        if not on_road and all(_overlap((x - 0.25 * h, foot - 0.9 * h, x + 0.25 * h, foot), other) < 0.3 for other in taken):
            drawing = Drawing()
            stuff.tree(drawing, dice, x, foot, h, light, green, TREES)
            actors.append(Actor(drawing, foot, 0, {}))
            return
