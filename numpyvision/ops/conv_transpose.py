"""Transposed convolution, learnable upsampling (lecture L16-V03 to V13).

Shapes here: N images, C input and F output channels, H W input size, kh kw kernel, Ho Wo output size, G groups, s p d stride, padding,
dilation, e output_padding.
    x (N, C, H, W)   w (C, F/G, kh, kw)   b (F,)   out (N, F, Ho, Wo)   Ho = (H-1)*s - 2p + d*(kh-1) + e + 1, Wo likewise

A convolution is a matrix, out = X @ image (`conv_matrix.py` writes it down); this is the product with X.T, so it takes an image of the
convolution's output size to one of its input size. It is not the inverse, and X.T is what backward multiplies by: so *forward here is
conv2d's gradient to x, the gradient to x here is conv2d, and the gradient to w is conv2d's with image and gradient exchanged*. The first
axis of w counts the channels of x here, because that is the axis that counts the outputs of the convolution being transposed.

Seen from the pixels: each input pixel stamps a copy of the filter, weighted by its value, into the output; the copies are s apart, and
add up where they overlap; then p rows and columns are trimmed off every side (L16-V04). A stride s image of size n comes from s different
sizes; e chooses which one to return to: e = (Ho + 2p - d*(kh-1) - 1) mod s.

Names (L16-V06): transposed convolution (best), also upconvolution, fractionally strided or backward strided convolution; "deconvolution"
is bad, because in signal processing that is the inverse of a convolution.
"""
import warnings
from dataclasses import dataclass

import numpy as np

from numpyvision import backend, check, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache
from numpyvision.ops import conv

SETTINGS = ("stride", "padding", "output_padding", "dilation")


def conv_transpose2d_forward(x, w, b=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """out[n, f, s*r + d*i - p, s*q + d*j - p] collects w[c, f, i, j] * x[n, c, r, q] over all c, i, j, r, q; then + b[f].

    x (N, C, H, W), w (C, F/groups, kh, kw), b (F,) or None -> (N, F, Ho, Wo). The other arguments are ints or (vertical, horizontal)
    pairs; output_padding must be smaller than stride or dilation: it adds rows at the bottom and columns at the right.
    [[1, 2], [3, 4]] under a 3x3 filter at stride 2 is 5x5; the slide's 4x4, one pixel trimmed top and left, is padding=1,
    output_padding=1 (L16-V03). Caches x and w. ValueError where the shapes do not fit together.
    """
    settings = geometry(stride, padding, output_padding, dilation, groups)
    check_conv_transpose2d(x, w, b, **settings)
    (N, C, H, W), F = x.shape, w.shape[1] * groups
    stride, padding, dilation = settings["stride"], settings["padding"], settings["dilation"]
    Ho, Wo = out_size(x.shape, w.shape, **settings)
    if backend.compiled(x, w, b):
        x, w = np.ascontiguousarray(x), np.ascontiguousarray(w)
        out = kernels.conv.conv2d_dx(x, w, (N, F, Ho, Wo), stride, padding, dilation, groups)
    else:
        taps = conv.filter_rows(w, groups).swapaxes(1, 2)                              # (G, F/G*kh*kw, C/G)
        copies = taps @ x.reshape(N, groups, C // groups, H * W)                       # (N, G, F/G*kh*kw, H*W)
        full = add_copies(copies.reshape(N, F, *w.shape[2:], H, W), stride, dilation, settings["output_padding"])
        out = get_array_module(full).ascontiguousarray(full[:, :, padding[0]:padding[0] + Ho, padding[1]:padding[1] + Wo])
    if b is not None:
        out += b[:, None, None]
    return out, Cache(x=x, w=w, has_b=b is not None, **settings)


def conv_transpose2d_backward(dout, cache):
    """dout (N, F, Ho, Wo) -> dx, dw, db (None if forward had no b): every stamp reads its gradient back from where it was pressed.

    out = X.T @ x, so dx = X @ dout: a plain convolution of dout with the same filter.
    """
    x, w, groups = cache.x, cache.w, cache.groups
    (N, C, H, W), (Ho, Wo) = x.shape, dout.shape[2:]
    check.require(dout.shape == (N, w.shape[1] * groups, *out_size(x.shape, w.shape, *(cache[k] for k in SETTINGS))),
                  f"dout must have out's shape, got {dout.shape}")
    if backend.compiled(dout, x, w):
        dout, settings = np.ascontiguousarray(dout), (cache.stride, cache.padding, cache.dilation, groups)
        planes = kernels.conv.padded_planes(dout, w.shape, *settings)
        dx = kernels.conv.conv2d(dout, w, None, *settings, planes)
        if dx.shape != x.shape:                                                        # output_padding >= stride (dilation is larger):
            dx = dx[:, :, :H, :W].copy()                                               # the last places stand for no pixel of x
        dw = kernels.conv.conv2d_dw(x, dout, w.shape, *settings, planes)
        db = kernels.conv.conv2d_db(dout.reshape(*dout.shape[:2], Ho * Wo)) if cache.has_b else None
        return dx, dw, db
    db = dout.sum(axis=(0, 2, 3)) if cache.has_b else None                             # b was copied to every image and pixel
    full = conv.zero_pad(dout, cache.padding) if any(cache.padding) else dout
    copies = take_copies(full, w.shape[2:], (H, W), cache.stride, cache.dilation)      # (N, F, kh, kw, H, W)
    copies = copies.reshape(N, groups, w[0].size, H * W)                               # (N, G, F/G*kh*kw, H*W)
    dx = (conv.filter_rows(w, groups) @ copies).reshape(x.shape)
    dw = (x.reshape(N, groups, C // groups, H * W) @ copies.swapaxes(2, 3)).sum(axis=0)       # w stamped in every image: gradients add
    return dx, dw.reshape(w.shape), db


def deconv(*args, **kwargs):
    """conv_transpose2d_forward under its bad name; warns (L16-V06)."""
    warnings.warn("deconv: this is conv_transpose2d. A deconvolution would undo a convolution; this multiplies by the transposed matrix "
                  "of one, which is not its inverse", DeprecationWarning, stacklevel=2)
    return conv_transpose2d_forward(*args, **kwargs)


def add_copies(copies, stride, dilation, output_padding=(0, 0)):
    """Press the weighted copies into the output. copies (N, F, kh, kw, H, W), [..., r, q] pixel (r, q)'s -> full (N, F, Hf, Wf), untrimmed.

    Tap (i, j) of all copies at once is a strided image (this is `conv.col2im` before it trims).
    """
    (N, F, kh, kw, H, W), (sy, sx), (dy, dx) = copies.shape, stride, dilation
    Hf, Wf = (s * (n - 1) + d * (k - 1) + 1 + e for n, k, s, d, e in zip((H, W), (kh, kw), stride, dilation, output_padding, strict=True))
    full = get_array_module(copies).zeros((N, F, Hf, Wf), dtype=copies.dtype)
    for i in range(kh):
        for j in range(kw):
            full[:, :, i * dy:i * dy + sy * (H - 1) + 1:sy, j * dx:j * dx + sx * (W - 1) + 1:sx] += copies[:, :, i, j]
    return full


def take_copies(full, kernel_size, size, stride, dilation):
    """The transpose of add_copies: what lies where each copy was pressed. full (N, F, Hf, Wf) -> (N, F, kh, kw, H, W)."""
    (kh, kw), (H, W), (sy, sx), (dy, dx) = kernel_size, size, stride, dilation
    copies = get_array_module(full).empty((*full.shape[:2], kh, kw, H, W), dtype=full.dtype)
    for i in range(kh):
        for j in range(kw):
            copies[:, :, i, j] = full[:, :, i * dy:i * dy + sy * (H - 1) + 1:sy, j * dx:j * dx + sx * (W - 1) + 1:sx]
    return copies


# ---- the same, to look at

@dataclass(frozen=True)
class Stamp:
    """One weighted copy of the filter: pixel (row, column) of the input pressed it into full[:, rows, columns]."""

    row: int
    column: int
    value: np.ndarray          # (C,) the pixel
    copy: np.ndarray           # (F, kh, kw) the filter weighted by it
    rows: np.ndarray           # (kh,) where in the untrimmed output
    columns: np.ndarray        # (kw,)


@dataclass(frozen=True)
class Stamps:
    """A transposed convolution of one image in single steps: `full` is the sum of the copies, `out` the window of it that is kept."""

    stamps: list               # of Stamp, in reading order of the input
    full: np.ndarray           # (F, Hf, Wf) before trimming, without output_padding
    count: np.ndarray          # (Hf, Wf) int64: how many copies cover a cell; they overlap where it is > 1
    window: tuple              # (top, left, height, width) of `out` within `full`; cells of it beyond `full` (output_padding) are 0
    out: np.ndarray            # (F, Ho, Wo)

    @property
    def overlaps(self):
        """Cells (row, column) of `full` to which more than one copy adds."""
        return [(int(r), int(q)) for r, q in np.argwhere(self.count > 1)]

    def __repr__(self):
        lines = [f"pixel ({s.row}, {s.column}) = {_short(s.value)} stamps rows {_span(s.rows)}, columns {_span(s.columns)}:\n"
                 f"{_short(s.copy)}" for s in self.stamps]
        top, left, height, width = self.window
        lines += [f"their sum, where {len(self.overlaps)} of {self.count.size} cells lie under more than one copy:", f"{_short(self.full)}",
                  f"kept of it: rows {top}..{top + height - 1}, columns {left}..{left + width - 1}"]
        return "\n".join(lines)


def conv_transpose2d_stamps(x, w, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Stamps: every weighted copy of the filter with its place, their sum, and how often they overlap (L16-V03, V04).

    x (1, C, H, W) one image, w (C, F/groups, kh, kw); the arguments are those of conv_transpose2d_forward, whose `out` it ends in.
    """
    settings = geometry(stride, padding, output_padding, dilation, groups)
    check_conv_transpose2d(x, w, None, **settings)
    check.require(len(x) == 1, f"x must be one image (1, C, H, W), got {x.shape}; take x[n:n + 1]")
    x, w = backend.to_numpy(x)[0], backend.to_numpy(w)
    (C, H, W), (_, Fg, kh, kw), (sy, sx), (dy, dx) = x.shape, w.shape, settings["stride"], settings["dilation"]
    full = np.zeros((groups * Fg, sy * (H - 1) + dy * (kh - 1) + 1, sx * (W - 1) + dx * (kw - 1) + 1), x.dtype)
    stamps, count = [], np.zeros(full.shape[1:], np.int64)
    for r, q in np.ndindex(H, W):
        weighted = (w * x[:, r, q, None, None, None]).reshape(groups, C // groups, Fg, kh, kw)
        copy = weighted.sum(axis=1).reshape(groups * Fg, kh, kw)
        rows, columns = sy * r + dy * np.arange(kh), sx * q + dx * np.arange(kw)
        full[:, rows[:, None], columns] += copy
        count[rows[:, None], columns] += 1
        stamps.append(Stamp(r, q, x[:, r, q].copy(), copy, rows, columns))
    (py, px), (ey, ex), (Ho, Wo) = settings["padding"], settings["output_padding"], out_size((1, *x.shape), w.shape, **settings)
    wider = np.pad(full, ((0, 0), (0, ey), (0, ex)))
    return Stamps(stamps, full, count, (py, px, Ho, Wo), wider[:, py:py + Ho, px:px + Wo])


def _short(a):
    """An array of one channel without its channel axis."""
    return a[0] if len(a) == 1 else a


def _span(places):
    """0..2, or 0, 2, 4 with dilation."""
    dense = len(places) > 1 and places[1] == places[0] + 1
    return f"{places[0]}..{places[-1]}" if dense else ", ".join(map(str, places))


# ---- arguments

def geometry(stride, padding, output_padding, dilation, groups):
    """The settings as pairs, by name."""
    return dict(stride=check.int_pair("stride", stride, 1), padding=check.int_pair("padding", padding),
                output_padding=check.int_pair("output_padding", output_padding), dilation=check.int_pair("dilation", dilation, 1),
                groups=check.positive_int("groups", groups))


def out_size(x_shape, w_shape, stride, padding, output_padding, dilation, groups=1):
    """(Ho, Wo): the size from which a convolution with these settings comes down to x's."""
    axes = zip(x_shape[2:], w_shape[2:], stride, padding, output_padding, dilation, strict=True)
    return tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, e, d in axes)


def check_conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups):
    """Raise ValueError, naming the usual cause, unless these arguments make a transposed convolution."""
    check.array("x", x, 4, "(N, C, H, W)")
    check.array("w", w, 4, "(C, F/groups, kh, kw)")
    check.same_dtype({"x": x, "w": w, "b": b})
    C, F = x.shape[1], w.shape[1] * groups
    check.require(len(w) == C, f"w must be ({C}, F/groups, kh, kw) for x with {C} channels, got {w.shape}; the first axis of w counts "
                               "input channels, the second output channels: the other way round than in conv2d")
    check.require(C % groups == 0, f"groups must divide the {C} channels of x, got {groups}")
    check.require(b is None or b.shape == (F,), f"b must be ({F},), one number an output channel, got {getattr(b, 'shape', b)}")
    for axis, e, s, d in zip(("vertical", "horizontal"), output_padding, stride, dilation, strict=True):
        check.require(e < max(s, d), f"output_padding must be smaller than stride or dilation, got {e} with stride {s} and dilation {d} "
                                     f"({axis}): it tells apart the sizes that a stride {s} convolution takes to the same one")
    Ho, Wo = out_size(x.shape, w.shape, stride, padding, output_padding, dilation)
    check.require(min(Ho, Wo, *x.shape[2:], *w.shape[2:]) >= 1,
                  f"{x.shape[2]}x{x.shape[3]} pixels stamped by a {w.shape[2]}x{w.shape[3]} kernel and trimmed by {padding} leave nothing; "
                  "reduce the padding")
