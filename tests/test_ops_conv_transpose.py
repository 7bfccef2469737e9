"""conv_transpose2d: the slide's numbers, the rows L16-V03 to V13, by a loop over pixels, and by being conv2d's transpose."""
import numpy as np
import pytest

import numpyvision
from numpyvision.ops import conv, resize
from numpyvision.ops import conv_transpose as ct

X = np.array([[1., 2], [3, 4]]).reshape(1, 1, 2, 2)
K = np.arange(1., 10).reshape(1, 1, 3, 3)
FULL = [[1, 2, 5, 4, 6], [4, 5, 14, 10, 12], [10, 14, 36, 24, 30], [12, 15, 34, 20, 24], [21, 24, 55, 32, 36]]
TRIMMED = [[5, 14, 10, 12], [14, 36, 24, 30], [15, 34, 20, 24], [24, 55, 32, 36]]


def random_case(seed):
    """x, w, b and settings; of every kind: strides beside kernels, dilations, groups, paddings wider than the kernel, one pixel."""
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 2, 3]))
    C, F = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    pair = lambda low, high: tuple(int(v) for v in rng.integers(low, high, 2))
    while True:
        kernel, stride, dilation, size = pair(1, 5), pair(1, 5), pair(1, 4), pair(1, 8)
        output_padding = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
        padding = pair(0, 4)
        settings = dict(stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups)
        if min(ct.out_size((1, C, *size), (C, F // groups, *kernel), **settings)) > 0:
            break
    return rng.standard_normal((2, C, *size)), rng.standard_normal((C, F // groups, *kernel)), rng.standard_normal(F), settings, rng


def every_pixel(x, w, b, stride, padding, output_padding, dilation, groups):
    """The definition, one weight of one pixel at a time."""
    (N, C, H, W), (_, Fg, kh, kw), ((sy, sx), (py, px), (dy, dx)) = x.shape, w.shape, (stride, padding, dilation)
    out = np.zeros((N, Fg * groups, *ct.out_size(x.shape, w.shape, stride, padding, output_padding, dilation))) + b[:, None, None]
    for c, f, r, q, i, j in np.ndindex(C, Fg, H, W, kh, kw):
        y, z = sy * r + dy * i - py, sx * q + dx * j - px
        if 0 <= y < out.shape[2] and 0 <= z < out.shape[3]:
            out[:, c // (C // groups) * Fg + f, y, z] += w[c, f, i, j] * x[:, c, r, q]
    return out


# ---- the slide

def test_lecture_numbers(mode):
    """L16-V03: the full 5x5, and trimmed by one pixel top and left, which is padding=1, output_padding=1."""
    assert ct.conv_transpose2d_forward(X, K, stride=2)[0].tolist() == [[FULL]]
    assert ct.conv_transpose2d_forward(X, K, stride=2, padding=1, output_padding=1)[0].tolist() == [[TRIMMED]]


def test_lecture_stamps():
    """L16-V04: four weighted copies, two pixels apart in the output for one in the input, that overlap in 9 of 25 cells."""
    trace = ct.conv_transpose2d_stamps(X, K, 2, 1, 1)
    assert [(s.row, s.column, s.value.tolist()) for s in trace.stamps] == [(0, 0, [1]), (0, 1, [2]), (1, 0, [3]), (1, 1, [4])]
    for s in trace.stamps:
        assert np.array_equal(s.copy, s.value * K[0])
        assert s.rows.tolist() == [2 * s.row + i for i in range(3)] and s.columns.tolist() == [2 * s.column + j for j in range(3)]
    assert trace.full.tolist() == [FULL] and trace.out.tolist() == [TRIMMED] and trace.window == (1, 1, 4, 4)
    assert trace.count.tolist() == [[1, 1, 2, 1, 1], [1, 1, 2, 1, 1], [2, 2, 4, 2, 2], [1, 1, 2, 1, 1], [1, 1, 2, 1, 1]]
    assert trace.overlaps == [(r, q) for r in range(5) for q in range(5) if 2 in (r, q)]
    assert "pixel (1, 0) = 3.0 stamps rows 2..4, columns 0..2" in repr(trace) and "9 of 25 cells" in repr(trace)


@pytest.mark.parametrize("seed", range(12))
def test_stamps_add_up_to_the_operation(seed):
    x, w, _, settings, _ = random_case(seed)
    trace, (out, _) = ct.conv_transpose2d_stamps(x[:1], w, **settings), ct.conv_transpose2d_forward(x[:1], w, **settings)
    np.testing.assert_allclose(trace.out, out[0], rtol=0, atol=1e-12)
    again = np.zeros_like(trace.full)
    for s in trace.stamps:
        again[:, s.rows[:, None], s.columns] += s.copy
    np.testing.assert_allclose(again, trace.full, rtol=0, atol=1e-12)
    ones = ct.conv_transpose2d_stamps(np.ones((1, 1, *x.shape[2:])), np.ones((1, 1, *w.shape[2:])), settings["stride"],
                                      dilation=settings["dilation"])
    assert np.array_equal(trace.count, ones.full[0])                     # counting copies is stamping ones


def test_checkerboard():
    """A kernel that the stride does not divide is overlapped unevenly: the checkerboards of upsampling networks."""
    def inner_counts(k, s):
        return set(ct.conv_transpose2d_stamps(np.ones((1, 1, 6, 6)), np.ones((1, 1, k, k)), s).count[k:-k, k:-k].ravel().tolist())
    assert inner_counts(3, 2) == {1, 2, 4} and inner_counts(4, 2) == {4} and inner_counts(2, 2) == {1}


def test_lecture_bad_name_warns():
    """L16-V06."""
    with pytest.warns(DeprecationWarning, match="not its inverse"):
        out, _ = ct.deconv(X, K, stride=2)
    assert out.tolist() == [[FULL]]


@pytest.mark.parametrize("k,p,d", [(3, 0, 1), (3, 1, 1), (5, 2, 1), (4, 1, 1), (3, 1, 2), (1, 0, 1)])
def test_lecture_stride_one_is_a_convolution_with_the_kernel_turned(mode, k, p, d):
    """L16-V09, erratum E10: a regular convolution, "different padding" d(k-1) - p, but the kernel must be reversed as well."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 6, 7)), rng.standard_normal((3, 4, k, k))
    out, _ = ct.conv_transpose2d_forward(x, w, stride=1, padding=p, dilation=d)
    turned = w.swapaxes(0, 1)[:, :, ::-1, ::-1].copy()
    np.testing.assert_allclose(conv.conv2d_forward(x, turned, None, 1, d * (k - 1) - p, d)[0], out, rtol=0, atol=1e-12)
    if k > 1:
        unturned, _ = conv.conv2d_forward(x, w.swapaxes(0, 1).copy(), None, 1, d * (k - 1) - p, d)
        assert abs(unturned - out).max() > 0.1


@pytest.mark.parametrize("k,s", [(3, 2), (4, 2), (3, 3), (2, 3)])
def test_erratum_any_stride_is_a_bed_of_nails_and_a_convolution(mode, k, s):
    """L16-E09, V12: not a convolution of the same input, but one of its bed of nails."""
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((1, 2, 4, 5)), rng.standard_normal((2, 3, k, k))
    out, _ = ct.conv_transpose2d_forward(x, w, stride=s)
    nails, _ = resize.bed_of_nails_forward(x, s)
    nails = nails[:, :, :out.shape[2] - k + 1, :out.shape[3] - k + 1]          # without the zeros behind the last nail
    turned = w.swapaxes(0, 1)[:, :, ::-1, ::-1].copy()
    np.testing.assert_allclose(conv.conv2d_forward(nails, turned, None, 1, k - 1)[0], out, rtol=0, atol=1e-12)


def test_erratum_bilinear_kernel_gives_the_unclamped_table(mode):
    """L16-E04: [.25 .75 .75 .25], k4 s2 p1, is bilinear upsampling without the clamp: equal in the middle, dark at the border."""
    row = np.array([.25, .75, .75, .25])
    out, _ = ct.conv_transpose2d_forward(X, np.outer(row, row)[None, None], stride=2, padding=1)
    assert out[0, 0].tolist() == [[.5625, .9375, 1.3125, 1.125], [1.125, 1.75, 2.25, 1.875],
                                  [1.875, 2.75, 3.25, 2.625], [1.6875, 2.4375, 2.8125, 2.25]]
    bilinear, _ = resize.upsample_bilinear_forward(X, 2)
    assert ((out == bilinear)[0, 0] == np.pad(np.ones((2, 2), bool), 1)).all()


# ---- definition and transpose

@pytest.mark.parametrize("seed", range(25))
def test_equals_the_definition_and_its_gradients_the_transposes(mode, seed):
    x, w, b, settings, rng = random_case(seed)
    out, cache = ct.conv_transpose2d_forward(x, w, b, **settings)
    np.testing.assert_allclose(out, every_pixel(x, w, b, **settings), rtol=0, atol=1e-12)
    dout = rng.standard_normal(out.shape)
    dx, dw, db = ct.conv_transpose2d_backward(dout, cache)
    # linear in x, in w and in b: <dout, out(v)> = <gradient, v> for any v
    vx, vw, vb = (rng.standard_normal(a.shape) for a in (x, w, b))
    for grad, v, arrays in ((dx, vx, (vx, w, 0 * b)), (dw, vw, (x, vw, 0 * b)), (db, vb, (0 * x, w, vb))):
        moved = every_pixel(*arrays, **settings)
        assert grad.shape == v.shape
        assert abs((dout * moved).sum() - (grad * v).sum()) <= 1e-12 * max(1, np.sqrt((dout**2).sum() * (moved**2).sum()))


@pytest.mark.parametrize("seed", range(40))
def test_lecture_adjointness(mode, seed):
    """L16-V13: <conv(x), y> = <x, convT(y)> to 1e-12, over random kernels, strides, paddings, dilations and groups."""
    y, w, _, settings, rng = random_case(seed)
    settings["output_padding"] = tuple(e % s for e, s in zip(settings["output_padding"], settings["stride"], strict=True))
    if min(ct.out_size(y.shape, w.shape, **settings)) < 1:
        settings["padding"] = (0, 0)
    up, _ = ct.conv_transpose2d_forward(y, w, **settings)
    x = rng.standard_normal(up.shape)
    down, _ = conv.conv2d_forward(x, w, None, settings["stride"], settings["padding"], settings["dilation"], settings["groups"])
    assert down.shape == y.shape                                        # output_padding: back to the very size that we came from
    assert abs((down * y).sum() - (x * up).sum()) <= 1e-12 * np.sqrt((down**2).sum() * (y**2).sum() + 1)


@pytest.mark.parametrize("size", range(5, 11))
def test_output_padding_chooses_the_size_to_return_to(mode, size):
    """Three sizes go down to the same one at stride 3; output_padding = (size + 2p - d(k-1) - 1) mod 3 leads back to each."""
    x = np.ones((1, 1, size, size))
    down, _ = conv.conv2d_forward(x, K, None, 3, 1)
    up, _ = ct.conv_transpose2d_forward(down, K, stride=3, padding=1, output_padding=(size + 2 - 2 - 1) % 3)
    assert up.shape == x.shape


def test_keeps_dtype_and_takes_no_images(mode):
    x, w, b = np.zeros((0, 1, 2, 2), np.float32), K.astype(np.float32), np.ones(1, np.float32)
    out, cache = ct.conv_transpose2d_forward(x, w, b, stride=2)
    dx, dw, db = ct.conv_transpose2d_backward(out, cache)
    assert out.shape == (0, 1, 5, 5) and dx.shape == x.shape and dw.tolist() == np.zeros_like(w).tolist() and db.tolist() == [0]
    out, _ = ct.conv_transpose2d_forward(X.astype(np.float32), w, b)
    assert out.dtype == np.float32 and out[0, 0, 0, 0] == 2


@pytest.mark.parametrize("arguments,message", [
    ({"w": np.zeros((4, 3, 3, 3))}, "first axis of w counts input channels.*other way round than in conv2d"),
    ({"stride": 2, "output_padding": 2}, "output_padding must be smaller than stride or dilation, got 2"),
    ({"padding": 3}, "leave nothing; reduce the padding"),
    ({"b": np.zeros(4)}, r"b must be \(3,\)"),
    ({"groups": 3}, "groups must divide the 2 channels"),
    ({"w": np.zeros((2, 3, 3, 3), np.float32)}, "must share a dtype"),
    ({"stride": 0}, "stride must be an integer >= 1"),
])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ct.conv_transpose2d_forward(np.zeros((1, 2, 2, 2)), **{"w": np.zeros((2, 3, 3, 3)), **arguments})


def test_stamps_take_one_image():
    with pytest.raises(ValueError, match="one image"):
        ct.conv_transpose2d_stamps(np.zeros((2, 1, 2, 2)), K)


def test_law_of_dilation_without_stride(mode):
    """output_padding may exceed the stride if dilation does: those rows lie beyond every stamp, and only b reaches them."""
    out, cache = ct.conv_transpose2d_forward(X, K, np.array([7.]), stride=1, dilation=3, output_padding=2)
    assert out.shape == (1, 1, 10, 10) and (out[0, 0, 8:] == 7).all() and (out[0, 0, :, 8:] == 7).all()
    with numpyvision.use("numpy"):
        again, _ = ct.conv_transpose2d_forward(X, K, np.array([7.]), stride=1, dilation=3, output_padding=2)
    assert np.array_equal(out, again)
