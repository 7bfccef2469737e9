"""Upsampling without parameters: the slide's numbers, the rows L16-U01 to U06, its errata, and identities. torch is compared in oracle/."""
import itertools

import numpy as np
import pytest

import numpyvision
from numpyvision.ops import resize

X = np.array([[1., 2], [3, 4]]).reshape(1, 1, 2, 2)
BILINEAR = [[1, 1.25, 1.75, 2], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3, 3.25, 3.75, 4]]
BICUBIC = [[.68, 1.02, 1.56, 1.89], [1.35, 1.68, 2.23, 2.56], [2.44, 2.77, 3.32, 3.65], [3.11, 3.44, 3.98, 4.32]]
WITHOUT_CLAMP = [[.5625, .9375, 1.3125, 1.125], [1.125, 1.75, 2.25, 1.875], [1.875, 2.75, 3.25, 2.625], [1.6875, 2.4375, 2.8125, 2.25]]
OPS = {"bed_of_nails": (resize.bed_of_nails_forward, resize.bed_of_nails_backward),
       "nearest": (resize.upsample_nearest_forward, resize.upsample_nearest_backward),
       "bilinear": (resize.upsample_bilinear_forward, resize.upsample_bilinear_backward),
       "bicubic": (resize.upsample_bicubic_forward, resize.upsample_bicubic_backward)}
SIZES = [(1, 1), (1, 6), (2, 2), (5, 3), (7, 8)]
TARGETS = [(1, 1), (1, 9), (4, 4), (3, 7), (14, 13), (8, 2)]


def plane(result):
    return result[0][0, 0].tolist()


# ---- the slide

def test_lecture_bed_of_nails(mode):
    """L16-U01: and backward is the strided slice."""
    out, cache = resize.bed_of_nails_forward(X)
    assert out[0, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert resize.bed_of_nails_backward(np.arange(16.).reshape(1, 1, 4, 4), cache)[0, 0].tolist() == [[0, 2], [8, 10]]


def test_lecture_nearest(mode):
    """L16-U02: and backward is the sum of each 2x2 block."""
    out, cache = resize.upsample_nearest_forward(X)
    assert out[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert resize.upsample_nearest_backward(np.arange(16.).reshape(1, 1, 4, 4), cache)[0, 0].tolist() == [[10, 18], [42, 50]]


def test_lecture_bilinear(mode):
    """L16-U03: all 16 numbers, exactly, by factor and by size."""
    assert plane(resize.upsample_bilinear_forward(X, 2)) == BILINEAR
    assert plane(resize.upsample_bilinear_forward(X, size=(4, 4))) == BILINEAR


def test_lecture_bicubic(mode):
    """L16-U05: the slide's two decimals, which are Keys' cubic with a = -0.75."""
    out, _ = resize.upsample_bicubic_forward(X, 2)
    np.testing.assert_allclose(out[0, 0], BICUBIC, rtol=0, atol=0.005)
    assert out[0, 0, 0].tolist() == [.68359375, 1.015625, 1.5625, 1.89453125]


def test_lecture_bicubic_is_not_one_table(mode):
    """L16-U06: "how we normally resize images" differs by library: a = -0.5 is another table."""
    out, _ = resize.upsample_bicubic_forward(X, 2, a=-0.5)
    assert out[0, 0, :2].tolist() == [[.7890625, 1.0625, 1.65625, 1.9296875], [1.3359375, 1.609375, 2.203125, 2.4765625]]


def test_erratum_bicubic_reads_four_cells_an_axis():
    """L16-E02: not three."""
    weight = resize.axis_weights(8, 16, resize.keys)
    assert (np.count_nonzero(weight[4:-4], axis=1) == 4).all()


def test_erratum_the_dots_of_the_picture_are_the_other_grid(mode):
    """L16-E03: dots at 0, 1/3, 2/3, 1 between the centres are align_corners=True, whose numbers are not the printed ones."""
    np.testing.assert_allclose(resize.sample_positions(2, 4, align_corners=True), [0, 1 / 3, 2 / 3, 1], rtol=0, atol=1e-15)
    out, _ = resize.upsample_bilinear_forward(X, 2, align_corners=True)
    np.testing.assert_allclose(out[0, 0, 0], [1, 4 / 3, 5 / 3, 2], rtol=0, atol=1e-14)
    assert resize.sample_positions(2, 4).tolist() == [-.25, .25, .75, 1.25]


def test_erratum_the_formula_as_printed_lacks_the_clamp():
    """L16-E04, U04: the sum over f * max(0, 1-|x-i|) * max(0, 1-|y-j|), over the pixels that exist, is right in the 4 middle cells only."""
    w = resize.hat(resize.sample_positions(2, 4)[:, None] - np.arange(2))
    table = w @ X[0, 0] @ w.T
    assert table.tolist() == WITHOUT_CLAMP
    assert (table == BILINEAR).sum() == 4 and (table == BILINEAR)[1:3, 1:3].all()
    clamped = np.clip(resize.sample_positions(2, 4), 0, 1)                             # L16-U04: with the clamp it is the printed table
    w = resize.hat(clamped[:, None] - np.arange(2))
    assert (w @ X[0, 0] @ w.T).tolist() == BILINEAR


def test_erratum_the_formula_sums_over_more_cells_than_count():
    """L16-E05: floor(x)-1 .. ceil(x)+1 is wider than needed: the outer cells weigh nothing."""
    v = np.random.default_rng(0).uniform(0, 9, 50)
    wide = np.floor(v)[:, None] + np.arange(-1, 3)
    assert (resize.hat(v[:, None] - wide)[:, [0, 3]] == 0).all()


# ---- identities

@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("bump", [resize.hat, resize.keys])
@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_weights_of_an_output_add_up_to_one(length, size, bump, align_corners):
    weight = resize.axis_weights(length, size, bump, align_corners)
    assert weight.shape == (size, length)
    np.testing.assert_allclose(weight.sum(axis=1), 1, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
def test_a_constant_stays_and_the_same_size_changes_nothing(mode, name):
    forward, x = OPS[name][0], np.random.default_rng(0).standard_normal((2, 3, 5, 4))
    np.testing.assert_allclose(forward(np.full((1, 2, 3, 5), 7.), size=(8, 3))[0], 7, rtol=1e-14)
    same, _ = forward(x, size=(5, 4))
    assert np.array_equal(same, x) and not np.shares_memory(same, x)


@pytest.mark.parametrize("a,degree", [(-0.5, 2), (-0.75, 0)])
def test_bicubic_reproduces_parabolas_only_with_a_half(mode, a, degree):
    """L16-U06, Keys (1981): a = -1/2 is exact for polynomials up to degree 2, away from the border; other a for constants only."""
    v, places = np.arange(12.), resize.sample_positions(12, 36)
    inside = slice(6, 30)
    for power in range(3):
        x = np.broadcast_to(v**power, (1, 1, 2, 12)).copy()
        out, _ = resize.upsample_bicubic_forward(x, size=(2, 36), a=a)
        error = abs(out[0, 0, :, inside] - places[inside]**power).max()
        assert (error < 1e-12) == (power <= degree)


def test_bicubic_overshoots_and_bilinear_does_not(mode):
    step = np.repeat([0., 1], 4).reshape(1, 1, 1, 8).repeat(2, axis=2)
    assert resize.upsample_bicubic_forward(step, 4)[0].max() > 1.05
    assert resize.upsample_bilinear_forward(step, 4)[0].max() == 1


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("size", SIZES)
def test_backward_is_the_transpose(mode, name, size):
    """<up(x), y> = <x, backward(y)> to 1e-12: all four are linear."""
    forward, backward = OPS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, *size))
    for target, align_corners in itertools.product(TARGETS, (False, True)):
        options = {"bed_of_nails": {"scale_factor": target}, "nearest": {"size": target}}.get(
            name, {"size": target, "align_corners": align_corners})
        out, cache = forward(x, **options)
        y = rng.standard_normal(out.shape)
        dx = backward(y, cache)
        assert dx.shape == x.shape
        assert abs((out * y).sum() - (x * dx).sum()) <= 1e-12 * np.sqrt((out**2).sum() * (y**2).sum()), options


def test_factor_may_differ_by_axis(mode):
    for name, (forward, _) in OPS.items():
        assert forward(X, (3, 1))[0].shape == (1, 1, 6, 2), name
    assert plane(resize.upsample_nearest_forward(X, (1, 3))) == [[1, 1, 1, 2, 2, 2], [3, 3, 3, 4, 4, 4]]
    assert plane(resize.bed_of_nails_forward(X, (1, 3))) == [[1, 0, 0, 2, 0, 0], [3, 0, 0, 4, 0, 0]]


def test_nearest_takes_a_size_that_is_no_multiple(mode):
    """Output q copies input floor(q * 3 / 5): 0 0 1 1 2; a smaller size skips."""
    x = np.arange(3.).reshape(1, 1, 1, 3)
    assert plane(resize.upsample_nearest_forward(x, size=(1, 5))) == [[0, 0, 1, 1, 2]]
    out, cache = resize.upsample_nearest_forward(x, size=(1, 2))
    assert out[0, 0].tolist() == [[0, 1]]
    assert resize.upsample_nearest_backward(out + 5, cache)[0, 0].tolist() == [[5, 6, 0]]


@pytest.mark.parametrize("arguments,message", [
    ({"scale_factor": 2, "size": (4, 4)}, "not both"),
    ({"scale_factor": 1.5}, "scale_factor must be an integer"),
    ({"scale_factor": 0}, "scale_factor must be an integer >= 1"),
    ({"size": (4, 4, 4)}, "size must be an int or a pair"),
])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        resize.upsample_bilinear_forward(X, **arguments)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="at least one pixel"):
        resize.upsample_bicubic_forward(np.zeros((1, 1, 0, 3)))
    _, cache = resize.upsample_bilinear_forward(X)
    for _, backward in OPS.values():
        with pytest.raises(ValueError, match="out's shape"):
            backward(np.zeros((1, 1, 3, 3)), numpyvision.cache.Cache(cache, scale_factor=(2, 2), a=-.75))


@pytest.mark.parametrize("width", [11, 12, 13, 40])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_a_doubled_row_is_the_same_inside_and_at_its_ends(width, kind, align_corners):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 3, width))
    forward, backward = (getattr(resize, f"upsample_{kind}_{way}") for way in ("forward", "backward"))
    results = []
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode):
            out, cache = forward(x, 2, align_corners=align_corners)
            results.append((out, backward(np.cos(out), cache)))
    for readable, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, readable, rtol=0, atol=1e-13)
