"""Feature pyramid (Lin et al. 2017): every level sees as far as the coarsest and as sharply as the finest.

    M_L = lateral(C_L);   M_l = lateral(C_l) + upsample(M_{l+1});   P_l = output(M_l)

Shapes here: L levels, finest first; C_l (N, in_channels[l], H_l, W_l), H_l = 2 H_{l+1}; P_l (N, channels, H_l, W_l).
"""
import numpy as np

from numpyvision import tree
from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.conv import Conv2d
from numpyvision.ops import resize


class FPN(Layer):
    """Levels C -> levels P, all with the same number of channels."""

    def __init__(self, in_channels, channels, *, rng, dtype=np.float32):
        # A plain convolution, no ReLU before it: keep the variance with std = sqrt(1 / fan_in)
        self.lateral = [Conv2d(c, channels, 1, std=np.sqrt(1 / c), rng=rng, dtype=dtype) for c in in_channels]
        self.output = [Conv2d(channels, channels, 3, padding=1, std=np.sqrt(1 / (9 * channels)), rng=rng, dtype=dtype) for _ in in_channels]

    def forward(self, C, train=True):
        for fine, coarse in zip(C[:-1], C[1:], strict=True):
            if fine.shape[2:] != (2 * coarse.shape[2], 2 * coarse.shape[3]):
                raise ValueError(f"each level must have twice the size of the next, got {[c.shape[2:] for c in C]}; pad the image to a "
                                 "multiple of the coarsest stride (data.batches.collate does)")
        L = len(C)
        cache, P, M = new_cache(train), [None] * L, None
        for l in reversed(range(L)):                                    # top-down: coarse to fine
            lateral, cache["lateral", l] = self.lateral[l].forward(C[l], train)
            if M is None:
                M = lateral
            else:
                up, cache["up", l] = resize.upsample_nearest_forward(M)
                M = lateral + up
            P[l], cache["output", l] = self.output[l].forward(M, train)
        return tuple(P), cache

    def backward(self, dP, cache):
        L = len(dP)
        dC, grads, dM_finer = [None] * L, {"lateral": [None] * L, "output": [None] * L}, None
        for l in range(L):                                              # the reverse: fine to coarse
            dM, grads["output"][l] = self.output[l].backward(dP[l], cache["output", l])
            dM = tree.add(dM, dM_finer)                                 # copy gate: M_l fed P_l and, upsampled, M_{l-1}
            if l + 1 < L:
                dM_finer = resize.upsample_nearest_backward(dM, cache["up", l])
            dC[l], grads["lateral"][l] = self.lateral[l].backward(dM, cache["lateral", l])
        return tuple(dC), grads
