"""Transforms: `t(sample, rng) -> new Sample`. Pure: a sample is never written into, so a cached one can be transformed again and again.

Everything in a sample moves together: image, boxes, masks, keypoints, semantic and panoptic maps. Images are resampled bilinearly with
antialiasing (Pillow), label maps by nearest pixel (an average of class 3 and class 5 is not class 4), boxes and keypoints exactly.
Shapes here: G objects, H W the size; boxes (x1, y1, x2, y2), half-open and continuous.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from numpyvision.boxes import keypoints as joints

LUMA = np.array([0.299, 0.587, 0.114])   # how bright red, green and blue look (ITU-R BT.601)


@dataclass(frozen=True)
class Compose:
    """One transform after the other; all draw from the same rng, in order."""
    transforms: Sequence

    def __call__(self, sample, rng):
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample


@dataclass(frozen=True)
class ResizeShortSide:
    """Resize so that the short side becomes `short` pixels, but the long side at most `max_size`. Several shorts: one is drawn at random.

    Both axes get exactly the same scale, so that boxes * scale and predictions / scale are exact: where the other side would end in a
    fraction of a pixel, this fraction of the image is cut off. `sample.scale` is multiplied by the scale.
    """
    short: int | Sequence[int]
    max_size: int | None = None

    def __call__(self, sample, rng):
        short = self.short if isinstance(self.short, (int, np.integer)) else self.short[rng.integers(len(self.short))]
        height, width = sample.image.shape[1:]
        scale = short / min(height, width)
        if self.max_size is not None:
            scale = min(scale, self.max_size / max(height, width))
        size = tuple(max(1, int(n * scale + 1e-6)) for n in (height, width))     # + 1e-6: 480 * (240 / 480) must stay 240
        return resample(sample, (0.0, 0.0), scale, size)


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror left and right with probability p. A person's left hand becomes a right hand, so left and right joints change places."""
    p: float = 0.5

    def __call__(self, sample, rng):
        return mirror(sample) if rng.random() < self.p else sample


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random window of the image, resized to `size` (H, W); the window has the shape of `size`, so nothing is stretched.

    scale: the window's area as a fraction of the largest window that fits, drawn uniformly. An object stays if the centre of its box is
    inside; its box and mask are clipped to the window. For training only: predictions cannot be mapped back by `sample.scale` alone.
    """
    size: tuple[int, int]
    scale: tuple[float, float] = (0.4, 1.0)

    def __call__(self, sample, rng):
        height, width = sample.image.shape[1:]
        zoom = max(self.size[0] / height, self.size[1] / width) / np.sqrt(rng.uniform(*self.scale))   # output pixels per input pixel
        free_y, free_x = max(height - self.size[0] / zoom, 0), max(width - self.size[1] / zoom, 0)
        origin = rng.uniform(0, 1) * free_x, rng.uniform(0, 1) * free_y
        centres = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2                # (G, 2)
        window_end = np.array(origin) + np.array(self.size[::-1]) / zoom
        return resample(select(sample, ((centres >= origin) & (centres < window_end)).all(axis=1)), origin, zoom, self.size)


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast and saturation, each multiplied by a factor drawn from [1 - a, 1 + a]; the result is clipped to [0, 1].

    All three are linear in the pixel and its grey value, so they are done in one pass, without a rounding or a clip in between.
    """
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __call__(self, sample, rng):
        b, c, s = (rng.uniform(1 - a, 1 + a) for a in (self.brightness, self.contrast, self.saturation))
        kind = sample.image.dtype.type
        # no matrix product here: BLAS would start threads, which fight with those of training for the cores
        grey = sum(kind(weight) * channel for weight, channel in zip(LUMA, sample.image, strict=True))   # (H, W)
        mean_grey = grey.mean(dtype=np.float64)
        pixels = sample.image * kind(c * b * s)                                  # s = 0: all channels grey; s = 1: as they are
        pixels += grey * kind(c * b * (1 - s)) + kind((1 - c) * b * mean_grey)   # c = 0: all pixels the mean grey
        return replace(sample, image=np.clip(pixels, 0, 1, out=pixels))


@dataclass(frozen=True)
class Normalize:
    """(image - mean) / std for each channel. Put it last: batches are padded with 0, which then is the mean colour."""
    mean: Sequence[float] = (0.485, 0.456, 0.406)   # of ImageNet
    std: Sequence[float] = (0.229, 0.224, 0.225)

    def __call__(self, sample, rng=None):
        mean, std = (np.asarray(v, sample.image.dtype).reshape(3, 1, 1) for v in (self.mean, self.std))
        return replace(sample, image=(sample.image - mean) / std)


# ---------------------------------------------------------------------------------------------------------------- the parts

def resample(sample, origin, scale, size):
    """The window of the sample that begins at origin (x, y) and becomes `size` (H, W) when enlarged `scale` times.

    Boxes are clipped to the window; an object whose box is empty then is dropped. Joints outside become unlabelled.
    """
    height, width = size
    shift = np.array([*origin, *origin])
    full = (sample.boxes - shift) * scale                                        # (G, 4) float64: in the window, not yet clipped
    boxes = np.clip(full, 0, [width, height, width, height])
    extent, full_extent = boxes[:, 2:] - boxes[:, :2], full[:, 2:] - full[:, :2]
    keep = (extent > 0).all(axis=1)
    areas = None
    if sample.areas is not None:                                                 # a clipped object is taken to lose as much as its box
        areas = sample.areas * scale**2 * np.prod(extent, axis=1) / np.maximum(np.prod(full_extent, axis=1), 1e-12)
    ys, xs = (_nearest(o, scale, n, limit) for o, n, limit in zip(origin[::-1], size, sample.image.shape[1:], strict=True))
    maps = {name: None if (a := getattr(sample, name)) is None else np.take(np.take(a, ys, axis=-2), xs, axis=-1)
            for name in ("masks", "semantic", "panoptic")}
    moved = replace(sample, image=_resize_image(sample.image, origin, scale, size), boxes=boxes.astype(sample.boxes.dtype), areas=areas,
                    keypoints=_move_keypoints(sample.keypoints, origin, scale, size), scale=sample.scale * scale, **maps)
    return moved if keep.all() else select(moved, keep)


def mirror(sample):
    """The sample as a mirror shows it."""
    width = sample.image.shape[2]
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]                           # the right edge becomes the left one
    keypoints = None if sample.keypoints is None else joints.flip_keypoints(sample.keypoints, width)     # left and right change places
    maps = {name: None if (a := getattr(sample, name)) is None else np.ascontiguousarray(a[..., ::-1])
            for name in ("image", "masks", "semantic", "panoptic")}
    return replace(sample, boxes=boxes, keypoints=keypoints, **maps)


def select(sample, keep):
    """Only these objects (a boolean (G,)); segments of dropped objects stay in the panoptic map, but name no instance."""
    keep = np.asarray(keep, bool)
    fields = {name: None if (a := getattr(sample, name)) is None else a[keep]
              for name in ("boxes", "labels", "masks", "keypoints", "iscrowd", "difficult", "areas")}
    segments = sample.segments
    if segments is not None:
        new_row = np.where(keep, np.cumsum(keep) - 1, -1).tolist() + [-1]        # the last serves "no instance"
        rows = [new_row[-1 if s["instance"] is None else s["instance"]] for s in segments]
        segments = [{**s, "instance": None if row < 0 else row} for s, row in zip(segments, rows, strict=True)]
    return replace(sample, segments=segments, **fields)


def _resize_image(image, origin, scale, size):
    """(3, H, W) -> (3, *size), each channel as a 32-bit float image, so that nothing is rounded to 8 bits."""
    from PIL import Image
    height, width = image.shape[1:]
    if tuple(size) == (height, width) and scale == 1 and tuple(origin) == (0, 0):
        return image.copy()
    x, y = origin
    window = x, y, min(x + size[1] / scale, width), min(y + size[0] / scale, height)   # min: the sum may round past the border
    channels = [Image.fromarray(np.ascontiguousarray(c, dtype=np.float32)) for c in image]
    resized = [c.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=window) for c in channels]
    return np.stack([np.asarray(c) for c in resized]).astype(image.dtype, copy=False)


def _nearest(start, scale, count, limit):
    """For each output pixel, the input pixel that its centre falls into: (count,) int64."""
    return np.clip(np.floor(start + (np.arange(count) + 0.5) / scale).astype(np.int64), 0, limit - 1)


def _move_keypoints(keypoints, origin, scale, size):
    if keypoints is None:
        return None
    xy = (keypoints[..., :2] - np.array(origin)) * scale
    inside = (keypoints[..., 2] > 0) & (xy >= 0).all(axis=-1) & (xy < [size[1], size[0]]).all(axis=-1)
    return np.where(inside[..., None], np.concatenate([xy, keypoints[..., 2:]], axis=-1), 0).astype(keypoints.dtype)
