"""conv2d: by hand, by a loop over every window, and its gradients by identities. The torch comparison is in oracle/."""
import numpy as np
import pytest

import numpyvision
from numpyvision.ops import conv

SWEEP = [  # N, C, H, W, F, kernel, stride, padding, dilation, groups
    (2, 3, 7, 5, 4, 3, 1, 1, 1, 1), (1, 4, 8, 8, 6, 3, 2, 1, 1, 2), (2, 2, 9, 10, 3, (2, 3), (2, 1), (0, 2), (1, 2), 1),
    (3, 4, 1, 1, 5, 1, 1, 0, 1, 1), (1, 6, 6, 7, 6, 3, 1, 2, 2, 6), (2, 3, 11, 9, 2, 5, 3, 2, 1, 1), (1, 2, 5, 5, 9, 1, 2, 0, 1, 1),
    (1, 3, 4, 4, 2, 2, 3, 1, 1, 1), (2, 20, 40, 6, 17, 3, 1, 1, 1, 1), (1, 1, 3, 3, 1, 3, 1, 0, 1, 1), (2, 1, 70, 40, 3, 3, 1, 1, 1, 1),
]


def every_window(x, w, b, stride, padding, dilation, groups):
    """The definition, one output at a time."""
    (sy, sx), (py, px), (dy, dx) = (np.broadcast_to(v, 2) for v in (stride, padding, dilation))
    x = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    (N, C, H, W), (F, Cg, kh, kw) = x.shape, w.shape
    out = np.empty((N, F, (H - dy * (kh - 1) - 1) // sy + 1, (W - dx * (kw - 1) - 1) // sx + 1))
    for n, f, r, q in np.ndindex(*out.shape):
        g = f // (F // groups)
        window = x[n, g * Cg:(g + 1) * Cg, r * sy:r * sy + dy * kh:dy, q * sx:q * sx + dx * kw:dx]
        out[n, f, r, q] = b[f] + (window[:, :kh, :kw] * w[f]).sum()
    return out


@pytest.mark.parametrize("mode", ["numpy", "compiled"])
@pytest.mark.parametrize("N,C,H,W,F,k,s,p,d,g", SWEEP)
def test_equals_the_definition_and_its_transposes(mode, N, C, H, W, F, k, s, p, d, g):
    rng = np.random.default_rng(0)
    kh, kw = np.broadcast_to(k, 2)
    x, w, b = rng.standard_normal((N, C, H, W)), rng.standard_normal((F, C // g, kh, kw)), rng.standard_normal(F)
    with numpyvision.use(mode):
        out, cache = conv.conv2d_forward(x, w, b, s, p, d, g)
        dout = rng.standard_normal(out.shape)
        dx, dw, db = conv.conv2d_backward(dout, cache)
        np.testing.assert_allclose(out, every_window(x, w, b, s, p, d, g), atol=1e-12)
        # conv is linear in x and in w, so <dout, conv(v)> = <gradient, v> for any v: no finite difference needed
        for grad, v, image in ((dx, rng.standard_normal(x.shape), lambda v: (v, w)), (dw, rng.standard_normal(w.shape), lambda v: (x, v))):
            moved, _ = conv.conv2d_forward(*image(v), None, s, p, d, g)
            assert abs((dout * moved).sum() - (grad * v).sum()) < 1e-10 * max(1, abs(dout).sum())
    np.testing.assert_allclose(db, dout.sum(axis=(0, 2, 3)), atol=1e-11)


def test_by_hand():
    x = np.arange(16.).reshape(1, 1, 4, 4)
    out, cache = conv.conv2d_forward(x, np.ones((1, 1, 3, 3)), None, stride=1, padding=0)
    assert out.tolist() == [[[[45, 54], [81, 90]]]]                       # sums of the four 3x3 windows
    dx, dw, db = conv.conv2d_backward(np.ones((1, 1, 2, 2)), cache)
    assert dx[0, 0].tolist() == [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]      # in how many windows a pixel stands
    assert dw[0, 0].tolist() == [[10, 14, 18], [26, 30, 34], [42, 46, 50]]                    # sum of the pixels that a tap meets
    assert db is None


def test_lecture_downsampling_moves_two_input_pixels_for_one_output_pixel():
    """L16-V02: 3x3, stride 2, padding 1 takes 4x4 to 2x2."""
    x = np.arange(16.).reshape(1, 1, 4, 4)
    centre = np.zeros((1, 1, 3, 3))
    centre[0, 0, 1, 1] = 1
    out, _ = conv.conv2d_forward(x, centre, None, stride=2, padding=1)
    assert out[0, 0].tolist() == [[0, 2], [8, 10]]


@pytest.mark.parametrize("channels", [16, 96, 256])
def test_float32_stays_close_to_float64(channels):
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, channels, 12, 20)), rng.standard_normal((24, channels, 3, 3))
    out, cache = conv.conv2d_forward(x, w, None, padding=1)
    dout = rng.standard_normal(out.shape)
    single, single_cache = conv.conv2d_forward(x.astype(np.float32), w.astype(np.float32), None, padding=1)
    for a, b in zip((single, *conv.conv2d_backward(dout.astype(np.float32), single_cache)[:2]),
                    (out, *conv.conv2d_backward(dout, cache)[:2]), strict=True):
        assert a.dtype == np.float32
        assert abs(a - b).max() < 2e-6 * abs(b).max()


def test_a_nan_stays_in_its_own_image():
    x, w = np.ones((3, 2, 8, 8), np.float32), np.ones((4, 2, 3, 3), np.float32)
    x[1, 0, 4, 4] = np.nan
    out, _ = conv.conv2d_forward(x, w, None, padding=1)
    assert np.isnan(out[1]).any() and np.isfinite(out[[0, 2]]).all()


@pytest.mark.parametrize("bad, message", [
    (dict(x=np.ones((3, 8, 8))), r"x must be \(N, C, H, W\), got \(3, 8, 8\); a single image needs x\[None\]"),
    (dict(w=np.ones((4, 2, 3, 3))), r"w must be \(F, 3, kh, kw\) for x with 3 channels"),
    (dict(w=np.ones((4, 3, 3, 3), np.float32)), "share a dtype"),
    (dict(b=np.ones(3)), r"b must be \(4,\), one number a filter, got \(3,\)"),
    (dict(stride=0), "stride must be an integer >= 1, got 0"),
    (dict(padding=-1), "padding must be an integer >= 0, got -1"),
    (dict(groups=2), "groups must divide both the 3 channels of x and the 4 filters"),
    (dict(w=np.ones((4, 3, 9, 9))), "a 9x9 kernel .* does not fit into a 8x8 image"),
])
def test_errors_name_the_cause(bad, message):
    good = dict(x=np.ones((1, 3, 8, 8)), w=np.ones((4, 3, 3, 3)), b=np.ones(4))
    with pytest.raises(ValueError, match=message):
        conv.conv2d_forward(**good | bad)
