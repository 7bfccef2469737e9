"""Resizing feature maps, in-network upsampling without parameters (lecture L16-U01 to U06).

Shapes here: N images, C channels, H W input size, Ho Wo output size.
    x (N, C, H, W) -> out (N, C, Ho, Wo)   with   (Ho, Wo) = `size`, or `scale_factor` * (H, W); one number stands for both axes, and
                                                  if neither is given the factor is 2

Every one of these is linear and treats the axes separately, so two small matrices say all of it, Wy (Ho, H) and Wx (Wo, W):

    out = Wy @ x @ Wx.T   and backward   dx = Wy.T @ dout @ Wx

Row q of W says how much each input cell counts in output q: one 1 for nearest neighbour; two numbers for bilinear, four for bicubic, read
off a bump centred at the place where output q lies among the input cells. The compiled loops in `kernels/resize.py` are a second
derivation, which knows for each output the few cells that it reads.
"""
from functools import partial

import numpy as np

from numpyvision import backend, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache
from numpyvision.check import arguments as check


def bed_of_nails_forward(x, scale_factor=2):
    """Every pixel in the top left corner of its s x s block, zeros elsewhere. x (N, C, H, W) -> (N, C, sy*H, sx*W), s an int or a pair.

    [[1, 2], [3, 4]] -> [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]] (L16-U01). Caches shapes only.
    """
    size = target_size(x, scale_factor, None)
    sy, sx = size[0] // x.shape[2], size[1] // x.shape[3]
    out = get_array_module(x).zeros((*x.shape[:2], *size), dtype=x.dtype)
    out[:, :, ::sy, ::sx] = x
    return out, Cache(x_shape=x.shape, scale_factor=(sy, sx))


def bed_of_nails_backward(dout, cache):
    """dout (N, C, sy*H, sx*W) -> dx (N, C, H, W): the gradients at the nails; what arrives between them touched no input."""
    (sy, sx), (N, C, H, W) = cache.scale_factor, cache.x_shape
    check_dout(dout, (N, C, sy * H, sx * W))
    return dout[:, :, ::sy, ::sx].copy()


def upsample_nearest_forward(x, scale_factor=None, size=None):
    """Nearest neighbour: output q is input floor(q * H / Ho), a block of copies. x (N, C, H, W) -> (N, C, Ho, Wo).

    [[1, 2], [3, 4]] -> [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]] (L16-U02). The division is exact, in whole numbers.
    Caches shapes only.
    """
    size = target_size(x, scale_factor, size)
    s = whole_factor(x.shape, size)
    if s and backend.compiled(x):
        out = kernels.resize.upsample_nearest(np.ascontiguousarray(x), s)
    elif backend.compiled(x):
        out = kernels.resize.resample(np.ascontiguousarray(x), size, "nearest", False, 0.0)
    else:
        xp, (H, W) = get_array_module(x), x.shape[2:]
        rows, columns = xp.arange(size[0]) * H // size[0], xp.arange(size[1]) * W // size[1]
        out = x[:, :, rows[:, None], columns]
    return out, Cache(x_shape=x.shape, size=size)


def upsample_nearest_backward(dout, cache):
    """dout (N, C, Ho, Wo) -> dx (N, C, H, W): copy gate, a pixel collects the gradients of its copies."""
    check_dout(dout, (*cache.x_shape[:2], *cache.size))
    s = whole_factor(cache.x_shape, cache.size)
    if s and backend.compiled(dout):
        return kernels.resize.upsample_nearest_backward(np.ascontiguousarray(dout), s)
    if backend.compiled(dout):
        return kernels.resize.resample_backward(np.ascontiguousarray(dout), cache.x_shape, "nearest", False, 0.0)
    wy, wx = (nearest_weights(length, n) for length, n in zip(cache.x_shape[2:], cache.size, strict=True))
    return multiply_axes(dout, wy.T, wx.T)


def upsample_bilinear_forward(x, scale_factor=None, size=None, align_corners=False):
    """Bilinear interpolation: each output is the weighted mean of the 2 x 2 cells around it. x (N, C, H, W) -> (N, C, Ho, Wo).

    [[1, 2], [3, 4]] -> rows 1 1.25 1.75 2 / 1.5 1.75 2.25 2.5 / 2.5 2.75 3.25 3.5 / 3 3.25 3.75 4 (L16-U03). Beyond the border the
    border is repeated. align_corners: the corner pixels of in- and output lie on each other (else: their outer edges; see
    `sample_positions`). A smaller `size` takes every so many cells, without smoothing first. Caches shapes only.
    """
    size = target_size(x, scale_factor, size)
    if backend.compiled(x):
        out = kernels.resize.resample(np.ascontiguousarray(x), size, "bilinear", bool(align_corners), 0.0)
    else:
        out = multiply_axes(x, *both_weights(x.shape, size, hat, align_corners))
    return out, Cache(x_shape=x.shape, size=size, align_corners=bool(align_corners))


def upsample_bilinear_backward(dout, cache):
    """dout (N, C, Ho, Wo) -> dx (N, C, H, W): every output returns its gradient to the 2 x 2 cells that it read, by their weights."""
    check_dout(dout, (*cache.x_shape[:2], *cache.size))
    if backend.compiled(dout):
        return kernels.resize.resample_backward(np.ascontiguousarray(dout), cache.x_shape, "bilinear", cache.align_corners, 0.0)
    wy, wx = both_weights(cache.x_shape, cache.size, hat, cache.align_corners)
    return multiply_axes(dout, wy.T, wx.T)


def upsample_bicubic_forward(x, scale_factor=None, size=None, align_corners=False, a=-0.75):
    """Bicubic interpolation (Keys 1981): each output is a weighted sum of the 4 x 4 cells around it. x (N, C, H, W) -> (N, C, Ho, Wo).

    The slide's 2 x 2 -> 4 x 4 (L16-U05) is this with a = -0.75, torch's and OpenCV's choice; a = -0.5 is Pillow's, and exact for
    parabolas (L16-U06). Four cells an axis, not the slide's three (erratum L16-E02). The weights may be negative: the result can
    overshoot the range of x. Borders and align_corners as in `upsample_bilinear_forward`. Caches shapes and a.
    """
    size = target_size(x, scale_factor, size)
    if backend.compiled(x):
        out = kernels.resize.resample(np.ascontiguousarray(x), size, "bicubic", bool(align_corners), float(a))
    else:
        out = multiply_axes(x, *both_weights(x.shape, size, partial(keys, a=a), align_corners))
    return out, Cache(x_shape=x.shape, size=size, align_corners=bool(align_corners), a=float(a))


def upsample_bicubic_backward(dout, cache):
    """dout (N, C, Ho, Wo) -> dx (N, C, H, W): every output returns its gradient to the 4 x 4 cells that it read, by their weights."""
    check_dout(dout, (*cache.x_shape[:2], *cache.size))
    if backend.compiled(dout):
        return kernels.resize.resample_backward(np.ascontiguousarray(dout), cache.x_shape, "bicubic", cache.align_corners, cache.a)
    wy, wx = both_weights(cache.x_shape, cache.size, partial(keys, a=cache.a), cache.align_corners)
    return multiply_axes(dout, wy.T, wx.T)


# ---- the two small matrices

def sample_positions(length, size, align_corners=False):
    """Where each of `size` outputs lies among `length` input cells, counted in cells: (size,) float64.

    A cell's value stands at its centre. align_corners=False puts the outer edges of both grids on each other: output q has its centre
    at (q + 1/2) * length / size - 1/2 (the numbers of L16-U03). align_corners=True puts the outer centres on each other (the dots in
    that slide's picture: erratum L16-E03); a single output then lies on the first cell.
    """
    if align_corners:
        return np.arange(size) * ((length - 1) / max(size - 1, 1))
    return (np.arange(size) + 0.5) * (length / size) - 0.5


def hat(d):
    """Bilinear's bump: how much a cell at distance d counts, falling in a straight line from 1 at 0 to 0 at 1 (L16-U04)."""
    return np.maximum(1 - abs(d), 0)


def keys(d, a=-0.75):
    """Bicubic's bump (Keys 1981, Eq. 4): 1 at 0, 0 at every other whole number, two cubics that meet smoothly at |d| = 1 and end at 2."""
    d = abs(d)
    inner = (a + 2) * d**3 - (a + 3) * d**2 + 1
    outer = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0))


def axis_weights(length, size, bump, align_corners=False):
    """weight[q, i]: how much cell i counts in output q -> (size, length) float64. Each row adds up to 1.

    Two cells beyond either end repeat the border cell, so what they count is added to it. Leaving that out gives the table that the
    slide's formula says, and its picture does not (erratum L16-E04).
    """
    cells = np.arange(-2, length + 2)
    weight = bump(sample_positions(length, size, align_corners)[:, None] - cells)      # (size, length + 4)
    weight[:, 2] += weight[:, :2].sum(axis=1)
    weight[:, -3] += weight[:, -2:].sum(axis=1)
    return weight[:, 2:-2]


def both_weights(x_shape, size, bump, align_corners):
    """Wy (Ho, H), Wx (Wo, W)."""
    return [axis_weights(length, n, bump, align_corners) for length, n in zip(x_shape[2:], size, strict=True)]


def nearest_weights(length, size):
    """(size, length): row q has its 1 at the cell that output q copies."""
    return 1.0 * (np.arange(size)[:, None] * length // size == np.arange(length))


def multiply_axes(x, wy, wx):
    """wy @ x @ wx.T for every plane, the matrices brought to where x is."""
    xp = get_array_module(x)
    return xp.asarray(wy.astype(x.dtype)) @ x @ xp.asarray(wx.T.astype(x.dtype))


# ---- arguments

def target_size(x, scale_factor, size):
    """(Ho, Wo), or a ValueError that names the usual cause."""
    check.array("x", x, 4, "(N, C, H, W)")
    check.require(scale_factor is None or size is None, f"give scale_factor or size, not both, got {scale_factor!r} and {size!r}")
    H, W = x.shape[2:]
    check.require(min(H, W) > 0, f"x must have at least one pixel to resize, got (N, C, H, W) = {tuple(x.shape)}")
    if size is not None:
        return check.int_pair("size", size, 1)
    sy, sx = check.int_pair("scale_factor", 2 if scale_factor is None else scale_factor, 1)
    return sy * H, sx * W


def whole_factor(x_shape, size):
    """s if size is s times x's size along both axes, else 0."""
    (H, W), (Ho, Wo) = x_shape[2:], size
    return Ho // H if Ho % H == 0 and Wo == Ho // H * W else 0


def check_dout(dout, out_shape):
    """ValueError unless dout has out's shape."""
    check.require(tuple(dout.shape) == tuple(out_shape), f"dout must have out's shape {tuple(out_shape)}, got {tuple(dout.shape)}")
