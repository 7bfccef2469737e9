"""Batches: padding, an order that a resumed run repeats, threads that change nothing, and a cache that nobody notices."""
import dataclasses
import threading
import time

import numpy as np
import pytest

from numpyvision.data import batches as B
from numpyvision.data import transforms as T
from numpyvision.data.sample import Sample


class Numbers:
    """A data set whose image i is filled with i; sizes differ; it counts how often it is read."""
    classes, name = ("background", "number"), "numbers"

    def __init__(self, count, masks=True, fail_at=None):
        self.count, self.masks, self.fail_at, self.reads = count, masks, fail_at, []

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        self.reads.append(i)
        if i == self.fail_at:
            raise RuntimeError(f"image {i} is broken")
        h, w, g = 20 + i, 30 + 2 * i, i % 3
        shape = np.zeros((g, h, w), bool)
        shape[:, : 5 + i] = True
        boxes = np.tile(np.array([[0, 0, w, 5 + i]], np.float32), (g, 1))
        return Sample(np.full((3, h, w), i / 255, np.float32), boxes, np.ones(g, np.int64), masks=shape if self.masks else None,
                      semantic=np.full((h, w), i, np.uint8), panoptic=np.full((h, w), 10**i),
                      segments=[{"id": i, "category": 0, "isthing": False, "instance": None}],
                      areas=np.full(g, 7.0), image_id=i)


def ids(batch):
    return [sample.image_id for sample in batch.targets]


def same(a, b):
    """Equal in every array, and in everything else."""
    for f in dataclasses.fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype and np.array_equal(x, y), f.name
        else:
            assert x == y, f.name
    return True


def test_collate_pads_to_a_common_multiple():
    dataset = Numbers(8)
    batch = B.collate([dataset[3], dataset[7]])
    assert batch.images.shape == (2, 3, 32, 64) and batch.images.dtype == np.float32 and len(batch) == 2
    assert batch.sizes.tolist() == [[23, 36], [27, 44]] and batch.sizes.dtype == np.int64
    assert np.array_equal(batch.images[0, :, :23, :36], dataset[3].image)
    assert batch.images[0, :, 23:].sum() == 0 and batch.images[0, :, :, 36:].sum() == 0
    assert B.collate([dataset[3]], divisor=1, dtype=np.float64).images.shape == (1, 3, 23, 36)
    assert B.collate([dataset[3]], divisor=1, dtype=np.float64).images.dtype == np.float64
    with pytest.raises(ValueError, match="at least one sample"):
        B.collate([])


def test_an_epoch_shows_every_sample_once_and_epochs_differ():
    stream = B.BatchStream(Numbers(10), 4, seed=5)
    order = [i for step in range(10) for i in ids(stream.batch(step))]   # 40 samples: 4 epochs, batches across their borders
    epochs = [order[k: k + 10] for k in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert order != [i for step in range(10) for i in ids(B.BatchStream(Numbers(10), 4, seed=6).batch(step))]
    assert stream.epoch(5) == 2.0
    assert len(B.BatchStream(Numbers(3), 8, seed=0).batch(0)) == 8      # a batch larger than the data set


def test_a_batch_depends_on_seed_and_step_alone():
    jitter = T.Compose([T.HorizontalFlip(), T.ColorJitter(), T.ResizeShortSide((16, 24))])
    forward = [B.BatchStream(Numbers(6), 2, 1, jitter).batch(step) for step in range(7)]
    stream = B.BatchStream(Numbers(6), 2, 1, jitter)
    for step in (6, 0, 3, 3, 1):
        batch = stream.batch(step)
        assert np.array_equal(batch.images, forward[step].images)
        assert all(same(a, b) for a, b in zip(batch.targets, forward[step].targets, strict=True))
    first, second = B.BatchStream(Numbers(1), 2, 1, T.ColorJitter(0.9)).batch(0).images[:, 0, 0, 0], None
    assert Numbers(1)[0].image.max() == 0 and second is None and len(first) == 2


def test_each_sample_of_a_batch_is_augmented_on_its_own():
    draws = []
    B.BatchStream(Numbers(2), 4, 1, lambda sample, rng: draws.append(rng.random()) or sample).batch(3)
    assert len(set(draws)) == 4


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_prefetch_yields_the_same_in_order(workers):
    class Uneven(Numbers):
        def __getitem__(self, i):
            time.sleep(0.004 if i % 2 else 0)                          # so that later batches are ready before earlier ones
            return super().__getitem__(i)
    stream = B.BatchStream(Uneven(7), 1, 3)
    got = [ids(batch) for batch in B.prefetch(stream, 2, 20, workers)]
    assert got == [ids(stream.batch(step)) for step in range(2, 20)]
    assert list(B.prefetch(stream, 5, 5, workers)) == []


def prefetch_threads():
    return [t for t in threading.enumerate() if t.name.startswith("prefetch")]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_error_comes_at_its_turn_with_the_traceback_of_the_worker(workers):
    stream = B.BatchStream(Numbers(9, fail_at=4), 1, seed=1)
    turn = int(np.flatnonzero(np.concatenate([stream.indices(s) for s in range(9)]) == 4)[0])
    seen = []
    with pytest.raises(RuntimeError, match="image 4 is broken") as error:
        for batch in B.prefetch(stream, 0, 9, workers):
            seen.append(batch)
    assert len(seen) == turn and 0 < turn
    assert any(entry.name == "__getitem__" for entry in error.traceback)
    assert prefetch_threads() == []


def test_breaking_off_stops_the_workers_and_they_run_only_a_little_ahead():
    dataset = Numbers(50)
    for number, _ in enumerate(B.prefetch(B.BatchStream(dataset, 1, 0), 0, 1000, ahead=3)):
        if number == 4:
            break
    assert prefetch_threads() == []
    assert 5 <= len(dataset.reads) <= 5 + 3 + 1                        # 5 given out, at most 3 waiting, 1 in work


def test_a_wrong_stream_is_refused():
    with pytest.raises(ValueError, match="numbers is empty"):
        B.BatchStream(Numbers(0), 2, 0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        B.BatchStream(Numbers(2), 0, 0)


@pytest.mark.parametrize("masks", [True, False])
def test_the_cache_changes_nothing_and_reads_once(masks):
    dataset = Numbers(6, masks)
    cached = B.cached(dataset)
    for _ in range(3):
        for i in range(6):
            assert same(cached[i], Numbers(6, masks)[i])
    assert sorted(dataset.reads) == list(range(6))
    assert len(cached) == 6 and cached.classes == dataset.classes and cached.name == "numbers"
    with pytest.raises(AttributeError):
        cached.nonsense  # noqa: B018


def test_what_the_cache_gives_out_is_not_what_it_keeps():
    cached = B.cached(Numbers(6))
    for _ in range(2):
        sample = cached[5]
        for array in (sample.image, sample.boxes, sample.masks, sample.labels, sample.semantic, sample.areas):
            array[...] = 0
        sample.segments[0]["id"] = 77
    assert same(cached[5], Numbers(6)[5])


def test_the_cache_resizes_once_and_keeps_to_its_limit():
    calls = []
    resize = T.ResizeShortSide(10)
    cached = B.cached(Numbers(6), lambda sample, rng: calls.append(0) or resize(sample, rng))
    images = [cached[i].image for _ in range(2) for i in range(6)]
    assert len(calls) == 6 and all(min(image.shape[1:]) == 10 for image in images)
    full = cached.nbytes
    dataset = Numbers(6)
    small = B.cached(dataset, resize, limit=full // 2)
    for i in (0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0):                        # 0 is always the most recently used but one
        assert small[i].image_id == i and small.nbytes <= full // 2
    assert dataset.reads.count(0) == 1
    assert small[1].image_id == 1 and dataset.reads.count(1) == 2      # 1 was the least recently used: it went
    tiny = B.cached(Numbers(6), limit=10)
    assert tiny[3].image_id == 3 and tiny.nbytes == 0


def test_a_cached_stream_gives_the_same_batches_through_threads():
    plain, kept = B.BatchStream(Numbers(9), 3, 2), B.BatchStream(B.cached(Numbers(9)), 3, 2)
    for a, b in zip(B.prefetch(plain, 0, 12, 2), B.prefetch(kept, 0, 12, 3), strict=True):
        assert np.array_equal(a.images, b.images) and ids(a) == ids(b)
