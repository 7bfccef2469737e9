"""A head of your own: the mean colour of each object, to show how little it takes (L16-H01). Use it as

    model = MaskRCNN(classes, heads={"colour": ColourHead(48, (4, 8, 16), rng=rng)}, rng=rng)

and it trains with the rest, under its own loss name; `predict` returns its colours in `found.more["colours"]`. Shapes: see `regions.py`.
"""
import numpy as np

from numpyvision.layers.linear import Linear
from numpyvision.layers.roi import PyramidRoIAlign
from numpyvision.losses import regression
from numpyvision.models.regions import RegionHead


class ColourHead(RegionHead):
    def __init__(self, channels, strides, *, rng, dtype=np.float32):
        self.pool, self.linear = PyramidRoIAlign(3, strides), Linear(channels * 9, 3, std=0.01, rng=rng, dtype=dtype)

    def targets(self, regions):
        colours = [sample.image[:, sample.masks[row]].mean(axis=1) for sample, row in regions.objects()]
        return regions.rois, np.reshape(colours, (-1, 3)).astype(regions.rois.dtype)

    def forward(self, P, rois, truth=None, train=True):
        crops, pool = self.pool.forward(P, rois, train)                                    # (F, C, 3, 3)
        colours, linear = self.linear.forward(crops.reshape(len(crops), -1), train)
        loss, cache = (None, None) if truth is None else regression.smooth_l1_forward(colours, truth)
        return colours, {} if truth is None else {"loss_colour": loss}, (pool, linear, cache, crops.shape)

    def backward(self, dlosses, cache):
        dcolours = regression.smooth_l1_backward(dlosses.get("loss_colour", 0.0), cache[2])
        dcrops, grads = self.linear.backward(dcolours, cache[1])
        return self.pool.backward(dcrops.reshape(cache[3]), cache[0])[0][0], {"linear": grads}

    def decode(self, outputs, found, size):
        return {"colours": outputs.clip(0, 1)}
