"""DeconvNet (Noh et al. 2015): a VGG and its mirror image. Every pool remembers its places, every unpool puts values back there.

    images                                                                      scores of every pixel
      convs, pool 1 --------------------- indices 1 ----------------------> unpool 1, convs'   -> loss_semantic
        convs, pool 2 ------------------- indices 2 --------------------> unpool 2, convs'
          convs, pool 3 ----------------- indices 3 ------------------> unpool 3, convs'
                        fc 5x5, fc 1x1, fc' 5x5
                                     \\-> loss_coarse

No skip carries a feature across: only *where* the maxima were crosses over (lecture L16-G08, U07 to U10). ' marks transposed convolutions,
which fill in around the values that the unpool has put down. The first behind each unpool starts as bilinear interpolation (layers/vgg.py):
with random weights the coarse answer has to get through three layers of scattered nails, and learns more slowly.

The paper starts from a VGG that knows ImageNet. Ours starts from nothing, and the loss behind three unpools teaches the encoder slowly:
cats and dogs stay confused. loss_coarse asks the bottleneck itself for the class at the centre of each of its cells, with the frequent
classes thinned out as in the loss of the pixels. It is there in training only.

Shapes here: N images of H x W (any size); level l = 1..L; P_l (N, widths[l-1], H/2**l, W/2**l); indices_l as P_l; K1 classes.
"""
import numpy as np

from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer, Sequential
from numpyvision.layers.conv import Conv2d
from numpyvision.layers.pooling import MaxUnpool2d
from numpyvision.layers.vgg import VGG, ConvNormReLU, conv_stage
from numpyvision.losses import classification
from numpyvision.models.images import SPREAD, centre
from numpyvision.models.pixels import class_maps, pixel_labels, thin_out

LOSSES = ("loss_semantic", "loss_coarse")


class Decoder(Layer):
    """The mirror of a VGG: unpool L, transposed convolutions, unpool L-1, ..., down to the size of the image."""

    def __init__(self, widths, convs, norm="batch", *, rng, dtype=np.float32):
        self.unpool = MaxUnpool2d(2)
        outs = (widths[0], *widths[:-1])                                # stage l gives stage l-1's channels; the last keeps its own
        self.stages = [conv_stage([width] * count + [out], norm, transposed=True, rng=rng, dtype=dtype)
                       for width, out, count in zip(widths, outs, convs, strict=True)]

    def forward(self, h, indices, sizes, train=True):
        """h of P_L's shape; indices (indices_1, ..., indices_L); sizes[l-1] = (H, W) of the map that pool l pooled."""
        cache = new_cache(train)
        for l in reversed(range(len(self.stages))):
            if h.shape != indices[l].shape:
                raise ValueError(f"unpool {l + 1} got a map of shape {h.shape} and the indices of a pool of shape {indices[l].shape}: "
                                 "they must be equal; each unpool takes the indices of the pool at its own level, the last pool first")
            h, cache["unpool", l] = self.unpool.forward(h, indices[l], sizes[l], train)
            h, cache["stage", l] = self.stages[l].forward(h, train)
        return h, cache

    def backward(self, dout, cache):
        """-> dh, grads. The indices are constants."""
        grads, dh = {"stages": [None] * len(self.stages)}, dout
        for l in range(len(self.stages)):
            dh, grads["stages"][l] = self.stages[l].backward(dh, cache["stage", l])
            dh, _ = self.unpool.backward(dh, cache["unpool", l])
        return dh, grads


class DeconvNet(Layer):
    """Scores of len(classes) classes for every pixel. The paper: 5 pools, widths 64 to 512, fc of 4096; here the small setting.

    balance: from 0 (the paper: every pixel counts alike) to 1, how much frequent classes are thinned out in training (models/pixels.py).
    unused: classes that the data numbers but never has, so that they are no answer.
    """

    task = "semantic"                                                   # reads Sample.semantic; its classes are a data set's semantic ones

    def __init__(self, classes, widths=(16, 32, 64), convs=(1, 2, 2), fc_channels=96, fc_size=5, norm="batch",
                 balance=0.0, unused=(), *, rng, dtype=np.float32):
        self.classes = tuple(classes)
        self._config = dict(classes=list(classes), widths=list(widths), convs=list(convs), fc_channels=fc_channels, fc_size=fc_size,
                            norm=norm, balance=balance, unused=list(unused))
        self.balance, self.unused = balance, tuple(unused)
        options = dict(norm=norm, rng=rng, dtype=dtype)
        self.backbone = VGG(widths, convs, **options)
        self.fc = Sequential(ConvNormReLU(widths[-1], fc_channels, fc_size, **options),    # fc6: with padding, so it keeps P_L's size
                             ConvNormReLU(fc_channels, fc_channels, 1, **options))         # fc7: 1x1
        self.fc_back = ConvNormReLU(fc_channels, widths[-1], fc_size, transposed=True, **options)            # deconv-fc6
        self.coarse = Conv2d(fc_channels, len(classes), 1, std=0.01, rng=rng, dtype=dtype)
        self.decoder = Decoder(widths, convs, **options)
        self.score = Conv2d(widths[0], len(classes), 1, std=0.01, rng=rng, dtype=dtype)

    def scores(self, images, train=True):
        """images (N, 3, H, W) in [0, 1] -> scores (N, K1, H, W), the bottleneck (N, fc_channels, H/2**L, W/2**L), cache."""
        cache = new_cache(train)
        P, indices, cache["backbone"] = self.backbone.forward_with_indices(centre(images), train)
        sizes = [images.shape[2:], *(p.shape[2:] for p in P[:-1])]     # of what each pool pooled: an odd row comes back
        narrow, cache["fc"] = self.fc.forward(P[-1], train)
        h, cache["fc_back"] = self.fc_back.forward(narrow, train)
        h, cache["decoder"] = self.decoder.forward(h, indices, sizes, train)
        s, cache["score"] = self.score.forward(h, train)
        return s, narrow, cache

    def forward(self, images, targets, sizes=None, *, rng=None, train=True):
        """-> {"loss_semantic", "loss_coarse"}: mean cross-entropy over all labelled pixels and cells, cache.

        sizes is not used; rng only to balance.
        """
        s, narrow, cache = self.scores(images, train)
        labels = pixel_labels(targets, (len(s), *s.shape[2:]))
        if train and self.balance:
            labels = thin_out(labels, self.balance, rng)
        coarse, cache["coarse"] = self.coarse.forward(narrow, train)
        loss_coarse, cache["loss_coarse"] = classification.softmax_cross_entropy_forward(
            coarse, at_cell_centres(labels, coarse.shape[2:]))
        loss, cache["loss_semantic"] = classification.softmax_cross_entropy_forward(s, labels)
        return {"loss_semantic": loss, "loss_coarse": loss_coarse}, cache

    def backward(self, dlosses, cache):
        """dlosses: {name: loss weight}, a missing one counts as zero -> dimages, grads."""
        grads = {}
        ds = classification.softmax_cross_entropy_backward(dlosses.get("loss_semantic", 0.0), cache.loss_semantic)
        dh, grads["score"] = self.score.backward(ds, cache.score)
        dh, grads["decoder"] = self.decoder.backward(dh, cache.decoder)
        dnarrow, grads["fc_back"] = self.fc_back.backward(dh, cache.fc_back)
        dcoarse = classification.softmax_cross_entropy_backward(dlosses.get("loss_coarse", 0.0), cache.loss_coarse)
        dnarrow_coarse, grads["coarse"] = self.coarse.backward(dcoarse, cache.coarse)
        dh, grads["fc"] = self.fc.backward(dnarrow + dnarrow_coarse, cache.fc)   # copy gate: the decoder and `coarse` read it
        dP = [None] * (len(self.decoder.stages) - 1) + [dh]            # only the last map was read; the others gave indices, constants
        dimages, grads["backbone"] = self.backbone.backward(dP, cache.backbone)
        return dimages / SPREAD, grads

    def predict(self, images, sizes=None):
        """-> the class of every pixel, (N, H, W) uint8; beyond an image's own size it means nothing."""
        return class_maps(self.scores(images, train=False)[0], self.unused)

    def config(self):
        """Everything needed to build this model again, as JSON can hold it."""
        return dict(self._config)


def at_cell_centres(labels, size):
    """The labels (N, H, W) at the centres of a grid of size (h, w) laid over them -> (N, h, w)."""
    rows, columns = (((np.arange(n) + 0.5) * whole / n).astype(np.int64) for n, whole in zip(size, labels.shape[1:], strict=True))
    return labels[:, rows[:, None], columns]
