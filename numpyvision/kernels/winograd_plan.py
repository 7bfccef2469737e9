"""How `winograd.py` cuts a convolution into strips, blocks and tasks: all that depends on the shapes alone, worked out once for each.

Shapes here: N images, C and F channels in and out, th x tw tiles an image.
"""
from collections import namedtuple
from functools import lru_cache

import numpy as np

from numpyvision.kernels import vector

LANES, ROWS = vector.lanes(np.float32), vector.ROWS
PANEL = 2 * LANES
OUT, IN, POINTS = 4, 6, 36                       # side of a tile of outputs, of inputs; number of points
FEW, MANY = 96, 128 * 128                        # few tiles, many pairs of channels: then tasks share out the filters
PIECE = 64                                       # then, channels of x at a time
SMALL = 128 * 128                                # pairs of channels: their U is sooner computed by each task than shared
BLOCK, LARGE_BLOCK = 32, 64                      # tiles in a block, otherwise; with more pairs than SMALL, so as to read U less often

# How the tiles lie in x (side IN) or out (side OUT).
Image = namedtuple("Image", "channels height width top left side planes places")
# A task has its own part of a workspace, of `size` numbers: a strip, then from values, products and points (U) on what these words say in
# winograd.py, for each point v_step, p_step and u_step numbers. slices: tasks that share out the filters, or 0. alone: each has its own U.
Plan = namedtuple("Plan", "th tw R Q down across strips per_block blocks tasks slices alone v_step p_step u_step values products points "
                          "size")
Taps = namedtuple("Taps", "channel filter source target")     # the taps from channel c to filter f begin at w[c*channel + f*filter]


@lru_cache(maxsize=512)
def plan(x_shape, F, py, px, threads, dw):
    """The tiles of a convolution of x to F channels, or of its dw -> how they lie in x, in out, and who works on which."""
    N, C, H, W = x_shape
    Ho, Wo = H + 2 * py - 2, W + 2 * px - 2
    th, tw = -(-Ho // OUT), -(-Wo // OUT)
    few = N * th * tw <= (FEW if dw else FEW * max(1, C * F // MANY))
    slices, sharers = (min(threads, F // LANES), 1) if few else (0, threads)
    block = BLOCK if C * F <= SMALL else LARGE_BLOCK
    R, Q, down, across = _strips(th, tw, max(ROWS, min(block, -(-N * th * tw // threads))))
    strips = N * down * across
    per_block = max(1, (FEW if few else block) // (R * Q))
    per_block = -(-strips // (-(-strips // (per_block * sharers)) * sharers))      # as many blocks for every thread, all of one size
    per_block = strips if dw and few else per_block                                # one block: its sums are the result
    blocks = -(-strips // per_block)
    tasks, alone = slices or min(threads, blocks), threads == 1 or C * F <= SMALL
    sizes = _sizes(R, Q, -(-per_block * R * Q // ROWS) * ROWS, C, F, slices, dw)
    return (Image(C, H, W, py, px, IN, *_places(H, W, IN, R, Q)), Image(F, Ho, Wo, 0, 0, OUT, *_places(Ho, Wo, OUT, R, Q)),
            Plan(th, tw, R, Q, down, across, strips, per_block, blocks, tasks, slices, alone, *sizes))


def _strips(th, tw, most):
    """R x Q tiles for a strip, at most `most`, and how many of them lie below and beside each other in an image."""
    across = -(-tw // most)
    Q = -(-tw // across)
    down = -(-th // max(1, min(th, most // Q))) if across == 1 else th
    return -(-th // down), Q, down, across


def _sizes(R, Q, tiles, C, F, slices, dw):
    """Plan's fields from v_step to size. From point to point LANES numbers more: powers of two would fill one set of the cache."""
    if slices:
        channels, filters, pairs = min(C, PIECE), -(-F // LANES // slices) * LANES, min(C, PIECE) * PANEL
    else:
        channels, filters, pairs = C, F if dw else min(F, PANEL), C * F
    v_step, p_step, u_step = tiles * channels + LANES, tiles * filters + LANES, pairs + LANES
    values = (OUT * R + 2) * (OUT * Q + 2) * LANES
    products = values + POINTS * v_step
    points = products + POINTS * p_step
    return v_step, p_step, u_step, values, products, points, points + (POINTS * u_step if slices else 0)


def _places(height, width, side, R, Q):
    """Where the LANES planes of a register begin in an image, and where the p-th pixel of a run of its rows stands in a strip."""
    p = np.arange((OUT * R + 2) * width)
    pitch = OUT * Q + side - OUT
    return np.arange(LANES) * height * width, (p // width * pitch + p % width) * LANES


@lru_cache(maxsize=512)
def taps(channel, filter, turned):
    """Where LANES filters begin in w, and where their taps go; what is read behind the ninth is thrown on a heap."""
    t = np.arange(LANES)
    return Taps(channel, filter, t * filter, np.where(t < 9, 8 - t if turned else t, 9) * LANES)


TAPS_OUT = Taps(9, 9, np.arange(LANES) * LANES, np.arange(LANES) * 9)
