"""Semantic segmentation by sliding window (Farabet et al. 2013; lecture L16-G02, G03): classify the centre of a patch, at every pixel.

    patch (3, p, p) -> [conv, ReLU, pool] -> [conv, ReLU, pool] -> conv, ReLU -> (D, 1, 1) -> fc, ReLU -> scores of the centre pixel

No convolution is padded, so the patch is exactly what one score depends on. Two ways to label an image, with the same weights:

    scores_naive   cut out the patch around every pixel, and run the network on each: what neighbours have in common is computed again
    scores         run the network once over the padded image, each layer a convolution over all of it ("dense"): the same numbers

Pooling by 2 is what makes the second one need a thought: a patch that starts one pixel further right pools other pairs. The dense run
therefore pools at stride 1, which gives the answers of all patches side by side, and the layers behind it reach over 2, then 4 pixels:
their dilation ("a trous"), because the values that belong to one patch lie so far apart.

Shapes here: N images of H x W; P patches of p x p; K1 classes, 0 = background; centres (P, 3) = (image, y, x).
"""
import time

import numpy as np

from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.conv import Conv2d
from numpyvision.layers.pooling import MaxPool2d
from numpyvision.losses import classification
from numpyvision.models.images import SPREAD, centre
from numpyvision.models.pixels import IGNORED, class_maps, pixel_labels
from numpyvision.ops import conv, patches
from numpyvision.ops.activation import relu_backward, relu_forward

LOSSES = ("loss_semantic",)


class SlidingWindow(Layer):
    """A patch classifier of len(classes) classes. kernels: the sizes of its convolutions; pooled: a 2x2 max pool between every two of them.

    The side p of the patch follows from them: kernels (4, 4, 5) with pools see 29 pixels. No batch or group norm: statistics over a
    patch and over the whole image differ, and the two runs would no longer be equal. unused: classes that the data numbers but never has,
    so that they are no answer.
    """

    task = "semantic"                                                   # reads Sample.semantic; its classes are a data set's semantic ones

    def __init__(self, classes, widths=(16, 32, 64), kernels=(4, 4, 5), pooled=True, hidden=64, patches_per_image=64, unused=(), *, rng,
                 dtype=np.float32):
        if len(widths) != len(kernels):
            raise ValueError(f"kernels must be one size a convolution, got {len(kernels)} for {len(widths)} widths")
        self.classes, self.patches_per_image, self.unused = tuple(classes), patches_per_image, tuple(unused)
        self._config = dict(classes=list(classes), widths=list(widths), kernels=list(kernels), pooled=pooled, hidden=hidden,
                            patches_per_image=patches_per_image, unused=list(unused))
        ins = (3, *widths[:-1])
        self.convs = [Conv2d(a, b, k, rng=rng, dtype=dtype) for a, b, k in zip(ins, widths, kernels, strict=True)]
        self.convs += [Conv2d(widths[-1], hidden, 1, rng=rng, dtype=dtype)]                # fully connected: a 1x1 convolution
        self.score = Conv2d(hidden, len(classes), 1, std=0.01, rng=rng, dtype=dtype)
        self.pools = len(kernels) - 1 if pooled else 0                  # behind the first so many convolutions
        self.pool = MaxPool2d(2)
        self.patch_size = 1
        for i, k in reversed(list(enumerate(kernels))):                 # from the one score back to the pixels that it sees
            self.patch_size = (2 * self.patch_size if i < self.pools else self.patch_size) + k - 1

    # ------------------------------------------------------------------------------------------------------------ training, on patches
    def classify(self, x, train=True):
        """Patches (P, 3, p, p) -> scores (P, K1, 1, 1), cache."""
        cache, h = new_cache(train), x
        for i, layer in enumerate(self.convs):
            h, cache["conv", i] = layer.forward(h, train)
            h, relu = relu_forward(h)
            cache["relu", i] = relu
            if i < self.pools:
                h, cache["pool", i] = self.pool.forward(h, train)
        s, cache["score"] = self.score.forward(h, train)
        return s, cache

    def forward(self, images, targets, sizes=None, *, rng, train=True):
        """-> {"loss_semantic": mean cross-entropy over patches_per_image patches an image}, cache. rng chooses the patches."""
        cache = new_cache(train)
        labels = pixel_labels(targets, (len(images), *images.shape[2:]))
        centres = sample_pixels(labels, self.patches_per_image * len(images), rng)         # constants: a choice has no gradient
        x, cache["patches"] = patches.extract_patches_forward(centre(images), centres, self.patch_size)
        s, cache["net"] = self.classify(x, train)
        loss, cache["loss_semantic"] = classification.softmax_cross_entropy_forward(s[:, :, 0, 0], labels[tuple(centres.T)])
        return {"loss_semantic": loss}, cache

    def backward(self, dlosses, cache):
        """dlosses: {"loss_semantic": weight} -> dimages, grads."""
        grads, net = {"convs": [None] * len(self.convs)}, cache.net
        ds = classification.softmax_cross_entropy_backward(dlosses.get("loss_semantic", 0.0), cache.loss_semantic)
        dh, grads["score"] = self.score.backward(ds[:, :, None, None], net.score)
        for i in reversed(range(len(self.convs))):
            if i < self.pools:
                dh, _ = self.pool.backward(dh, net["pool", i])
            dh = relu_backward(dh, net["relu", i])
            dh, grads["convs"][i] = self.convs[i].backward(dh, net["conv", i])
        return patches.extract_patches_backward(dh, cache.patches) / SPREAD, grads

    # ------------------------------------------------------------------------------------------------------------ labelling whole images
    def scores_naive(self, images):
        """One patch for every pixel, a row of pixels at a time: (N, 3, H, W) -> scores (N, K1, H, W)."""
        x, (N, _, H, W) = centre(images), images.shape
        out = np.empty((N, len(self.classes), H, W), images.dtype)
        for n, y in np.ndindex(N, H):
            centres = np.stack([np.full(W, n), np.full(W, y), np.arange(W)], axis=1)
            row, _ = patches.extract_patches_forward(x, centres, self.patch_size)
            out[n, :, y] = self.classify(row, train=False)[0][:, :, 0, 0].T
        return out

    def scores(self, images):
        """The same numbers from one run over the padded image: (N, 3, H, W) -> scores (N, K1, H, W)."""
        p, dilation = self.patch_size, 1
        before, after = p // 2, p - 1 - p // 2
        h = np.pad(centre(images), ((0, 0), (0, 0), (before, after), (before, after)))
        for i, layer in enumerate(self.convs):
            h, _ = conv.conv2d_forward(h, layer.params["w"], layer.params["b"], dilation=dilation)
            h, _ = relu_forward(h)
            if i < self.pools:
                h = max_of_neighbours(h, dilation)
                dilation *= 2
        return self.score.forward(h, train=False)[0]

    def predict(self, images, sizes=None):
        """-> the class of every pixel, (N, H, W) uint8; beyond an image's own size it means nothing."""
        return class_maps(self.scores(images), self.unused)

    # ------------------------------------------------------------------------------------------------------------ what the two ways cost
    def multiply_adds(self, height, width):
        """Exact numbers of multiplications of a weight with a value for one image -> {"naive": int, "dense": int} (L16-G03)."""
        p = self.patch_size
        return {"naive": height * width * self._multiply_adds(p, p, dense=False),
                "dense": self._multiply_adds(height + p - 1, width + p - 1, dense=True)}

    def _multiply_adds(self, height, width, dense):
        total, dilation = 0, 1
        for i, layer in enumerate([*self.convs, self.score]):
            F, C, kh, kw = layer.params["w"].shape
            height, width = height - dilation * (kh - 1), width - dilation * (kw - 1)
            total += F * C * kh * kw * height * width
            if i < self.pools and dense:
                height, width, dilation = height - dilation, width - dilation, 2 * dilation
            elif i < self.pools:
                height, width = height // 2, width // 2
        return total

    def compare(self, image):
        """Run both ways on one image (3, H, W) -> {naive, dense: multiply-adds and seconds; their ratios; the largest difference}."""
        counts, seconds, found = self.multiply_adds(*image.shape[1:]), {}, {}
        for name, run in (("dense", self.scores), ("naive", self.scores_naive)):
            run(image[None, :, :16, :16])                              # the compiled loops are loaded before the clock starts
            start = time.perf_counter()
            found[name] = run(image[None])
            seconds[name] = time.perf_counter() - start
        return {"multiply_adds": counts, "multiply_adds_ratio": counts["naive"] / counts["dense"], "seconds": seconds,
                "seconds_ratio": seconds["naive"] / seconds["dense"],
                "largest_difference": float(abs(found["naive"] - found["dense"]).max())}

    def config(self):
        """Everything needed to build this model again, as JSON can hold it."""
        return dict(self._config)


def max_of_neighbours(x, distance):
    """The 2x2 max pool of every patch at once: the largest of 2 x 2 values `distance` apart. (N, C, H, W) -> sides shorter by distance."""
    H, W = x.shape[2] - distance, x.shape[3] - distance
    rows = np.maximum(x[:, :, :H], x[:, :, distance:])
    return np.maximum(rows[..., :W], rows[..., distance:])


def sample_pixels(labels, count, rng):
    """`count` labelled pixels as (count, 3) = (image, y, x), drawn so that every class that occurs is as likely as any other.

    labels (N, H, W), 255 = ignored. With replacement; ValueError if no pixel has a label. Without the balance nearly all patches would
    be sky and grass.
    """
    places = np.flatnonzero(labels != IGNORED)
    if len(places) == 0:
        raise ValueError("no pixel of this batch has a label (all are 255), so there is nothing to learn from")
    found = labels.reshape(-1)[places]
    frequency = np.bincount(found)
    chances = np.cumsum(1 / frequency[found])                          # pixel i is drawn if the number falls between chances i - 1 and i
    drawn = np.searchsorted(chances, rng.random(count) * chances[-1], side="right")
    return np.stack(np.unravel_index(places[np.minimum(drawn, len(places) - 1)], labels.shape), axis=1)
