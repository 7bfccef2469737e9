"""What the scenes are drawn with: dice, colours, smooth outlines, and the `Figure` that collects the parts of one object.

A figure has its own units: height 1 (cars: length 1), feet at y = 0, y down (the head is at -1), drawn facing right. Its frame scales,
mirrors and moves it. Angles are in radians, clockwise on the screen.
"""
import math

import numpy as np

from numpyvision.data import scene_raster as raster
from numpyvision.data.scene_raster import Outline


class Dice:
    """Random decisions from one generator; uniform doubles only, so that they are the same on every machine."""

    def __init__(self, rng):
        self.rng, self.bag = rng, []

    def __call__(self):
        """A number in [0, 1)."""
        if not self.bag:
            self.bag = self.rng.random(256).tolist()
        return self.bag.pop()

    def between(self, low, high):
        """A number in [low, high)."""
        return low + (high - low) * self()

    def chance(self, probability):
        """True with this probability."""
        return self() < probability

    def pick(self, choices):
        """One of these."""
        return choices[int(self() * len(choices))]

    def sign(self):
        """-1 or 1."""
        return 1 if self() < 0.5 else -1


def rgb(text):
    """"e8a25c f0d9b5" -> a tuple of colours, each (r, g, b) in [0, 1]; a single word gives the colour itself."""
    colours = tuple(tuple(int(word[i:i + 2], 16) / 255 for i in (0, 2, 4)) for word in text.split())
    return colours[0] if len(colours) == 1 else colours


def mix(colour0, colour1, t):
    """colour0 at t = 0, colour1 at t = 1."""
    return tuple(a + t * (b - a) for a, b in zip(colour0, colour1, strict=True))


def vary(colour, dice, amount=0.05):
    """The colour, a little lighter or darker and a little warmer or cooler."""
    light, warm = dice.between(-amount, amount), dice.between(-amount, amount) / 2
    r, g, b = colour
    return (min(max(r + light + warm, 0.02), 1.0), min(max(g + light, 0.02), 1.0), min(max(b + light - warm, 0.02), 1.0))


WHITE, BLACK, INK = (0.97, 0.96, 0.94), (0.13, 0.13, 0.16), (0.10, 0.09, 0.12)


# --- outlines ---------------------------------------------------------------------------------------------------------------------------
def outline(points):
    """The polygon through these points."""
    points = np.array(points, float)
    low, high = points.min(axis=0), points.max(axis=0)
    (cx, cy), (w, h) = (low + high) / 2, high - low
    return Outline(points, cx, cy, 0.5 * max(w, h))


def smooth(points, steps=4):
    """The closed Catmull-Rom curve through these points, `steps` vertices a segment. A point given twice is a corner."""
    p = np.array(points, float)
    before, here, after, beyond = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = (np.arange(steps) / steps)[:, None, None]                                                          # (steps, 1, 1)
    curve = 0.5 * (2 * here + (after - before) * t + (2 * before - 5 * here + 4 * after - beyond) * t ** 2
                   + (3 * here - before - 3 * after + beyond) * t ** 3)                                    # (steps, n, 2)
    return outline(curve.transpose(1, 0, 2).reshape(-1, 2))


def _ring(n):
    angles = np.arange(n) * (2 * np.pi / n)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


DISC = outline(_ring(28))                                                        # radius 1
DOT = outline(_ring(10))                                                         # the same for tiny things
BOX = outline([(-1, -1), (1, -1), (1, 1), (-1, 1)])                              # half-width and half-height 1
ROUND_BOX = smooth([(-1, -.6), (-.92, -.92), (-.6, -1), (.6, -1), (.92, -.92), (1, -.6), (1, .6), (.92, .92), (.6, 1), (-.6, 1),
                    (-.92, .92), (-1, .6)], 2)
DOME = outline([(1, 0), *_ring(28)[15:28][::-1].tolist()][::-1] + [(-1, 0)])     # the upper half of the disc
_HALF = np.stack([np.cos(np.linspace(-np.pi / 2, np.pi / 2, 7)), np.sin(np.linspace(-np.pi / 2, np.pi / 2, 7))], axis=1)


def limb(p, q, width0, width1):
    """A round-ended limb from p to q, `width0` thick at p and `width1` at q."""
    (x0, y0), (x1, y1) = p, q
    length = max(math.hypot(x1 - x0, y1 - y0), 1e-9)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    cap = _HALF @ np.array([[ux, uy], [-uy, ux]])                                                          # half a circle around +u
    points = np.concatenate([cap * (width1 / 2) + (x1, y1), cap * (-width0 / 2) + (x0, y0)])
    return Outline(points, (x0 + x1) / 2, (y0 + y1) / 2, (length + width0) / 2)


def stroke(points, width0, width1, steps=5):
    """A tail, a strap, a mouth: the curve through these points with a round end, `width0` thick at its start, `width1` at its end."""
    p = np.array(points, float)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])                                     # straight on beyond both ends
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    t = (np.arange(steps) / steps)[:, None, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t ** 2 + (3 * b - a - 3 * c + d) * t ** 3)
    curve = np.concatenate([curve.transpose(1, 0, 2).reshape(-1, 2), p[-2:-1]])                            # (n, 2)
    along = np.empty_like(curve)
    along[1:-1] = curve[2:] - curve[:-2]
    along[0], along[-1] = curve[1] - curve[0], curve[-1] - curve[-2]
    along /= np.sqrt((along ** 2).sum(axis=1, keepdims=True)) + 1e-12
    half = np.linspace(width0 / 2, width1 / 2, len(curve))[:, None]
    side = np.stack([-along[:, 1], along[:, 0]], axis=1) * half
    cap = _HALF[::-1] @ np.array([along[-1], side[-1] / max(half[-1, 0], 1e-9)]) * half[-1] + curve[-1]
    low, high = curve.min(axis=0), curve.max(axis=0)
    return Outline(np.concatenate([curve + side, cap, (curve - side)[::-1]]), *((low + high) / 2), 0.5 * (high - low).max() + width0)


# --- figures ----------------------------------------------------------------------------------------------------------------------------
class Figure:
    """The parts of one object, and its joints if it is a person.

    x, y: where its feet stand, pixels; scale: pixels a unit; facing 1 right, -1 left; light (lx, ly): the unit direction in which
    the light travels; claim: the segment number of its pixels.
    """

    def __init__(self, x, y, scale, facing, light, claim, dice):
        self.drawing, self.joints, self.claim = raster.Drawing(), {}, claim
        self.x, self.y, self.scale, self.facing, self.light = x, y, scale, facing, light
        self.offset = (128 * dice(), 128 * dice())                               # where on the noise tile this object is cut from

    def at(self, x, y):
        """Figure units -> pixels."""
        return self.x + self.facing * self.scale * x, self.y + self.scale * y

    def part(self, shape, colour, at=(0.0, 0.0), size=(1.0, 1.0), turn=0.0, shade=1.0, kind=raster.FUR, amount=0.0, opacity=1.0,
             claim=True):
        """Add an outline, scaled by `size`, turned, moved to `at`. It is shaded along the light, from a little lighter to darker.

        Returns the part's index in the figure.
        """
        s, f, c, d = self.scale, self.facing * self.scale, math.cos(turn), math.sin(turn)
        frame = (f * c * size[0], -f * d * size[1], self.x + f * at[0], s * d * size[0], s * c * size[1], self.y + s * at[1])
        cx = frame[0] * shape.cx + frame[1] * shape.cy + frame[2]
        cy = frame[3] * shape.cx + frame[4] * shape.cy + frame[5]
        reach = 2.0 * max(s * shape.radius * max(size[0], size[1]), 1e-9)
        r, g, b = colour
        bright, dim = 1 + 0.14 * shade, 1 - 0.24 * shade
        paint = (r * bright, g * bright, b * bright, opacity, r * dim, g * dim, b * (dim + 0.06 * shade), opacity, cx, cy,
                 0.5, self.light[0] / reach, self.light[1] / reach, 0., 0., kind, amount, 1., 1., *self.offset)
        self.drawing.add(shape.points, frame, paint, self.claim if claim else 0)
        return len(self.drawing) - 1

    def limb(self, p, q, width0, width1, colour, **how):
        """A round-ended limb from p to q (figure units)."""
        return self.part(limb(p, q, width0, width1), colour, **how)

    def stroke(self, points, width0, width1, colour, **how):
        """A curved band through these points."""
        return self.part(stroke(points, width0, width1), colour, **how)

    def shadow(self, x0, x1, height=0.09, y=0.0, opacity=0.5):
        """A soft shadow on the ground from x0 to x1 (figure units), drawn away from the light. It claims no pixel."""
        cx, cy = self.at((x0 + x1) / 2, y)
        cx += 0.35 * self.light[0] * height * self.scale * 4
        rx, ry = (abs(x1 - x0) / 2 + 0.06) * self.scale, height * self.scale
        self.drawing.add(DISC.points, (rx, 0., cx, 0., ry, cy), raster.radial((0.06, 0.10, 0.14), (cx, cy), (rx, ry), opacity))

    def glow(self, colour, at, size, opacity):
        """A soft spot: rosy cheeks, the shine on a bonnet."""
        cx, cy = self.at(*at)
        rx, ry = size[0] * self.scale, size[1] * self.scale
        self.drawing.add(DISC.points, (rx, 0., cx, 0., ry, cy), raster.radial(colour, (cx, cy), (rx, ry), opacity))

    def joint(self, name, x, y, part):
        """Remember a joint (figure units) and the last part of its limb: a part painted later over that pixel hides the joint."""
        self.joints[name] = (*self.at(x, y), part)
