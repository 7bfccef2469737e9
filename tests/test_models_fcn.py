"""FCN as a whole: its gradient for every upsampler and every depth of skips, what starts at zero, what is ignored, what is refused."""
import numpy as np
import pytest

from numpyvision import check
from numpyvision.data.sample import Sample
from numpyvision.layers.upsample import UPSAMPLERS
from numpyvision.models import build
from numpyvision.models.fcn import FCN, FINEST
from numpyvision.models.pixels import thin_out

CLASSES = ("background", "cat", "dog", "sky")
SMALL = dict(classes=CLASSES, widths=(4, 5, 6, 7, 8), convs=(1, 1, 2, 1, 1))
SIZES = np.array([[64, 32], [50, 30]])


def model(dtype=np.float64, **options):
    return FCN(**SMALL | options, rng=np.random.default_rng(0), dtype=dtype)


def batch(seed=0):
    """Two images padded to 64 x 32, the second 50 x 30; a few pixels ignored. The padding is noise: in a constant region every value of a
    pool's window is the maximum, and a difference of two forwards could not tell which."""
    rng, targets = np.random.default_rng(seed), []
    images = rng.random((2, 3, 64, 32))
    for n, (h, w) in enumerate(SIZES):
        semantic = rng.integers(0, len(CLASSES), (h, w)).astype(np.uint8)
        semantic[rng.random((h, w)) < 0.1] = 255
        targets.append(Sample(images[n, :, :h, :w], np.zeros((0, 4)), np.zeros(0, np.int64), semantic=semantic))
    return images, targets, SIZES


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("skips", FINEST)
@pytest.mark.parametrize("upsampler", UPSAMPLERS)
def test_gradient_of_everything(upsampler, skips, norm):
    """Every combination of L16-G09: one directional derivative through all parameters and all pixels."""
    widths = (8,) * 5 if norm == "group" else SMALL["widths"]
    report = check.check_model(model(upsampler=upsampler, skips=skips, norm=norm, widths=widths), *batch(), rng=np.random.default_rng(1))
    assert report.ok, report


def test_lecture_g04_scores_at_every_pixel_and_the_lower_class_where_two_are_equal():
    net, (images, _, sizes) = model(), batch()
    assert net.scores(images)[0].shape == (2, 4, 64, 32)
    maps = net.predict(images, sizes)
    assert maps.shape == (2, 64, 32) and maps.dtype == np.uint8
    for layer in net.score.values():
        layer.params["w"][:], layer.params["b"][:] = 0, [0, 1, 1, 0]
    assert (net.predict(images)[:, 16:-16] == 1).all()                   # classes 1 and 2 are equal


def test_an_unused_class_is_no_answer():
    net, (images, _, _) = model(unused=(1, 3)), batch()
    for layer in net.score.values():
        layer.params["b"][:] = [0, 9, 1, 9]
    assert (net.predict(images)[:, 16:-16] == 2).all() and build("fcn", net.config(), rng=np.random.default_rng(0)).unused == (1, 3)


@pytest.mark.parametrize("upsampler", UPSAMPLERS)
def test_skips_start_at_zero(upsampler):
    """Paper, 4.2: before training FCN-8s answers as its coarsest scores do; after a step the skips have moved."""
    net, (images, targets, sizes) = model(upsampler=upsampler), batch()
    skips = [net.score[l].params["w"] for l in (3, 4)]
    assert not any(w.any() for w in skips) and net.score[5].params["w"].any()
    before = net.scores(images)[0]
    _, cache = net.forward(images, targets, sizes)
    _, grads = net.backward({"loss_semantic": 1.0}, cache)
    assert all(np.abs(grads["score"][l]["w"]).max() > 1e-8 for l in (3, 4))
    for l in (3, 4):
        net.score[l].params["w"] -= grads["score"][l]["w"]
    assert not np.allclose(net.scores(images)[0], before)


def test_lecture_g05_ignored_and_padded_pixels_have_no_gradient_and_no_say():
    net, (images, targets, sizes) = model(upsampler="bilinear"), batch()
    loss, cache = net.forward(images, targets, sizes)
    ds = cache.loss_semantic
    assert (ds.labels[1, 50:] == 255).all() and (ds.labels[1, :, 30:] == 255).all()
    valid = sum(int((t.semantic != 255).sum()) for t in targets)
    assert ds.count == valid and loss["loss_semantic"] == pytest.approx(np.log(len(CLASSES)), abs=0.05)   # scores near zero at first


def test_no_label_at_all_is_no_loss():
    net, (images, targets, sizes) = model(), batch()
    for t in targets:
        t.semantic[:] = 255
    losses, cache = net.forward(images, targets, sizes)
    dimages, _ = net.backward({"loss_semantic": 1.0}, cache)
    assert losses["loss_semantic"] == 0 and not dimages.any()


def test_it_can_learn_one_picture():
    from numpyvision.training import optim
    net, (_, targets, sizes) = model(), batch()
    blocks = np.kron(np.random.default_rng(0).random((2, 3, 4, 2)), np.ones((16, 16)))
    for t, image in zip(targets, blocks, strict=True):
        t.semantic[:] = (1 + (image[0] > 0.5))[:t.size[0], :t.size[1]]   # bright or dark in red, in blocks of 16 pixels
    optimizer = optim.Adam(net.named_params(), 0.02)
    for _ in range(40):
        losses, cache = net.forward(blocks, targets, sizes)
        optimizer.step(net.backward({"loss_semantic": 1.0}, cache)[1], 0.02)
    assert losses["loss_semantic"] < 0.2                                 # guessing is 0.69


def test_what_is_refused():
    with pytest.raises(ValueError, match="skips must be one of 32s"):
        model(skips="64s")
    with pytest.raises(ValueError, match="upsampler must be one of"):
        model(upsampler="deconv")
    with pytest.raises(ValueError, match="multiples of 32"):
        model().predict(np.zeros((1, 3, 40, 32)))
    images, targets, sizes = batch()
    targets[1].semantic = None
    with pytest.raises(ValueError, match="no semantic map"):
        model().forward(images, targets, sizes)


def test_config_builds_it_again():
    net = model(np.float32, skips="16s", upsampler="max_unpool")
    again = build("fcn", net.config(), rng=np.random.default_rng(0))
    assert {n: p.shape for n, p in again.named_params()} == {n: p.shape for n, p in net.named_params()} and again.config() == net.config()


def test_thinning_out_keeps_the_rare_and_some_of_the_frequent():
    labels = np.full((2, 200, 100), 3, np.uint8)
    labels[0, :100], labels[1, 0, :90], labels[1, 1] = 2, 1, 255         # 1: 90 pixels, below 0.5 %
    kept = thin_out(labels, 0.5, np.random.default_rng(0))
    assert ((kept == labels) | (kept == 255)).all() and (kept[labels == 1] == 1).all() and (kept[labels == 255] == 255).all()
    for k in (2, 3):
        share = (labels == k).sum() / (labels != 255).sum()
        assert (kept == k).sum() / (labels == k).sum() == pytest.approx(np.sqrt(0.005 / share), abs=0.01)
    np.testing.assert_array_equal(thin_out(labels, 0.0, np.random.default_rng(0)), labels)
    assert (thin_out(np.full((1, 2, 2), 255, np.uint8), 0.5, np.random.default_rng(0)) == 255).all()


def test_balance_draws_with_the_given_rng():
    net, (images, targets, sizes) = model(balance=1.0), batch()
    first, second, other = (net.forward(images, targets, sizes, rng=np.random.default_rng(s))[0]["loss_semantic"] for s in (0, 0, 1))
    assert first == second != other
    report = check.check_model(net, images, targets, sizes, rng=np.random.default_rng(1))
    assert report.ok, report
