"""Cutting square patches out of images: what a sliding window sees (lecture L16-G02).

Shapes here: N images, C channels, H W their size, P patches of p x p pixels; centres (P, 3) = (image, y, x).
"""
import numpy as np

from numpyvision import backend
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache
from numpyvision.check import arguments as check


def extract_patches_forward(x, centres, size):
    """The p x p pixels around each centre, zero where they lie outside the image. x (N, C, H, W), centres (P, 3) -> (P, C, p, p).

    The centre is pixel p // 2 of its patch, counted from 0: the middle for an odd size p. centres hold integers (image, y, x) inside the
    images, else ValueError. Caches x_shape and where each patch pixel came from.
    """
    check.array("x", x, 4, "(N, C, H, W)")
    check.integer_array("centres", centres, 2, "(P, 3)")
    p, xp, (N, C, H, W) = check.positive_int("size", size), get_array_module(x), x.shape
    limits = xp.asarray(np.array([N, H, W]))
    check.require(centres.shape[1] == 3 and not bool(((centres < 0) | (centres >= limits)).any()),
                  f"centres must be (P, 3) = (image, y, x) inside {N} images of {H} x {W}, got shape {centres.shape} with entries outside, "
                  "or with another number of columns; is the order (x, y)?")
    offsets = xp.arange(p) - p // 2
    rows, columns = centres[:, 1, None] + offsets, centres[:, 2, None] + offsets                   # (P, p) each
    inside = ((rows >= 0) & (rows < H))[:, :, None] & ((columns >= 0) & (columns < W))[:, None]    # (P, p, p)
    where = (centres[:, 0, None, None] * H + xp.clip(rows, 0, H - 1)[:, :, None]) * W + xp.clip(columns, 0, W - 1)[:, None]
    planes = x.transpose(1, 0, 2, 3).reshape(C, N * H * W)
    out = xp.where(inside, planes[:, where], 0).transpose(1, 0, 2, 3)                              # (C, P, p, p) -> (P, C, p, p)
    return out, Cache(x_shape=x.shape, where=where, inside=inside)


def extract_patches_backward(dout, cache):
    """dout (P, C, p, p) -> dx (N, C, H, W): copy gate, a pixel collects the gradients of all patches that it is in."""
    N, C, H, W = cache.x_shape
    xp = get_array_module(dout)
    dplanes = xp.zeros((C, N * H * W), dtype=dout.dtype)
    values = xp.where(cache.inside, dout.transpose(1, 0, 2, 3), 0)                                 # (C, P, p, p)
    backend.scatter_add(dplanes, (xp.arange(C)[:, None, None, None], cache.where), values)
    return dplanes.reshape(C, N, H, W).transpose(1, 0, 2, 3).copy()
