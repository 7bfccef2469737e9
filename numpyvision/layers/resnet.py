"""A small ResNet (He et al. 2016) that gives one feature map a stage: C1 at half the image's size, C2 at a quarter, and so on.

Shapes here: N images, stage l (from 0) has widths[l] channels and stride 2**(l + 1): C_{l+1} (N, widths[l], H/2**(l+1), W/2**(l+1)).
"""
import numpy as np

from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer, Sequential
from numpyvision.layers.blocks import BLOCKS, ConvNorm
from numpyvision.ops.activation import add


class ResNet(Layer):
    """(N, 3, H, W) -> the maps of the stages in `out_stages` (numbered as C1, C2, ... are), finest first.

    The stem is one 3x3 convolution of stride 2: the paper's 7x7 and max pooling throw away three quarters of a 128 px image twice before
    the first block has seen it. Every stage but the first begins with a block of stride 2.
    """

    def __init__(self, widths=(16, 32, 64, 96), blocks=(1, 1, 1, 1), out_stages=(2, 3, 4), block="basic", norm="group", *, rng,
                 dtype=np.float32):
        if len(widths) != len(blocks) or not all(1 <= s <= len(widths) for s in out_stages):
            raise ValueError(f"one number of blocks a stage and out_stages from 1 to {len(widths)}, got widths {widths}, blocks {blocks}, "
                             f"out_stages {out_stages}")
        self.out_stages = tuple(out_stages)
        self.out_channels = tuple(widths[s - 1] for s in out_stages)
        self.strides = tuple(2 ** s for s in out_stages)
        self.stem = ConvNorm(3, widths[0], 3, 2, norm, relu=True, rng=rng, dtype=dtype)
        self.stages, channels = [], widths[0]
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            strides = [1 if level == 0 else 2] + [1] * (count - 1)
            ins = [channels] + [width] * (count - 1)
            made = [BLOCKS[block](c, width, s, norm, rng=rng, dtype=dtype) for c, s in zip(ins, strides, strict=True)]
            self.stages.append(Sequential(*made))
            channels = width

    def forward(self, x, train=True):
        cache, features = new_cache(train), []
        h, cache["stem"] = self.stem.forward(x, train)
        for i, stage in enumerate(self.stages):
            h, cache["stage", i] = stage.forward(h, train)
            if i + 1 in self.out_stages:
                features.append(h)
        return tuple(features), cache

    def backward(self, dfeatures, cache):
        """dfeatures: one gradient for each map that forward returned."""
        grads, dh, dC = {"stages": [None] * len(self.stages)}, None, dict(zip(self.out_stages, dfeatures, strict=True))
        for i in reversed(range(len(self.stages))):
            if i + 1 in dC:                                             # copy gate: C_i left here, and fed the next stage
                dh = dC[i + 1] if dh is None else add(dh, dC[i + 1])
            dh, grads["stages"][i] = self.stages[i].backward(dh, cache["stage", i])
        dx, grads["stem"] = self.stem.backward(dh, cache.stem)
        return dx, grads
