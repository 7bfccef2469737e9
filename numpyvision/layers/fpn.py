"""Feature pyramid (Lin et al. 2017): every level sees as far as the coarsest and as sharply as the finest.

    M_L = lateral(C_L);   M_l = lateral(C_l) + upsample(M_{l+1});   P_l = output(M_l)

Shapes here: L levels, finest first; C_l (N, in_channels[l], H_l, W_l), H_l = 2 H_{l+1}; P_l (N, channels, H_l, W_l).
"""
import numpy as np

from numpyvision.cache import Cache, new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.conv import Conv2d
from numpyvision.ops import resize
from numpyvision.ops.activation import add


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
        cache, P, laterals = new_cache(train), [], []
        for l, level in enumerate(C):
            m, cache["lateral", l] = self.lateral[l].forward(level, train)
            laterals.append(m)
        M, cache["top_down"] = top_down_forward(*laterals)
        for l, m in enumerate(M):
            p, cache["output", l] = self.output[l].forward(m, train)
            P.append(p)
        return tuple(P), cache

    def backward(self, dP, cache):
        dC, dM, grads = [], [], {"lateral": [], "output": []}
        for l, dp in enumerate(dP):
            dm, g = self.output[l].backward(dp, cache["output", l])
            dM.append(dm)
            grads["output"].append(g)
        for l, dlateral in enumerate(top_down_backward(dM, cache["top_down"])):
            dc, g = self.lateral[l].backward(dlateral, cache["lateral", l])
            dC.append(dc)
            grads["lateral"].append(g)
        return tuple(dC), grads


def top_down_forward(*laterals):
    """The joins of the pyramid: M_L = lateral_L, and then from coarse to fine M_l = lateral_l + upsample_nearest(M_{l+1}, 2).

    laterals, finest first: lateral_l (N, channels, H_l, W_l) with H_l = 2 H_{l+1}, W_l = 2 W_{l+1} -> (M_1, ..., M_L), a tuple of the same
    shapes. Caches `up`, a list: up[l] is the cache of the upsampling of M_{l+1} to the size of level l.
    """
    M, up = [laterals[-1].copy()], []
    for lateral in reversed(laterals[:-1]):                             # coarse to fine: each level adds to what came from above
        upsampled, cache = resize.upsample_nearest_forward(M[0], 2)
        M.insert(0, add(lateral, upsampled))
        up.insert(0, cache)
    return tuple(M), Cache(up=up)


def top_down_backward(dM, cache):
    """dM (dM_1, ..., dM_L), what reaches each M_l from its own output -> (dlateral_1, ..., dlateral_L), a tuple of the same shapes.

    M_l was read twice, by its output and, upsampled, by the next finer level M_{l-1}: its gradients add (copy gate). M_l is a sum, and a
    sum hands its gradient on to both of its terms (add gate). So the coarsest lateral hears from every level of the pyramid.
    """
    dlaterals = [dM[0].copy()]
    for dm, up in zip(dM[1:], cache.up, strict=True):                   # the reverse: fine to coarse
        dlaterals.append(dm + resize.upsample_nearest_backward(dlaterals[-1], up))
    return tuple(dlaterals)
