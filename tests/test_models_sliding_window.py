"""The sliding window: one run over the image equals one run a pixel; what each costs, counted by brute force; patches drawn in balance."""
import numpy as np
import pytest

from numpyvision import check
from numpyvision.data.sample import Sample
from numpyvision.models import build
from numpyvision.models.sliding_window import SlidingWindow, sample_pixels

CLASSES = ("background", "cat", "sky")
NETS = {"pooled": dict(widths=(4, 5, 6), kernels=(4, 4, 5)), "even patch": dict(widths=(4, 5), kernels=(3, 3)),
        "three pools": dict(widths=(3, 4, 4, 5), kernels=(2, 3, 3, 2)), "no pool": dict(widths=(4, 5, 6), kernels=(5, 3, 3), pooled=False),
        "one convolution": dict(widths=(4,), kernels=(7,))}


def model(dtype=np.float64, **options):
    net = SlidingWindow(**dict(classes=CLASSES, hidden=7, patches_per_image=20) | options, rng=np.random.default_rng(0), dtype=dtype)
    for name, p in net.named_params():                                   # biases off zero: they must be added once, in both runs
        if name.endswith("b"):
            p += np.random.default_rng(1).standard_normal(p.shape)
    return net


def batch():
    rng = np.random.default_rng(0)
    targets = [Sample(rng.random((3, 19, 22)), np.zeros((0, 4)), np.zeros(0, np.int64),
                      semantic=rng.choice([0, 1, 2, 255], (19, 22)).astype(np.uint8)) for _ in range(2)]
    return np.stack([t.image for t in targets]), targets, np.array([[19, 22]] * 2)


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_lecture_g02_the_dense_run_equals_the_naive_one(net, mode):
    """L16-G02, SYSTEMS 9.4: also with pooling, through dilation."""
    net, images = model(**net), batch()[0]
    naive, dense = net.scores_naive(images), net.scores(images)
    assert naive.shape == dense.shape == (2, 3, 19, 22) and abs(naive).max() > 0.01
    assert abs(naive - dense).max() < 1e-10


@pytest.mark.parametrize("net, size", list(zip(NETS.values(), (29, 8, 29, 9, 7), strict=True)), ids=NETS)
def test_the_patch_is_exactly_what_a_score_depends_on(net, size):
    net = model(**net)
    assert net.patch_size == size and net.classify(np.zeros((1, 3, size, size)))[0].shape == (1, 3, 1, 1)
    rng, reach = np.random.default_rng(0), np.zeros((size, size), bool)
    for _ in range(20):                                                  # a max pool passes a gradient to one in four: many draws
        s, cache = net.classify(rng.standard_normal((128, 3, size, size)))
        dh, _ = net.score.backward(rng.standard_normal(s.shape), cache.score)
        for i in reversed(range(len(net.convs))):
            if i < net.pools:
                dh, _ = net.pool.backward(dh, cache["pool", i])
            dh, _ = net.convs[i].backward(dh, cache["conv", i])
        reach |= (dh != 0).any(axis=(0, 1))
    assert reach.all()


def count(net, height, width, dense):
    """Multiply-adds one by one, as the loops of a convolution do them: no formula for how many places there are."""
    total, d, rows, columns = 0, 1, list(range(height)), list(range(width))
    for i, layer in enumerate([*net.convs, net.score]):
        F, C, kh, kw = layer.params["w"].shape
        rows = [y for y in rows if y + d * (kh - 1) in rows]
        columns = [x for x in columns if x + d * (kw - 1) in columns]
        total += sum(F * C * kh * kw for _ in rows for _ in columns)
        if i < net.pools and dense:
            rows, columns, d = [y for y in rows if y + d in rows], [x for x in columns if x + d in columns], 2 * d
        elif i < net.pools:
            rows, columns = list(range(len(rows) // 2)), list(range(len(columns) // 2))
    return total


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_lecture_g03_multiply_adds_are_exact(net):
    net = model(**net)
    p = net.patch_size
    counts = net.multiply_adds(6, 5)
    assert counts == {"naive": 6 * 5 * count(net, p, p, False), "dense": count(net, 5 + p, 4 + p, True)}
    assert net.multiply_adds(1, 1)["naive"] <= net.multiply_adds(1, 1)["dense"]          # one pixel: nothing to share


def test_lecture_g03_sharing_saves_most_of_the_work():
    net = SlidingWindow(CLASSES, rng=np.random.default_rng(0))
    counts = net.multiply_adds(128, 128)
    assert counts["naive"] / counts["dense"] > 15


def test_compare_runs_both_ways():
    net = model(np.float64)
    found = net.compare(batch()[0][0])
    assert found["multiply_adds"] == net.multiply_adds(19, 22) and found["largest_difference"] < 1e-10
    assert found["multiply_adds_ratio"] > 1 and set(found["seconds"]) == {"naive", "dense"}


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_gradient_of_everything(net):
    report = check.check_model(model(**net), *batch(), rng=np.random.default_rng(1))
    assert report.ok, report


def test_pixels_are_drawn_in_balance_and_never_ignored():
    labels = np.full((2, 10, 10), 255, np.uint8)
    labels[0, :9], labels[0, 0, 0], labels[1, 3, 4] = 2, 1, 0            # 89 pixels of class 2, one of 1, one of 0
    drawn = sample_pixels(labels, 3000, np.random.default_rng(0))
    found = labels[tuple(drawn.T)]
    assert drawn.shape == (3000, 3) and abs(np.bincount(found, minlength=256)[:3] - 1000).max() < 100 and found.max() == 2
    assert len({tuple(c) for c in drawn[found == 2]}) == 89
    with pytest.raises(ValueError, match="no pixel of this batch has a label"):
        sample_pixels(np.full((1, 2, 2), 255, np.uint8), 3, np.random.default_rng(0))


def test_prediction_and_config():
    net = model(np.float32)
    assert net.predict(batch()[0].astype(np.float32)).shape == (2, 19, 22)
    again = build("sliding_window", net.config(), rng=np.random.default_rng(0))
    assert {n: p.shape for n, p in again.named_params()} == {n: p.shape for n, p in net.named_params()} and again.config() == net.config()
    with pytest.raises(ValueError, match="one size a convolution"):
        model(widths=(4,), kernels=(3, 3))
