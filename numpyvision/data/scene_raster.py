"""Painting with polygons: a `Drawing` is a list of parts, `render` turns it into pixels, back to front.

A part is a closed outline, a 2x3 frame that puts it into the picture, a paint, and a claim: the number of the segment (a thing or a
kind of stuff) that owns the pixels it covers; 0 claims nothing (a shadow, a whisker, a cloud). A pixel belongs to the last claiming part
that covers at least half of it. Shapes here: P parts, V vertices together, H W size of the picture; pixel i covers [i, i + 1).
"""
from typing import NamedTuple

import numpy as np

from numpyvision import backend, kernels

# One row of `paints`: colour 0 at t = 0, colour 1 at t = 1, where t = clip(c + gx dx + gy dy + qx dx^2 + qy dy^2, 0, 1) and (dx, dy) is
# measured from (cx, cy); the colour is then multiplied by 1 + amount * tile[kind] at (su x + ou, sv y + ov), repeated without end.
PAINT = ("r0 g0 b0 a0  r1 g1 b1 a1  cx cy  c gx gy qx qy  kind amount su sv ou ov").split()
GRAIN = 0.014                                                       # paper grain over the finished picture
PAPER, FUR, CLOTH, GRASS, WATER, LEAVES = range(6)                  # the noise tiles
SUB = 8                                                             # sample lines a pixel row, as in kernels/raster.py


class Outline(NamedTuple):
    """A closed outline in its own units, with the centre and radius that its shading is measured by."""

    points: np.ndarray      # (n, 2) float64
    cx: float
    cy: float
    radius: float


class Drawing:
    """Parts in painting order. `extend` puts another drawing on top."""

    def __init__(self):
        self.points, self.frames, self.paints, self.claims = [], [], [], []

    def __len__(self):
        return len(self.claims)

    def add(self, points, frame, paint, claim=0):
        """points (n, 2); frame (a, b, c, d, e, f): x' = a x + b y + c, y' = d x + e y + f; paint: one row of PAINT; claim int >= 0."""
        self.points.append(points)
        self.frames.append(frame)
        self.paints.append(paint)
        self.claims.append(claim)

    def extend(self, other):
        """Paint `other` over this. Returns the index of its first part."""
        start = len(self)
        for mine, theirs in zip(self._lists(), other._lists(), strict=True):
            mine.extend(theirs)
        return start

    def _lists(self):
        return self.points, self.frames, self.paints, self.claims

    def pack(self, tint=(1.0, 1.0, 1.0)):
        """-> points (V, 2) in pixels, starts (P + 1,), paints (P, 21) with the scene's light multiplied in, claims (P,)."""
        counts = np.array([len(p) for p in self.points], np.int64)
        starts = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        local = np.concatenate(self.points)
        a, b, c, d, e, f = np.repeat(np.array(self.frames), counts, axis=0).T
        points = np.stack([a * local[:, 0] + b * local[:, 1] + c, d * local[:, 0] + e * local[:, 1] + f], axis=1)
        paints = np.array(self.paints)
        paints[:, 0:3] *= tint
        paints[:, 4:7] *= tint
        return points, starts, paints, np.array(self.claims, np.int64)


def flat(colour, opacity=1.0, kind=PAPER, amount=0.0, scale=(1.0, 1.0), offset=(0.0, 0.0)):
    """The paint of one colour (r, g, b) everywhere."""
    r, g, b = colour
    return (r, g, b, opacity, r, g, b, opacity, 0., 0., 0., 0., 0., 0., 0., kind, amount, *scale, *offset)


def linear(colour0, colour1, start, end, opacity=1.0, kind=PAPER, amount=0.0, scale=(1.0, 1.0), offset=(0.0, 0.0)):
    """The paint that runs from colour0 at the point `start` to colour1 at `end` (pixels)."""
    (x0, y0), (x1, y1) = start, end
    length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
    return (*colour0, opacity, *colour1, opacity, x0, y0, 0., (x1 - x0) / length, (y1 - y0) / length, 0., 0., kind, amount, *scale, *offset)


def radial(colour, centre, radii, opacity0, opacity1=0.0):
    """The paint that fades from opacity0 at `centre` to opacity1 on the ellipse of these radii: soft shadows, the sun's glow, cheeks."""
    qx, qy = 1.0 / max(radii[0], 1e-9) ** 2, 1.0 / max(radii[1], 1e-9) ** 2
    return (*colour, opacity0, *colour, opacity1, *centre, 0., 0., 0., qx, qy, PAPER, 0., 1., 1., 0., 0.)


_tiles = None


def tiles():
    """(6, 128, 128) float64 noise in [-1, 1] that wraps around: one tile for each of PAPER, FUR, CLOTH, GRASS, WATER, LEAVES.

    Only additions, in a fixed order, and a rounding: the same bits on every machine.
    """
    global _tiles
    if _tiles is None:
        rng = np.random.default_rng(20170801)
        blurs = [[(1, 1)], [(2, 3), (2, 2)], [(2, 2), (2, 2)], [(1, 5), (1, 2)], [(9, 1), (7, 2)], [(4, 4), (3,
            3)]]      # box blurs (width, height)
        made = []
        for boxes in blurs:
            noise = rng.random((128, 128)) - 0.5
            for width, height in boxes:
                noise = sum(np.roll(noise, k, 1) for k in range(width))
                noise = sum(np.roll(noise, k, 0) for k in range(height))
            made.append(np.round(noise / np.abs(noise).max() * 4096) / 4096)
        _tiles = np.stack(made)
    return _tiles


def coverage(polygon, y0, y1, x0, x1):
    """How much of every pixel of the window a polygon covers (non-zero winding; exact along x, SUB sample lines along y).

    polygon (n, 2) in pixels -> (y1 - y0, x1 - x0) in [0, 1]. On one sample line, an edge that crosses at x covers clip(i + 1 - x, 0, 1) of
    pixel i to its right: plus if it runs down, minus if it runs up. The sum over the edges is the winding number times the coverage.
    """
    rows, columns = y1 - y0, np.arange(x0, x1)
    lines = y0 + (np.arange(rows * SUB) + 0.5) / SUB                                                      # (S,)
    total = np.zeros((rows * SUB, len(columns)))
    for (xa, ya), (xb, yb) in zip(np.roll(polygon, 1, axis=0), polygon, strict=True):
        crossed = (lines >= min(ya, yb)) & (lines < max(ya, yb))
        if crossed.any():
            x = xa + (lines[crossed] - ya) * ((xb - xa) / (yb - ya))
            total[crossed] += np.sign(yb - ya) * np.clip(columns + 1 - x[:, None], 0, 1)
    return np.minimum(np.abs(total.reshape(rows, SUB, -1).mean(axis=1)), 1.0)                             # (h, w)


def render(drawing, size, tint=(1.0, 1.0, 1.0), grain_offset=(0, 0), num_claims=1):
    """Paint a drawing.

    -> picture (3, H, W) uint8; top (H, W) int32, the part that owns each pixel, -1 for none; full (num_claims,) int64, how many pixels
    each claim covered before later ones hid some of them. A claim's parts must follow one another.
    """
    height, width = size
    points, starts, paints, claims = drawing.pack(tint)
    if backend.compiled(points, paints):
        return kernels.raster.paint(height, width, points, starts, paints, claims, tiles(), num_claims, GRAIN, *grain_offset)
    canvas, top = np.zeros((height, width, 3)), np.full((height, width), -1, np.int32)
    full = np.zeros(num_claims, np.int64)
    for p, claim in enumerate(claims):
        polygon = points[starts[p]:starts[p + 1]]
        (x0, y0), (x1, y1) = np.floor(polygon.min(axis=0)), np.ceil(polygon.max(axis=0))
        x0, x1, y0, y1 = int(max(x0, 0)), int(min(x1, width)), int(max(y0, 0)), int(min(y1, height))
        if x0 >= x1 or y0 >= y1:
            continue
        cover = coverage(polygon, y0, y1, x0, x1)
        rgb, opacity = _mixed(paints[p], y0, y1, x0, x1)
        window = canvas[y0:y1, x0:x1]
        window += (cover * opacity)[..., None] * (rgb - window)
        if claim:
            inside, owner = cover >= 0.5 - 1e-9, top[y0:y1, x0:x1]
            full[claim] += np.sum(inside & ((owner < 0) | (claims[owner] != claim)))
            owner[inside] = p
    side = tiles().shape[1]
    v, u = np.ix_((np.arange(height) + grain_offset[1]) % side, (np.arange(width) + grain_offset[0]) % side)
    canvas = canvas + GRAIN * tiles()[PAPER][v, u][..., None]
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(2, 0, 1).copy(), top, full


def _mixed(paint, y0, y1, x0, x1):
    """One paint over a window -> colour (h, w, 3), opacity (h, w)."""
    c0, c1, (cx, cy, c, gx, gy, qx, qy, kind, amount, su, sv, ou, ov) = paint[:4], paint[4:8], paint[8:]
    y, x = np.arange(y0, y1)[:, None], np.arange(x0, x1)[None]
    dy, dx = y + 0.5 - cy, x + 0.5 - cx
    t = np.clip(c + dy * (gy + dy * qy) + dx * (gx + dx * qx), 0, 1)[..., None]                          # (h, w, 1)
    rgba = c0 + t * (c1 - c0)
    tile = tiles()[int(kind)]
    noise = tile[np.floor(sv * y + ov).astype(int) % len(tile), np.floor(su * x + ou).astype(int) % len(tile)]
    return rgba[..., :3] * (1 + amount * noise)[..., None], rgba[..., 3]
