"""Pools that remember, unpools that put back, and the five upsamplers as layers. The arithmetic itself is tested with the operations."""
import numpy as np
import pytest

from numpyvision import check
from numpyvision.layers.pooling import MaxPool2d, MaxUnpool2d
from numpyvision.layers.upsample import UPSAMPLERS, ConvTranspose2d, Upsample, bilinear_kernel
from numpyvision.layers.vgg import VGG
from numpyvision.ops import resize


def rng():
    return np.random.default_rng(0)


def make(kind, s=2, channels=3, pooled=(4, 5, 6)):
    pooled = pooled[:int(np.log2(s))] if kind == "max_unpool" else ()
    return Upsample(kind, s, channels, pooled, rng=rng(), dtype=np.float64)


def indices_for(shape, pooled):
    """What the pools of a network would remember: distinct maps of the right sizes, pooled. Coarsest first."""
    N, _, H, W = shape
    found = []
    for i, width in enumerate(pooled):
        below = rng().permutation(N * width * 4 ** (i + 1) * H * W).astype(float).reshape(N, width, 2 ** (i + 1) * H, 2 ** (i + 1) * W)
        found.append(MaxPool2d(2).forward_with_indices(below)[1])
    return found


def test_lecture_bilinear_kernels():
    """L16-V: FCN's kernels of 4 and 16; SYSTEMS 10.1."""
    assert bilinear_kernel(4).tolist() == [0.25, 0.75, 0.75, 0.25]
    np.testing.assert_allclose(bilinear_kernel(16), [*np.arange(1, 16, 2) / 16, *np.arange(15, 0, -2) / 16])
    assert bilinear_kernel(2).tolist() == [0.5, 0.5] and bilinear_kernel(1).tolist() == [1]
    np.testing.assert_allclose(bilinear_kernel(5), np.array([1, 2, 3, 2, 1]) / 3)


@pytest.mark.parametrize("s", [1, 2, 3, 4, 5, 8])
def test_transposed_starts_as_bilinear_interpolation_away_from_the_border(s, mode):
    x = rng().standard_normal((2, 3, 5, 6))
    out, _ = make("transposed", s).forward(x)
    expected, _ = resize.upsample_bilinear_forward(x, s)
    np.testing.assert_allclose(out[:, :, s:-s, s:-s], expected[:, :, s:-s, s:-s], atol=1e-12)
    assert s == 1 or not np.allclose(out[:, :, 0], expected[:, :, 0])    # at the border a neighbour is missing: erratum L16-E04


def test_bilinear_weights_need_equal_channels():
    with pytest.raises(ValueError, match="in_channels must equal out_channels"):
        ConvTranspose2d(3, 4, 4, 2, 1, bilinear=True, rng=rng())


def test_he_start_keeps_the_variance():
    """Inputs of mean square 1 -> outputs of variance 2, of which the next ReLU leaves a mean square of 1 again."""
    x = np.maximum(rng().standard_normal((4, 64, 12, 12)), 0) * np.sqrt(2)
    for k, s, p in ((3, 1, 1), (4, 2, 1)):
        out, _ = ConvTranspose2d(64, 64, k, s, p, rng=rng(), dtype=np.float64).forward(x)
        assert 1.5 < out[:, :, 3:-3, 3:-3].var() < 2.5


@pytest.mark.parametrize("s", [2, 4, 8])
@pytest.mark.parametrize("kind", UPSAMPLERS)
def test_lecture_g09_every_upsampler_fits_and_has_its_gradient(kind, s, mode):
    """L16-G09: (N, C, H, W) -> (N, C, sH, sW), and the contract of a layer."""
    layer, x = make(kind, s), rng().standard_normal((2, 3, 2, 3))
    indices = indices_for(x.shape, (4, 5, 6)[:int(np.log2(s))])

    class Fixed(Upsample):                                               # the indices are no input that could move
        def __init__(self):
            vars(self).update(vars(layer))

        def forward(self, x, train=True):
            return super().forward(x, indices, train)
    assert Fixed().forward(x)[0].shape == (2, 3, 2 * s, 3 * s)
    outcome = check.check_layer(Fixed(), x, rng=rng())
    assert outcome, outcome
    assert bool(dict(layer.named_params())) == (kind in ("transposed", "max_unpool"))


def test_wrong_upsamplers_are_named():
    with pytest.raises(ValueError, match="one of nearest, bilinear, bicubic, transposed, max_unpool, got 'deconv'"):
        Upsample("deconv")
    with pytest.raises(ValueError, match="max_unpool by 8 undoes one pool for every factor of 2, got 1"):
        Upsample("max_unpool", 8, 3, (4,), rng=rng())
    with pytest.raises(ValueError, match="needs the indices of 1 pools, got 0"):
        make("max_unpool").forward(np.zeros((1, 3, 2, 2)))


def test_lecture_u10_unpool_of_pool_keeps_the_maxima_also_in_prediction(mode):
    x = 1.0 + rng().permutation(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)       # odd: a row and a column are dropped and come back as zeros
    pool, unpool = MaxPool2d(2), MaxUnpool2d()
    small, indices, cache = pool.forward_with_indices(x, train=False)
    back, _ = unpool.forward(small, indices, output_size=(5, 7), train=False)
    assert not cache and back.shape == x.shape and not back[:, :, 4].any() and not back[..., 6].any()
    np.testing.assert_array_equal(pool.forward(back)[0], small)
    assert np.array_equal(np.sort(back[back > 0]), np.sort(small.ravel())) and (back[back > 0] == x[back > 0]).all()


def test_unpool_refuses_the_indices_of_another_pool():
    small, indices, _ = MaxPool2d(2).forward_with_indices(np.random.default_rng(0).random((1, 2, 8, 8)))
    with pytest.raises(ValueError, match=r"\(1, 2, 2, 2\) and \(1, 2, 4, 4\)"):
        MaxUnpool2d().forward(small[:, :, :2, :2], indices)


def test_lecture_g08_vgg_halves_at_every_stage_and_remembers():
    net = VGG((4, 6, 8), (1, 2, 1), rng=rng())
    P, indices, _ = net.forward_with_indices(np.zeros((2, 3, 20, 12), np.float32))
    assert [p.shape for p in P] == [i.shape for i in indices] == [(2, 4, 10, 6), (2, 6, 5, 3), (2, 8, 2, 1)]
    with pytest.raises(ValueError, match="one number a stage"):
        VGG((4, 6), (1,), rng=rng())


def test_vgg_backward_takes_none_for_a_map_that_nobody_read():
    net, x = VGG((4, 6), (1, 1), rng=rng(), dtype=np.float64), rng().random((2, 3, 8, 8))
    P, cache = net.forward(x)
    d = rng().standard_normal(P[1].shape)
    absent, zeros = (net.backward(dP, cache)[0] for dP in ((None, d), (np.zeros_like(P[0]), d)))
    np.testing.assert_array_equal(absent, zeros)
