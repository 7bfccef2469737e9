"""Painting a list of polygons: the compiled loop behind `data/scene_raster.py`, whose NumPy body is the reference.

Shapes here: P parts (polygons) painted back to front, V vertices of all parts together, part p owning starts[p]:starts[p + 1];
H W size of the picture; C claims (segments). A row of `paints` is laid out as `scene_raster.PAINT` says.
"""
import math

import numpy as np

from numpyvision.kernels.jit import jit_exact

SUB = 8          # sample lines a pixel row; along a line the coverage is exact, so 8 leave no visible steps


@jit_exact
def add_edge(cover, xa, ya, xb, yb, left, top, width, height):
    """Add one polygon edge to `cover` (height, width + 1), the derivative along x of SUB times the signed coverage."""
    sign = 1.0
    if ya > yb:                                    # walk downwards; the sign remembers the direction (the winding rule)
        xa, ya, xb, yb, sign = xb, yb, xa, ya, -1.0
    first = max(math.ceil((ya - top) * SUB - 0.5), 0)
    last = min(math.ceil((yb - top) * SUB - 0.5), height * SUB)
    if first >= last:
        return
    slope = (xb - xa) / (yb - ya)
    for line in range(first, last):
        row = line // SUB
        x = xa - left + ((line + 0.5) / SUB + top - ya) * slope
        if x <= 0.0:
            cover[row, 0] += sign
        elif x < width:
            column = int(x)
            cover[row, column] += sign * (column + 1 - x)          # the crossed pixel is covered from x on,
            cover[row, column + 1] += sign * (x - column)          # every later one wholly


@jit_exact
def paint(height, width, points, starts, paints, claims, tiles, num_claims, grain, grain_u, grain_v):
    """-> picture (3, H, W) uint8; top (H, W) int32, the part that owns a pixel; full (C,), the pixels of a claim before occlusion."""
    canvas = np.zeros((height, width, 3))
    cover = np.zeros((height, width + 1))
    top = np.full((height, width), -1, np.int32)
    full = np.zeros(num_claims, np.int64)
    side = tiles.shape[1] - 1                      # tiles are a power of two wide, so `& side` wraps
    for p in range(len(claims)):
        lo_x, lo_y, hi_x, hi_y = 1e30, 1e30, -1e30, -1e30
        for v in range(starts[p], starts[p + 1]):
            lo_x = min(lo_x, points[v, 0]); hi_x = max(hi_x, points[v, 0])
            lo_y = min(lo_y, points[v, 1]); hi_y = max(hi_y, points[v, 1])
        x0 = int(max(math.floor(lo_x), 0)); x1 = int(min(math.ceil(hi_x), width))
        y0 = int(max(math.floor(lo_y), 0)); y1 = int(min(math.ceil(hi_y), height))
        if x0 >= x1 or y0 >= y1:
            continue
        cover[:y1 - y0, :x1 - x0 + 1] = 0.0
        v = starts[p + 1] - 1
        for w in range(starts[p], starts[p + 1]):
            add_edge(cover, points[v, 0], points[v, 1], points[w, 0], points[w, 1], x0, y0, x1 - x0, y1 - y0)
            v = w
        q = paints[p]
        claim = claims[p]
        tile = int(q[15])
        for y in range(y0, y1):
            signed = 0.0
            dy = y + 0.5 - q[9]
            line = q[10] + dy * (q[12] + dy * q[14])
            tv = int(math.floor(q[18] * y + q[20])) & side
            for x in range(x0, x1):
                signed += cover[y - y0, x - x0]
                a = min(abs(signed) / SUB, 1.0)
                if a < 1e-6:
                    continue
                dx = x + 0.5 - q[8]
                t = min(max(line + dx * (q[11] + dx * q[13]), 0.0), 1.0)
                alpha = a * (q[3] + t * (q[7] - q[3]))
                gain = 1.0
                if q[16] != 0.0:
                    gain += q[16] * tiles[tile, tv, int(math.floor(q[17] * x + q[19])) & side]
                for c in range(3):
                    canvas[y, x, c] += alpha * (gain * (q[c] + t * (q[4 + c] - q[c])) - canvas[y, x, c])
                if claim > 0 and a >= 0.5 - 1e-9:
                    before = top[y, x]
                    if before < 0 or claims[before] != claim:
                        full[claim] += 1
                    top[y, x] = p
    return finish(canvas, tiles[0], grain, grain_u, grain_v), top, full


@jit_exact
def finish(canvas, paper, grain, grain_u, grain_v):
    """Paper grain and rounding: canvas (H, W, 3) -> (3, H, W) uint8."""
    height, width, channels = canvas.shape
    side = paper.shape[0] - 1
    picture = np.empty((channels, height, width), np.uint8)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                value = canvas[y, x, c] + grain * paper[(y + grain_v) & side, (x + grain_u) & side]
                picture[c, y, x] = np.uint8(min(max(value, 0.0), 1.0) * 255.0 + 0.5)
    return picture
