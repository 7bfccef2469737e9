"""Convolution written down as a matrix, so that its transpose can be looked at (lecture L16-V07 to V12).

Shapes here: C input and F output channels, H W input size, Ho Wo output size, kh kw kernel. An image becomes a column, channel by channel
and row by row (`image.ravel()`); X (F*Ho*Wo, C*H*W) is the matrix for which conv2d(image) = X @ image, and conv_transpose2d = X.T @ out.

    conv_matrix(symbols("xyz"), 6)             [[x y z 0 0 0]          the slide's four rows; it prints their ends as "x y x",
                                                [0 x y z 0 0]          which is erratum L16-E01: its own products use z
                                                [0 0 x y z 0]
                                                [0 0 0 x y z]]
    conv_matrix(symbols("xyz"), 6, stride=2)   its rows 0 and 2 (L16-V10)

The zeros that pad an image can be part of the column, as on the slide (a sequence of 4 becomes 0 a b c d 0, L16-V07), or not, with
padding=1; then X lacks the columns of those zeros, and X.T does not produce the values there. That is the trimming of a transposed
convolution (erratum L16-E11).
"""
import numpy as np

from numpyvision import check
from numpyvision.ops import conv


def conv_matrix(w, input_shape, stride=1, padding=0, dilation=1, groups=1):
    """The matrix of a convolution (a cross-correlation, as conv2d is: erratum L16-E16) -> scipy.sparse CSR (outputs, inputs).

    w and input_shape, one channel: (k,) and L or (L,); (kh, kw) and (H, W). Many: (F, C/groups, k) and (C, L); (F, C/groups, kh, kw) and
    (C, H, W). The settings are conv2d's. Letters (`symbolic.symbols`) give a dense object array instead, to be printed.
    """
    w, input_shape, settings = as_image(w, input_shape, stride, padding, dilation)
    (F, _, kh, kw), (C, H, W) = w.shape, input_shape
    conv.check_conv2d(np.empty((1, C, H, W), w.dtype), w, None, *settings, groups)
    Ho, Wo = conv.out_size((1, C, H, W), w.shape, *settings)
    # Let every pixel hold its own number, from 1 on: the columns of im2col then say which pixel each tap of each output reads, 0 padding
    pixel = conv.im2col(1 + np.arange(C * H * W).reshape(1, C, H, W), (kh, kw), *settings, groups)[0]       # (G, C/G*kh*kw, Ho*Wo)
    pixel = np.broadcast_to(pixel[:, None], (groups, F // groups, *pixel.shape[1:])).reshape(F, -1, Ho * Wo)
    value = np.broadcast_to(w.reshape(F, -1, 1), pixel.shape)                          # (F, C/G*kh*kw, Ho*Wo): the weight of that tap
    output = np.broadcast_to(np.arange(F * Ho * Wo).reshape(F, 1, Ho * Wo), pixel.shape)
    inside = pixel > 0
    rows, columns, shape = output[inside], pixel[inside] - 1, (F * Ho * Wo, C * H * W)
    if w.dtype == object:
        X = np.zeros(shape, dtype=object)
        X[rows, columns] = value[inside]
        return X
    from scipy import sparse  # here: it takes longer to load than all of this package
    return sparse.csr_matrix((value[inside], (rows, columns)), shape=shape)


def as_image(w, input_shape, stride, padding, dilation):
    """Any of the four forms as w (F, C/G, kh, kw), (C, H, W) and (stride, padding, dilation) pairs. A sequence is an image one row high."""
    check.require(hasattr(w, "ndim") and w.ndim in (1, 2, 3, 4), "w must be (k,), (kh, kw), (F, C/groups, k) or (F, C/groups, kh, kw), got "
                                                                 f"{getattr(w, 'shape', type(w).__name__)}")
    shape = (input_shape,) if np.ndim(input_shape) == 0 else tuple(input_shape)
    expected = {1: "(L,)", 2: "(H, W)", 3: "(C, L)", 4: "(C, H, W)"}[w.ndim]
    check.require(len(shape) == (1, 2, 2, 3)[w.ndim - 1], f"input_shape must be {expected} for w of shape {w.shape}, got {input_shape}")
    if w.ndim in (1, 2):
        w, shape = w[None, None], (1, *shape)                      # one filter that reads one channel
    settings = [check.int_pair("stride", stride, 1), check.int_pair("padding", padding), check.int_pair("dilation", dilation, 1)]
    if w.ndim == 3:
        w, shape = w[:, :, None], (shape[0], 1, shape[1])
        settings = [(still, pair[1]) for still, pair in zip((1, 0, 1), settings, strict=True)]
    return w, shape, settings
