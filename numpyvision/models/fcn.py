"""FCN, fully convolutional networks for semantic segmentation (Long et al. 2015): a classifier that answers at every pixel.

    images -> VGG -> P_1 ... P_5 -> fc -> score_5 --up x2--> + score_4 --up x2--> + score_3 --up x8--> scores of every pixel
                              P_4 ------------------------------^  P_3 -------------^                   -> loss_semantic

Deep maps know what, shallow ones know where: FCN-32s has no skip, 16s one, 8s two (the picture above); 4s and 2s go on in the same way.
Lecture L16-G04 to G09; the upsampler is a choice of five (layers/upsample.py).

Shapes here: N images, padded to H x W, multiples of 32; K1 classes, 0 = background; P_l (N, widths[l-1], H/2**l, W/2**l);
s_l, the scores at level l, (N, K1, H/2**l, W/2**l).
"""
import numpy as np

from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.conv import Conv2d
from numpyvision.layers.upsample import Upsample
from numpyvision.layers.vgg import VGG, ConvNormReLU
from numpyvision.losses import classification
from numpyvision.models.images import SPREAD, centre
from numpyvision.models.pixels import class_maps, pixel_labels, thin_out
from numpyvision.ops.activation import add

LOSSES = ("loss_semantic",)
FINEST = {"32s": 5, "16s": 4, "8s": 3, "4s": 2, "2s": 1}               # the level of the last skip, by the stride of its map
L = 5


class FCN(Layer):
    """Scores of len(classes) classes for every pixel. skips: one of FINEST; upsampler: one of layers.upsample.UPSAMPLERS.

    balance: from 0 (the paper: every pixel counts alike) to 1, how much frequent classes are thinned out in training (models/pixels.py).
    unused: classes that the data numbers but never has, so that they are no answer.
    """

    task = "semantic"                                                   # reads Sample.semantic; its classes are a data set's semantic ones

    def __init__(self, classes, skips="8s", upsampler="transposed", widths=(16, 32, 64, 96, 128), convs=(1, 2, 2, 2, 2), norm="batch",
                 balance=0.0, unused=(), *, rng, dtype=np.float32):
        if skips not in FINEST:
            raise ValueError(f"skips must be one of {', '.join(FINEST)}, got {skips!r}")
        self.classes = tuple(classes)
        self._config = dict(classes=list(classes), skips=skips, upsampler=upsampler, widths=list(widths), convs=list(convs), norm=norm,
                            balance=balance, unused=list(unused))
        self.balance, self.unused, K1, self.finest = balance, tuple(unused), len(classes), FINEST[skips]
        self.backbone = VGG(widths, convs, norm, rng=rng, dtype=dtype)
        self.fc = ConvNormReLU(widths[-1], widths[-1], 3, norm, rng=rng, dtype=dtype)      # the paper's fc6 and fc7 as a convolution
        # Skips start at zero (paper, 4.2), so that training begins with the coarse answer and learns what to add to it.
        self.score = {l: Conv2d(widths[l - 1], K1, 1, std=0.01 if l == L else 0.0, rng=rng, dtype=dtype)
                      for l in range(L, self.finest - 1, -1)}
        self.up = {l: Upsample(upsampler, 2, K1, widths[l - 1:l], rng=rng, dtype=dtype) for l in range(L, self.finest, -1)}
        self.up[self.finest] = Upsample(upsampler, 2 ** self.finest, K1, widths[:self.finest][::-1], rng=rng, dtype=dtype)

    def scores(self, images, train=True):
        """images (N, 3, H, W) in [0, 1] -> scores (N, K1, H, W), cache."""
        if images.shape[2] % 2 ** L or images.shape[3] % 2 ** L:
            raise ValueError(f"height and width must be multiples of {2 ** L}, got {images.shape[2:]}; data.batches.collate pads images so")
        cache = new_cache(train)
        P, indices, cache["backbone"] = self.backbone.forward_with_indices(centre(images), train)
        h, cache["fc"] = self.fc.forward(P[L - 1], train)
        s, cache["score", L] = self.score[L].forward(h, train)
        for l in range(L, self.finest, -1):                            # coarse to fine: twice as large, plus what the finer map says
            s, cache["up", l] = self.up[l].forward(s, indices[l - 1:l], train)
            skip, cache["score", l - 1] = self.score[l - 1].forward(P[l - 2], train)
            s = add(s, skip)
        s, cache["up", self.finest] = self.up[self.finest].forward(s, indices[:self.finest][::-1], train)
        return s, cache

    def forward(self, images, targets, sizes=None, *, rng=None, train=True):
        """-> {"loss_semantic": mean cross-entropy over all labelled pixels}, cache. sizes is not used; rng only to balance."""
        s, cache = self.scores(images, train)
        labels = pixel_labels(targets, (len(s), *s.shape[2:]))
        if train and self.balance:
            labels = thin_out(labels, self.balance, rng)
        loss, cache["loss_semantic"] = classification.softmax_cross_entropy_forward(s, labels)
        return {"loss_semantic": loss}, cache

    def backward(self, dlosses, cache):
        """dlosses: {"loss_semantic": weight} -> dimages, grads."""
        grads, dP = {"score": {}, "up": {}}, [None] * L
        ds = classification.softmax_cross_entropy_backward(dlosses.get("loss_semantic", 0.0), cache.loss_semantic)
        ds, grads["up"][self.finest] = self.up[self.finest].backward(ds, cache["up", self.finest])
        for l in range(self.finest + 1, L + 1):                        # add gate: skip and upsampled scores get the same gradient
            dP[l - 2], grads["score"][l - 1] = self.score[l - 1].backward(ds, cache["score", l - 1])
            ds, grads["up"][l] = self.up[l].backward(ds, cache["up", l])
        dh, grads["score"][L] = self.score[L].backward(ds, cache["score", L])
        dP[L - 1], grads["fc"] = self.fc.backward(dh, cache.fc)
        dimages, grads["backbone"] = self.backbone.backward(dP, cache.backbone)
        return dimages / SPREAD, grads

    def predict(self, images, sizes=None):
        """-> the class of every pixel, (N, H, W) uint8; beyond an image's own size it means nothing."""
        return class_maps(self.scores(images, train=False)[0], self.unused)

    def config(self):
        """Everything needed to build this model again, as JSON can hold it."""
        return dict(self._config)
