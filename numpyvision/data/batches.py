"""Samples to batches: collate images of unequal size, draw them in an order that a resumed run repeats, fetch them ahead of time.

Everything random is a pure function of (seed, step): a run that was killed at step 700 and resumed sees the batches it would have seen,
and neither threads nor the cache change a bit. Shapes here: N images a batch, H W their common padded size.
"""
import threading
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import numpy as np

from numpyvision.data import images as image_files
from numpyvision.data.sample import Sample


@dataclass
class Batch:
    """images (N, 3, H, W), zero beyond each image's own size; targets: the samples; sizes (N, 2) int64: each image's own (H, W)."""
    images: np.ndarray
    targets: list[Sample]
    sizes: np.ndarray

    def __len__(self):
        return len(self.targets)


def collate(samples, divisor=32, dtype=np.float32):
    """list of N Samples -> Batch. Images lie in the upper left corner of the smallest common size that `divisor` divides.

    divisor: the coarsest stride of the model, so that each level of its pyramid has a whole number of cells.
    """
    if len(samples) == 0:
        raise ValueError("a batch needs at least one sample, got none")
    sizes = np.array([sample.image.shape[1:] for sample in samples], dtype=np.int64)
    height, width = -(-sizes.max(axis=0) // divisor) * divisor                   # rounded up
    pixels = np.zeros((len(samples), 3, height, width), dtype)
    for plane, sample, (h, w) in zip(pixels, samples, sizes, strict=True):
        plane[:, :h, :w] = sample.image
    return Batch(pixels, list(samples), sizes)


class BatchStream:
    """An endless stream of batches: `stream.batch(step)`, a pure function of (seed, step).

    Every epoch is one permutation of the data set; epochs follow each other without a gap, so a batch may end one and begin the next.
    transform(sample, rng), if given, gets an rng of its own for each sample.
    """

    def __init__(self, dataset, batch_size, seed, transform=None, divisor=32, dtype=np.float32):
        if len(dataset) == 0:
            raise ValueError(f"the data set {getattr(dataset, 'name', '')} is empty, there is nothing to draw batches from")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.dataset, self.batch_size, self.seed, self.transform = dataset, batch_size, seed, transform
        self.divisor, self.dtype = divisor, dtype
        self._permutation = 0, None                                              # the last epoch asked for, and its order

    def indices(self, step):
        """Which samples batch `step` holds: (batch_size,) int64."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(positions, len(self.dataset))
        return np.array([self._order(int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)])

    def batch(self, step):
        """Batch number `step`, from 0."""
        samples = []
        for i, index in enumerate(self.indices(step)):
            sample = self.dataset[int(index)]
            if self.transform is not None:
                sample = self.transform(sample, np.random.default_rng([self.seed, step, i]))
            samples.append(sample)
        return collate(samples, self.divisor, self.dtype)

    def epoch(self, step):
        """How many times the data set has been seen before batch `step`, as a fraction."""
        return step * self.batch_size / len(self.dataset)

    def _order(self, epoch):
        known, order = self._permutation                                         # one read: threads may replace it meanwhile
        if order is None or known != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.dataset))
            self._permutation = epoch, order
        return order


def prefetch(stream, start, stop, workers=1, ahead=2):
    """Yield stream.batch(start) ... stream.batch(stop - 1) in order, prepared by background threads while the model computes.

    At most `ahead` batches wait (for each worker). An error in a worker is raised here, at its batch's turn, with the worker's traceback.
    Leaving the loop early stops the workers. workers=0: no threads. Threads are enough: decoding and NumPy release the interpreter's lock.
    The data set must be safe to read from several threads, and start no parallel numba kernel (its default scheduler is not re-entrant).
    """
    if workers < 1:
        yield from (stream.batch(step) for step in range(start, stop))
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    try:
        waiting, upcoming = deque(), iter(range(start, stop))
        for step in upcoming:
            waiting.append(pool.submit(stream.batch, step))
            if len(waiting) > ahead * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class CachedDataset:
    """Keeps the samples of another data set in memory, so that files are decoded, and resized by a fixed `transform`, only once.

    Images are kept as uint8 and masks as bits: 640x480 takes 0.9 MB instead of 3.7. A JPEG loses nothing; other images are rounded to 8
    bits, in the first pass too, so that every epoch sees the same. limit: at most this many bytes, the least recently used go first.
    Every access returns fresh arrays.
    """

    def __init__(self, dataset, transform=None, limit=None):
        self.dataset, self.transform, self.limit = dataset, transform, limit
        self.nbytes = 0
        self._kept, self._lock = OrderedDict(), threading.Lock()

    def __getattr__(self, name):                                                 # classes, name, faults, ... are those of the data set
        if name.startswith("_") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        with self._lock:
            packed = self._kept.get(index)
            if packed is not None:
                self._kept.move_to_end(index)
        if packed is None:
            sample = self.dataset[index]
            if self.transform is not None:
                sample = self.transform(sample, np.random.default_rng(0))        # fixed: what is kept must not depend on who asked first
            packed = _pack(sample)
            self._keep(index, packed)
        return _unpack(packed)

    def _keep(self, index, packed):
        size = _nbytes(packed)
        with self._lock:
            if index in self._kept or (self.limit is not None and size > self.limit):
                return
            self._kept[index] = packed
            self.nbytes += size
            while self.limit is not None and self.nbytes > self.limit:
                self.nbytes -= _nbytes(self._kept.popitem(last=False)[1])


def cached(dataset, transform=None, limit=None):
    """`CachedDataset(dataset, transform, limit)`: cached(VOC(path), ResizeShortSide(240))."""
    return CachedDataset(dataset, transform, limit)


def _pack(sample):
    masks, bits = sample.masks, None
    if masks is not None:
        bits = np.packbits(masks.reshape(len(masks), masks.shape[1] * masks.shape[2]), axis=1), masks.shape   # (G, ceil(H*W / 8))
    panoptic = sample.panoptic
    if panoptic is not None:                                                     # segment ids of most images fit a byte
        panoptic = panoptic.astype(np.min_scalar_type(int(panoptic.max(initial=0))))
    return replace(_copy(replace(sample, image=None, masks=None, panoptic=None)), image=image_files.to_uint8(sample.image), masks=bits,
                   panoptic=panoptic)


def _unpack(packed):
    masks = packed.masks
    if masks is not None:
        bits, shape = masks
        masks = np.unpackbits(bits, axis=1, count=shape[1] * shape[2]).view(bool).reshape(shape)
    panoptic = None if packed.panoptic is None else packed.panoptic.astype(np.int64)
    return replace(_copy(replace(packed, image=None, masks=None, panoptic=None)), image=image_files.to_float(packed.image), masks=masks,
                   panoptic=panoptic)


def _copy(sample):
    """A sample whose arrays are its own."""
    own = {f.name: value.copy() for f in fields(sample) if isinstance(value := getattr(sample, f.name), np.ndarray)}
    return replace(sample, segments=None if sample.segments is None else [dict(s) for s in sample.segments], **own)


def _nbytes(packed):
    arrays = [getattr(packed, f.name) for f in fields(packed)] + list(packed.masks or ())
    return sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))
