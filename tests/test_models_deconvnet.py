"""DeconvNet: its gradient, what crosses from the pools to the unpools, and a wrong pairing, which raises."""
import numpy as np
import pytest

from numpyvision import check, tree
from numpyvision.data.sample import Sample
from numpyvision.models import build
from numpyvision.models.deconvnet import DeconvNet, at_cell_centres

CLASSES = ("background", "cat", "dog")
SMALL = dict(classes=CLASSES, widths=(4, 5, 6), convs=(1, 2, 1), fc_channels=5, fc_size=3)


def model(dtype=np.float64, **options):
    return DeconvNet(**SMALL | options, rng=np.random.default_rng(0), dtype=dtype)


def batch(size=(24, 16)):
    rng = np.random.default_rng(0)
    targets = [Sample(rng.random((3, *size)), np.zeros((0, 4)), np.zeros(0, np.int64),
                      semantic=rng.choice([0, 1, 2, 255], size).astype(np.uint8)) for _ in range(2)]
    return np.stack([t.image for t in targets]), targets, np.array([size] * 2)


@pytest.mark.parametrize("size", [(24, 16), (21, 14)])                   # the second drops rows and columns in its pools
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_gradient_of_everything(size, norm):
    options = dict(widths=(8, 8, 16), fc_channels=8) if norm == "group" else {}
    report = check.check_model(model(norm=norm, **options), *batch(size), rng=np.random.default_rng(1))
    assert report.ok, report


def parts(net, size=(24, 16)):
    """Input of the decoder: the coarsest map, the indices of all pools, the sizes of what they pooled."""
    P, indices, _ = net.backbone.forward_with_indices(batch(size)[0])
    return net.fc_back.forward(net.fc.forward(P[-1])[0])[0], indices, [size, *(p.shape[2:] for p in P[:-1])]


def test_lecture_u09_a_wrong_pairing_raises_and_names_both_shapes():
    net = model()
    h, indices, sizes = parts(net)
    assert net.decoder.forward(h, indices, sizes)[0].shape == (2, 4, 24, 16)
    with pytest.raises(ValueError, match=r"unpool 3 got a map of shape \(2, 6, 3, 2\) and the indices of a pool of shape \(2, 4, 12, 8\)"):
        net.decoder.forward(h, indices[::-1], sizes)
    with pytest.raises(ValueError, match=r"unpool 2 got a map of shape \(2, 5, 6, 4\) and the indices of a pool of shape \(2, 4, 12, 8\)"):
        net.decoder.forward(h, (indices[1], indices[0], indices[2]), sizes)


def test_lecture_u09_each_unpool_puts_values_where_its_own_pool_found_them():
    """The places that unpool l fills are the maxima of pool l, read from the caches of a real forward."""
    net, (images, targets, sizes) = model(), batch()
    _, cache = net.forward(images, targets, sizes)
    for l in range(3):
        np.testing.assert_array_equal(cache.decoder["unpool", l].indices, cache.backbone["pool", l].indices)
    filled = cache.decoder["stage", 0][0].conv.x                         # what unpool 1 gave to the first transposed convolution
    flat = filled.reshape(2, 4, -1)
    kept = np.take_along_axis(flat, cache.backbone["pool", 0].indices.reshape(2, 4, -1), axis=2)
    assert np.count_nonzero(flat) == np.count_nonzero(kept) > 0


def test_only_places_cross_from_encoder_to_decoder():
    """No feature skips the bottleneck: with a constant coarse map, the decoder sees of the image only where its maxima were."""
    net = model()
    h, indices, sizes = parts(net)
    first = net.decoder.forward(np.ones_like(h), indices, sizes, train=False)[0]
    moved = tuple(i.copy() for i in indices)
    moved[0][..., 0, 0] = np.where(moved[0][..., 0, 0] == 0, 1, 0)       # another corner of the first window
    assert not np.allclose(net.decoder.forward(np.ones_like(h), moved, sizes, train=False)[0], first)


def test_the_coarse_loss_teaches_the_encoder_alone():
    """It asks for the label at each cell's centre; the decoder and the fine scores have no part in it."""
    net, (images, targets, sizes) = model(), batch()
    losses, cache = net.forward(images, targets, sizes)
    assert tuple(losses) == ("loss_semantic", "loss_coarse")
    grads = tree.flatten(net.backward({"loss_coarse": 1.0}, cache)[1])
    moved = {name.split(".")[0] for name, g in grads.items() if g.any()}
    assert moved == {"backbone", "fc", "coarse"}
    labels = np.arange(24 * 16).reshape(1, 24, 16)
    np.testing.assert_array_equal(at_cell_centres(labels, (3, 2)), labels[:, 4::8, 4::8])
    assert at_cell_centres(labels[:, :21, :14], (2, 1)).shape == (1, 2, 1)


def test_lecture_g08_the_decoder_mirrors_the_encoder():
    net = model()
    down = [[c.conv.params["w"].shape[:2] for c in stage.layers] for stage in net.backbone.stages]
    up = [[c.conv.params["w"].shape[:2] for c in stage.layers] for stage in net.decoder.stages]
    assert [len(s) for s in up] == [len(s) for s in down] == [1, 2, 1]
    assert up == [[(4, 4)], [(5, 5), (5, 4)], [(6, 5)]]                  # transposed: (in, out)


def test_prediction_and_config():
    net = model(np.float32)
    assert net.predict(np.random.default_rng(0).random((1, 3, 21, 14)).astype(np.float32)).shape == (1, 21, 14)
    again = build("deconvnet", net.config(), rng=np.random.default_rng(0))
    assert {n: p.shape for n, p in again.named_params()} == {n: p.shape for n, p in net.named_params()} and again.config() == net.config()


def test_the_decoder_starts_as_interpolation_of_the_nails():
    """Behind each unpool the first transposed convolution keeps its channels, and nails two apart become bilinear interpolation."""
    net = model(widths=(4, 4, 4), convs=(1, 2, 1))
    for stage in net.decoder.stages:
        w = stage.layers[0].conv.params["w"]
        np.testing.assert_array_equal(w[1, 1], np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]))
        assert not w[0, 1].any() and w.shape == (4, 4, 3, 3)
    assert net.decoder.stages[1].layers[1].conv.params["w"][0, 1].any()  # the others start at random
    nails = np.zeros((1, 4, 8, 8))
    nails[:, :, ::2, ::2] = np.arange(4.) + 10 * np.arange(4.)[:, None]  # a plane at regular nails is a plane everywhere
    filled, _ = net.decoder.stages[0].layers[0].conv.forward(nails)
    np.testing.assert_allclose(filled[0, 0, :7, :7], np.arange(7) / 2 + 10 * np.arange(7)[:, None] / 2)
