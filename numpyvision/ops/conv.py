"""Convolution (cross-correlation, as everywhere in this field: erratum L16-E16), forward and backward.

Shapes here: N images, C input channels, F filters (output channels), H W input size, kh kw kernel, Ho Wo output size, G groups.
    x (N, C, H, W)   w (F, C/G, kh, kw)   b (F,)   out (N, F, Ho, Wo)   Ho = floor((H + 2p - d(kh-1) - 1) / s) + 1

The readable body is im2col: every window of x becomes a column, so that the convolution is one matrix product and its two gradients are
the two transposes of that product. The compiled loops in `kernels/conv.py` are another derivation that never builds the columns.
"""
import numpy as np

from numpyvision import backend, check, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache


def conv2d_forward(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """out[n, f, r, q] = b[f] + sum over c, i, j of w[f, c, i, j] * x[n, c, s*r + d*i - p, s*q + d*j - p]; zero outside the image.

    x (N, C, H, W), w (F, C/groups, kh, kw), b (F,) or None -> (N, F, Ho, Wo). stride, padding and dilation are ints or (vertical,
    horizontal) pairs; group g of the filters reads group g of the channels. Lecture L16-V01, V02. Caches x and w (not the columns:
    one 3x3 conv on a 256 x 200 x 336 map would hold 587 MB instead of 65), has_b, the pairs stride, padding, dilation, and groups.
    ValueError where the shapes do not fit together.
    """
    stride, dilation = check.int_pair("stride", stride, 1), check.int_pair("dilation", dilation, 1)
    padding = check.int_pair("padding", padding)
    check_conv2d(x, w, b, stride, padding, dilation, groups)
    if backend.compiled(x, w, b):
        x, w = np.ascontiguousarray(x), np.ascontiguousarray(w)
        out = kernels.conv.conv2d(x, w, None if b is None else np.ascontiguousarray(b), stride, padding, dilation, groups)
    else:
        cols = im2col(x, w.shape[2:], stride, padding, dilation, groups)               # (N, G, C/G*kh*kw, Ho*Wo)
        out = filter_rows(w, groups) @ cols                                            # (N, G, F/G, Ho*Wo)
        out = out.reshape(len(x), len(w), *out_size(x.shape, w.shape, stride, padding, dilation))
        if b is not None:
            out = out + b[:, None, None]
    return out, Cache(x=x, w=w, has_b=b is not None, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv2d_backward(dout, cache):
    """dout (N, F, Ho, Wo) -> dx (N, C, H, W), dw (F, C/groups, kh, kw), db (F,) or None if forward had no b."""
    return conv2d_dx(dout, cache), conv2d_dw(dout, cache), conv2d_db(dout, cache)


def conv2d_dx(dout, cache):
    """The gradient to the image: dout (N, F, Ho, Wo) -> dx (N, C, H, W), the shape of `cache.x`; the filters are `cache.w`.

    out = w @ cols, so dcols = w^T @ dout, and im2col's copies are undone by adding them up (copy gate): every pixel collects w * dout
    from every window and tap that read it. What reached the padding is dropped. cache: see conv2d_forward.
    """
    x, w, groups = cache.x, cache.w, cache.groups
    geometry = cache.stride, cache.padding, cache.dilation
    N, F, Ho, Wo = dout.shape
    if backend.compiled(dout, x, w):
        return kernels.conv.conv2d_dx(np.ascontiguousarray(dout), w, x.shape, *geometry, groups)
    dout = dout.reshape(N, groups, F // groups, Ho * Wo)
    dcols = filter_rows(w, groups).swapaxes(1, 2) @ dout                               # (N, G, C/G*kh*kw, Ho*Wo)
    return col2im(dcols, x.shape, w.shape[2:], *geometry)


def conv2d_dw(dout, cache):
    """The gradient to the filters: dout (N, F, Ho, Wo) -> dw (F, C/groups, kh, kw).

    out = w @ cols, so dw = dout @ cols^T: weight (c, i, j) of filter f collects dout[n, f, r, q] times the pixel that it met there, over
    all images n and places r, q. cache: see conv2d_forward.
    """
    x, w, groups = cache.x, cache.w, cache.groups
    geometry = cache.stride, cache.padding, cache.dilation, groups
    N, F, Ho, Wo = dout.shape
    if backend.compiled(dout, x, w):
        return kernels.conv.conv2d_dw(np.ascontiguousarray(dout), x, w.shape, *geometry)
    cols = im2col(x, w.shape[2:], *geometry)                                           # (N, G, C/G*kh*kw, Ho*Wo)
    dout = dout.reshape(N, groups, F // groups, Ho * Wo)
    return (dout @ cols.swapaxes(2, 3)).sum(axis=0).reshape(w.shape)                   # w served every image: gradients add


def conv2d_db(dout, cache):
    """The gradient to the bias: dout (N, F, Ho, Wo) -> db (F,), or None if not `cache.has_b`. b was copied to every image and pixel."""
    if not cache.has_b:
        return None
    N, F, Ho, Wo = dout.shape
    if backend.compiled(dout):
        return kernels.conv.conv2d_db(np.ascontiguousarray(dout).reshape(N, F, Ho * Wo))
    return dout.sum(axis=(0, 2, 3))                                                    # copy gate: the copies' gradients add up


def im2col(x, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """Every window of x as a column: (N, C, H, W) -> (N, G, C/G*kh*kw, Ho*Wo), G groups of the channels.

    Column r*Wo + q is the window of output (r, q); its row (c*kh + i)*kw + j is x[n, c, s*r + d*i - p, s*q + d*j - p], 0 outside x.
    kernel_size, stride, padding, dilation are (vertical, horizontal) pairs.
    """
    xp = get_array_module(x)
    (N, C, H, W), (kh, kw), (sy, sx), (dy, dx) = x.shape, kernel_size, stride, dilation
    Ho, Wo = out_size(x.shape, (0, 0, kh, kw), stride, padding, dilation)
    padded = zero_pad(x, padding)
    cols = xp.empty((N, C, kh, kw, Ho, Wo), dtype=x.dtype)
    for i in range(kh):
        for j in range(kw):                                                            # tap (i, j) sees a shifted, strided image
            cols[:, :, i, j] = padded[:, :, i * dy:i * dy + sy * (Ho - 1) + 1:sy, j * dx:j * dx + sx * (Wo - 1) + 1:sx]
    return cols.reshape(N, groups, C // groups * kh * kw, Ho * Wo)


def col2im(cols, x_shape, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    """The transpose of im2col: adds each column back to where its window stood. (N, G, C/G*kh*kw, Ho*Wo) -> (N, C, H, W) = x_shape.

    A pixel that several windows read collects all of their numbers; what fell on the padding is dropped. Not the inverse of im2col.
    """
    xp = get_array_module(cols)
    (N, C, H, W), (kh, kw), (py, px), (sy, sx), (dy, dx) = x_shape, kernel_size, padding, stride, dilation
    Ho, Wo = out_size(x_shape, (0, 0, kh, kw), stride, padding, dilation)
    cols = cols.reshape(N, C, kh, kw, Ho, Wo)
    padded = xp.zeros((N, C, H + 2 * py, W + 2 * px), dtype=cols.dtype)
    for i in range(kh):
        for j in range(kw):
            padded[:, :, i * dy:i * dy + sy * (Ho - 1) + 1:sy, j * dx:j * dx + sx * (Wo - 1) + 1:sx] += cols[:, :, i, j]
    return padded[:, :, py:py + H, px:px + W].copy()                                   # what fell on the padding is dropped


def zero_pad(x, padding):
    """(N, C, H, W) -> (N, C, H + 2*py, W + 2*px), zeros around."""
    (N, C, H, W), (py, px) = x.shape, padding
    padded = get_array_module(x).zeros((N, C, H + 2 * py, W + 2 * px), dtype=x.dtype)
    padded[:, :, py:py + H, px:px + W] = x
    return padded


def filter_rows(w, groups):
    """Each filter as a row of its group's matrix: (F, C/G, kh, kw) -> (G, F/G, C/G*kh*kw)."""
    return w.reshape(groups, len(w) // groups, -1)


def out_size(x_shape, w_shape, stride, padding, dilation):
    """(Ho, Wo): how many places the (dilated) kernel fits along each axis of the padded image."""
    sizes = zip(x_shape[2:], w_shape[2:], stride, padding, dilation, strict=True)
    return tuple((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in sizes)


def check_conv2d(x, w, b, stride, padding, dilation, groups):
    """Raise ValueError, naming the usual cause, unless these arguments make a convolution."""
    check.array("x", x, 4, "(N, C, H, W)")
    check.array("w", w, 4, "(F, C/groups, kh, kw)")
    check.same_dtype({"x": x, "w": w} if b is None else {"x": x, "w": w, "b": b})
    (N, C, H, W), (F, Cg, kh, kw) = x.shape, w.shape
    check.positive_int("groups", groups)                                               # `if`, not require: messages with shapes are dear
    if C % groups or F % groups:
        raise ValueError(f"groups must divide both the {C} channels of x and the {F} filters of w, got {groups!r}")
    if Cg != C // groups:
        raise ValueError(f"w must be (F, {C // groups}, kh, kw) for x with {C} channels in {groups} group(s), got {w.shape}; "
                         "the second axis of w counts input channels, the first output channels")
    if b is not None and b.shape != (F,):
        raise ValueError(f"b must be ({F},), one number a filter, got {b.shape}")
    Ho, Wo = out_size(x.shape, w.shape, stride, padding, dilation)
    if min(Ho, Wo, kh, kw) < 1:
        raise ValueError(f"a {kh}x{kw} kernel with dilation {dilation} does not fit into a {H}x{W} image padded by {padding}; "
                         "enlarge the padding or stop downsampling earlier")
