"""The stuff of a scene: sky, hills of grass, water, trees and roads, and the light of the hour.

Shapes here: H W size of the picture; u = min(H, W) / 128 pixels is the scene's unit. Every function draws into a `Drawing` and claims
pixels for one stuff segment.
"""
import math
from typing import NamedTuple

import numpy as np

from numpyvision.data import scene_raster as raster
from numpyvision.data.scene_shapes import BOX, DISC, DOT, limb, mix, outline, rgb, smooth, vary

IDENTITY = (1., 0., 0., 0., 1., 0.)


class Mood(NamedTuple):
    """The hour and the weather."""

    name: str
    sky_top: tuple
    sky_low: tuple
    tint: tuple              # the light's colour, multiplied into everything on the ground
    sun: tuple               # the sun's (or the moon's) colour
    water_far: tuple         # the water under the horizon, which mirrors the low sky,
    water_near: tuple        # and the water at our feet, which we look into
    haze: float              # how much distant hills take the sky's colour


MOODS = (
    Mood("morning", *rgb("8fd0e8 fdf1dc"), (1.00, 0.98, 0.94), *rgb("fff3c4 d3ebe4 63abc2"), 0.45),
    Mood("day", *rgb("59b2e6 d6f0f7"), (1.00, 1.00, 1.00), *rgb("fff0a8 a9dcea 4590c4"), 0.35),
    Mood("day", *rgb("6fc3ee e6f5ef"), (1.00, 1.00, 0.98), *rgb("ffeea0 b3e3e6 4fa3b8"), 0.30),
    Mood("overcast", *rgb("a9bcc8 e3e8e6"), (0.90, 0.93, 0.95), *rgb("f4f1e6 cad8da 6d97ab"), 0.50),
    Mood("dusk", *rgb("7a74b4 ffc093"), (1.00, 0.86, 0.80), *rgb("ffdf9c ffc9ab 7f86c8"), 0.45),
    Mood("dusk", *rgb("e58a7b ffdca0"), (1.02, 0.88, 0.76), *rgb("fff0b8 ffe0b4 a888b8"), 0.45),
    Mood("evening", *rgb("3c4a86 c99ab8"), (0.70, 0.72, 0.90), *rgb("fdf6dc b7a5d6 4a62ae"), 0.45),
)

GREENS = rgb("7fb65a 94c15c 6aa84f 8dbb6b a8c45f 76ae6a b5c266")
LEAF_GREENS = rgb("4f8f4a 5f9f52 3f7f55 6fa64c 88ad4a 4b8b6b")
AUTUMN = rgb("d98a3d c9622f e0b04a b9553f")
TRUNK = rgb("7a5a40 6b4d3a 8a6a4c")
FIR = smooth([(0, -1.95), (0, -1.95), (.45, -.6), (1, 0), (1, 0), (.5, .14), (0, .2), (-.5, .14), (-1, 0), (-1, 0), (-.45, -.6)], 3)
TUFT = outline([(-1, -0.9), (-.45, -.25), (-.15, -1.5), (.15, -.25), (.9, -1.0), (.45, 0.1), (-.4, 0.1)])


def cut(dice):
    """Where on its noise tile a texture begins."""
    return 128 * dice(), 128 * dice()


def sky(drawing, mood, dice, size, horizon, u, claim):
    """The sky down to below the horizon, with a sun or moon and clouds. Returns the side the light comes from: -1 left, 1 right."""
    height, width = size
    drawing.add(BOX.points, (width / 2, 0., width / 2, 0., height / 2, height / 2),
                raster.linear(mood.sky_top, mood.sky_low, (0, 0), (0, horizon)), claim)
    side = dice.sign()
    sun_x, sun_y = width * (0.5 + side * dice.between(0.15, 0.42)), horizon * dice.between(0.2, 0.75)
    if mood.name != "overcast":
        r = u * dice.between(4.5, 8)
        for reach, opacity in ((4.5, 0.35), (2.2, 0.4)):
            drawing.add(DISC.points, (reach * r, 0., sun_x, 0., reach * r, sun_y),
                        raster.radial(mood.sun, (sun_x, sun_y), (reach * r, reach * r), opacity))
        drawing.add(DISC.points, (r, 0., sun_x, 0., r, sun_y), raster.flat(mood.sun))
    for _ in range(int(dice.between(0, 4.5 if mood.name != "overcast" else 6))):
        cloud(drawing, mood, dice, width * dice(), horizon * dice.between(0.08, 0.7), u * dice.between(5, 11))
    return side


def cloud(drawing, mood, dice, x, y, r):
    """A cloud of three to five discs on a flat base."""
    white = mix((1.0, 1.0, 1.0), mood.sky_low, 0.25)
    grey = mix(white, mood.sky_top, 0.25)
    for k in range(3 + int(3 * dice())):
        ry = r * dice.between(0.42, 0.75) * (1.0 if k else 1.25)
        cx = x + (k - 1.7) * r * dice.between(0.55, 0.8)
        drawing.add(DISC.points, (ry * 1.35, 0., cx, 0., ry, y - 0.35 * ry), raster.linear(white, grey, (cx, y - ry), (cx, y + ry), 0.85))


def ridge(dice, width, y, swing, steps=20):
    """A gentle line of hills: (steps + 1, 2) points from the left edge of the picture to the right one."""
    t = np.arange(steps + 1) / steps
    line = np.full(steps + 1, float(y))
    for waves in (1.0, 2.3):
        phase, strength = 6.3 * dice(), swing * dice.between(0.3, 1.0) / waves
        line += strength * np.sin(6.3 * waves * t + phase)
    return np.stack([t * (width + 2) - 1, line], axis=1)


def below(line, bottom):
    """The region under a ridge, down to `bottom`."""
    return np.concatenate([line, [(line[-1, 0], bottom), (line[0, 0], bottom)]])


def meadow(drawing, dice, line, bottom, far, near, claim, texture=0.10):
    """Grass under a ridge, from the colour `far` at the ridge to `near` at the bottom."""
    top = float(line[:, 1].min())
    drawing.add(below(line, bottom), IDENTITY, raster.linear(far, near, (0, top), (0, bottom), kind=raster.GRASS, amount=texture,
                                                             offset=cut(dice)), claim)


def tree_line(drawing, dice, line, u, colour, low, claim):
    """A wood on the horizon: a strip with a bumpy upper edge along the ridge."""
    bumps = int(dice.between(9, 16))
    t = np.arange(bumps * 5 + 1) / 5
    x = line[0, 0] + t / bumps * (line[-1, 0] - line[0, 0])
    sizes = np.array([u * dice.between(4, 11) for _ in range(bumps + 1)])[np.minimum(t.astype(int), bumps)]
    dome = np.sqrt(np.maximum(1 - (2 * (t - np.floor(t)) - 1) ** 2, 0))
    y = np.interp(x, line[:, 0], line[:, 1]) - sizes * (0.45 + 0.55 * dome)
    foot = np.interp(x[::-1], line[:, 0], line[:, 1]) + low
    points = np.concatenate([np.stack([x, y], 1), np.stack([x[::-1], foot], 1)])
    top, bottom = float(y.min()), float(foot.max())
    lit, dim = mix(colour, (1, 1, 0.9), 0.12), mix(colour, (0.1, 0.2, 0.25), 0.25)
    drawing.add(points, IDENTITY, raster.linear(lit, dim, (0, top), (0, bottom), kind=raster.LEAVES, amount=0.22, offset=cut(dice)), claim)


def tree(drawing, dice, x, y, h, light, green, claim):
    """A tree that stands at (x, y), h pixels tall: a broad crown, a poplar, a fir or a bush."""
    kind = dice()
    lit, dim = mix(green, (1.0, 1.0, 0.65), 0.22), mix(green, (0.08, 0.16, 0.25), 0.30)
    rx, ry, sx = 0.36 * h, 0.06 * h, x + light[0] * 0.15 * h                     # its shadow
    drawing.add(DISC.points, (rx, 0., sx, 0., ry, y), raster.radial((0.06, 0.1, 0.14), (sx, y), (rx, ry), 0.5))
    offset = cut(dice)
    if kind > 0.12:
        trunk = limb((x, y - 0.02 * h), (x, y - 0.5 * h), 0.085 * h, 0.05 * h)
        drawing.add(trunk.points, IDENTITY, raster.linear(dice.pick(TRUNK), rgb("4d3a30"), (x - 0.05 * h, 0), (x + 0.05 * h, 0)), claim)

    def blob(cx, cy, w, g, shape=DISC):
        paint = raster.linear(lit, dim, (cx - light[0] * w, cy - light[1] * g), (cx + light[0] * w, cy + light[1] * g),
                              kind=raster.LEAVES, amount=0.30, offset=offset)
        drawing.add(shape.points, (w, 0., cx, 0., g, cy), paint, claim)

    if kind <= 0.12:                                                             # bush
        for dx, dy, r in ((-0.32, -0.16, 0.24), (0.32, -0.16, 0.24), (0.0, -0.26, 0.30)):
            blob(x + dx * h, y + dy * h, r * h, r * h * 0.85)
    elif kind <= 0.52:                                                           # broad crown
        for dx, dy, r in ((-0.19, -0.56, 0.19), (0.20, -0.54, 0.19), (0.0, -0.48, 0.19), (0.02, -0.76, 0.22), (-0.07, -0.66, 0.2)):
            blob(x + (dx + 0.03 * (dice() - 0.5)) * h, y + dy * h, r * h, r * h)
    elif kind <= 0.70:                                                           # poplar
        blob(x, y - 0.57 * h, 0.17 * h, 0.43 * h)
    else:                                                                        # fir
        for dy, w in ((-0.16, 0.30), (-0.36, 0.25), (-0.56, 0.18)):
            blob(x, y + dy * h, w * h, 0.22 * h, FIR)


def water(drawing, mood, dice, line, bottom, u, claim):
    """Water under a ridge down to `bottom`: it mirrors the sky's colours upside down, and carries ripples."""
    top = float(line[:, 1].min())
    far, near = vary(mood.water_far, dice, 0.03), vary(mood.water_near, dice, 0.05)
    drawing.add(below(line, bottom), IDENTITY, raster.linear(far, near, (0, top), (0, bottom), kind=raster.WATER, amount=0.14,
                                                             offset=cut(dice)), claim)
    width, depth = float(line[-1, 0]), max(bottom - top, 1.0)
    for _ in range(int(dice.between(6, 14))):
        d = dice() ** 0.7
        y, w = top + d * depth, u * (2 + 7 * d) * dice.between(0.6, 1.3)
        x = width * dice()
        drawing.add(DOT.points, (w, 0., x, 0., u * (0.35 + 0.35 * d), y), raster.flat((1.0, 1.0, 1.0), 0.35))


def shore(drawing, line, u):
    """A strip of sand along a shore line; it claims nothing: half of it lies on the grass, half in the water."""
    points = np.concatenate([line + (0, -0.8 * u), (line + (0, 1.1 * u))[::-1]])
    drawing.add(points, IDENTITY, raster.flat(rgb("ecdcae"), 0.9))


def road(drawing, dice, size, y, thick, u, claim):
    """A road across the picture with its middle at y: asphalt with a dashed line, or a sandy track."""
    width = size[1]
    bend = ridge(dice, width, y, 0.12 * thick)
    body = np.concatenate([bend - (0, thick / 2), (bend + (0, thick / 2))[::-1]])
    asphalt = dice.chance(0.7)
    if asphalt:
        near = vary(dice.pick(rgb("7d7f88 8c8c90 6f747f")), dice, 0.03)
        edge = np.concatenate([bend - (0, thick / 2 + 1.1 * u), (bend + (0, thick / 2 + 1.3 * u))[::-1]])
        drawing.add(edge, IDENTITY, raster.flat(rgb("d9d2bd")), claim)
    else:
        near = mix(vary(dice.pick(rgb("d9bd8b cfae7c e0c89c")), dice, 0.03), (0.3, 0.2, 0.1), 0.10)
    drawing.add(body, IDENTITY, raster.linear(mix(near, (1, 1, 1), 0.15), near, (0, y - thick / 2), (0, y + thick / 2), amount=0.03), claim)
    if asphalt:
        dash, start = u * 9, u * 18 * dice()
        for k in range(int(width / (2 * dash)) + 2):
            x = k * 2 * dash - start
            yx = float(np.interp(x + dash / 2, bend[:, 0], bend[:, 1]))
            drawing.add(BOX.points, (dash / 2, 0., x + dash / 2, 0., max(thick * 0.035, 0.4), yx), raster.flat(rgb("f7f1dc"), 0.85))


def tufts(drawing, dice, size, top, bottom, u, green, count):
    """Blades of grass and small flowers between two heights; larger towards the bottom. They claim nothing (grass on grass)."""
    dark = mix(green, (0.1, 0.3, 0.15), 0.35)
    petal = dice.pick(rgb("fff6e0 f7d154 f2a0b5 e8685a c9a6e8"))
    for _ in range(count):
        d = dice() ** 0.8
        x, y, s = size[1] * dice(), top + d * (bottom - top), u * (0.8 + 2.2 * d)
        if dice.chance(0.6):
            drawing.add(TUFT.points, (s, 0., x, 0., s, y), raster.flat(dark, 0.55))
        else:
            drawing.add(DOT.points, (0.45 * s, 0., x, 0., 0.4 * s, y), raster.flat(petal, 0.95))


def light_of(side, dice):
    """The unit direction in which the light travels, from the upper left (side -1) or the upper right (side 1)."""
    angle = dice.between(0.5, 1.0)                                               # from the vertical
    return -side * math.sin(angle), math.cos(angle)
