"""A small VGG (Simonyan & Zisserman 2015) with batch norm: stages of 3x3 convolutions, each ended by a 2x2 max pool that remembers places.

The backbone of FCN and of DeconvNet in their papers. Shapes here: N images, stage l = 1..L has widths[l-1] channels and ends in
P_l (N, widths[l-1], H/2**l, W/2**l), rounded down, with indices_l of the same shape into the plane of P_l's size before pooling.
"""
import numpy as np

from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer, Sequential
from numpyvision.layers.conv import Conv2d
from numpyvision.layers.norm import make_norm
from numpyvision.layers.pooling import MaxPool2d
from numpyvision.layers.upsample import ConvTranspose2d
from numpyvision.ops.activation import add


class ConvNormReLU(Layer):
    """A convolution that keeps the size (or the transpose of one), its norm, and a ReLU. No bias: the norm's beta is one.

    bilinear: a transposed convolution that starts as the interpolation which fills the gaps between nails two pixels apart.
    """

    def __init__(self, in_channels, out_channels, kernel_size=3, norm="batch", transposed=False, bilinear=False, *, rng, dtype=np.float32):
        options = dict(padding=kernel_size // 2, bias=False, rng=rng, dtype=dtype)
        self.conv = (ConvTranspose2d(in_channels, out_channels, kernel_size, bilinear=bilinear, **options) if transposed
                     else Conv2d(in_channels, out_channels, kernel_size, **options))
        self.norm = make_norm(norm, out_channels, relu=True, dtype=dtype)

    def forward(self, x, train=True):
        cache = new_cache(train)
        h, cache["conv"] = self.conv.forward(x, train)
        out, cache["norm"] = self.norm.forward(h, train)
        return out, cache

    def backward(self, dout, cache):
        grads = {}
        dh, grads["norm"] = self.norm.backward(dout, cache.norm)
        dx, grads["conv"] = self.conv.backward(dh, cache.conv)
        return dx, grads


def conv_stage(widths, norm="batch", transposed=False, *, rng, dtype=np.float32):
    """3x3 convolutions with norm and ReLU from widths[0] channels to widths[1], from there to widths[2], and so on. -> Sequential.

    transposed: their transposes, of which the first starts as bilinear interpolation if it keeps the channels; it stands behind an unpool.
    """
    pairs = list(zip(widths[:-1], widths[1:], strict=True))
    return Sequential(*(ConvNormReLU(a, b, 3, norm, transposed, transposed and i == 0 and a == b, rng=rng, dtype=dtype)
                        for i, (a, b) in enumerate(pairs)))


class VGG(Layer):
    """(N, 3, H, W) -> the maps behind every pool, P_1 ... P_L, finest first."""

    def __init__(self, widths=(16, 32, 64, 96, 128), convs=(1, 2, 2, 2, 2), norm="batch", *, rng, dtype=np.float32):
        if len(widths) != len(convs):
            raise ValueError(f"convs must be one number a stage, got {len(convs)} for {len(widths)} widths")
        ins = (3, *widths[:-1])
        self.stages = [conv_stage([a] + [b] * n, norm, rng=rng, dtype=dtype) for a, b, n in zip(ins, widths, convs, strict=True)]
        self.pool = MaxPool2d(2)                                        # it has no parameters: one serves every stage

    def forward(self, x, train=True):
        P, _, cache = self.forward_with_indices(x, train)
        return P, cache

    def forward_with_indices(self, x, train=True):
        """-> (P_1, ..., P_L), (indices_1, ..., indices_L), cache."""
        cache, P, indices, h = new_cache(train), [], [], x
        for l, stage in enumerate(self.stages):
            h, cache["stage", l] = stage.forward(h, train)
            h, places, cache["pool", l] = self.pool.forward_with_indices(h, train)
            P.append(h)
            indices.append(places)
        return tuple(P), tuple(indices), cache

    def backward(self, dP, cache):
        """dP: a gradient for each map that forward returned; None for a map that nobody read."""
        grads, dh = {"stages": [None] * len(self.stages)}, None
        for l in reversed(range(len(self.stages))):
            if dP[l] is not None:                                       # copy gate: P_l left here, and fed the next stage
                dh = dP[l] if dh is None else add(dh, dP[l])
            dh, _ = self.pool.backward(dh, cache["pool", l])
            dh, grads["stages"][l] = self.stages[l].backward(dh, cache["stage", l])
        return dh, grads
