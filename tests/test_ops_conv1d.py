"""conv1d, conv_transpose1d and letters: the 1D examples of the lecture (L16-V05, V07 to V11) print what the slide says."""
import numpy as np
import pytest

from numpyvision.ops import conv, conv1d, conv_transpose, resize
from numpyvision.ops.symbolic import Symbol, symbols

SETTINGS = [  # L, k, stride, padding, dilation, groups
    (7, 3, 1, 1, 1, 1), (7, 3, 2, 1, 1, 1), (1, 1, 1, 0, 1, 1), (9, 2, 3, 0, 2, 2), (1, 3, 2, 1, 1, 2), (12, 4, 2, 3, 1, 1),
    (5, 3, 1, 2, 2, 2)]


def printed(a):
    return [str(v) for v in a.ravel()]


def sequence(names):
    return symbols(names).reshape(1, 1, -1)


# ---- the slide

def test_lecture_transposed_convolution_by_hand(mode):
    """L16-V05: (a, b) under the filter (x, y, z), stride 2."""
    out, _ = conv1d.conv_transpose1d_forward(sequence("ab"), sequence("xyz"), stride=2)
    assert printed(out) == ["ax", "ay", "az + bx", "by", "bz"]


def test_lecture_convolution_by_hand(mode):
    """L16-V07, V10: stride 1 and stride 2, padding 1."""
    out, _ = conv1d.conv1d_forward(sequence("abcd"), sequence("xyz"), padding=1)
    assert printed(out) == ["ay + bz", "ax + by + cz", "bx + cy + dz", "cx + dy"]
    out, _ = conv1d.conv1d_forward(sequence("abcd"), sequence("xyz"), stride=2, padding=1)
    assert printed(out) == ["ay + bz", "bx + cy + dz"]


def test_lecture_transposes_by_hand(mode):
    """L16-V08, V11 and erratum E11: six outputs are the padded ones; the last 0 is a column that no window reached."""
    out, _ = conv1d.conv_transpose1d_forward(sequence("abcd"), sequence("xyz"))
    assert printed(out) == ["ax", "ay + bx", "az + by + cx", "bz + cy + dx", "cz + dy", "dz"]
    out, _ = conv1d.conv_transpose1d_forward(sequence("ab"), sequence("xyz"), stride=2, output_padding=1)
    assert printed(out) == ["ax", "ay", "az + bx", "by", "bz", "0"]
    out, _ = conv1d.conv_transpose1d_forward(sequence("ab"), sequence("xyz"), stride=2, padding=1, output_padding=1)
    assert printed(out) == ["ay", "az + bx", "by", "bz"]                                    # both ends un-padded


def test_backward_on_letters(mode):
    """dx of a convolution is the transposed convolution, letter for letter."""
    _, cache = conv1d.conv1d_forward(sequence("abcdef"), sequence("xyz"), stride=2)
    dx, dw, _ = conv1d.conv1d_backward(sequence("gh"), cache)
    assert printed(dx) == ["gx", "gy", "gz + hx", "hy", "hz", "0"]
    assert printed(dw) == ["ag + ch", "bg + dh", "cg + eh"]
    _, cache = conv1d.conv_transpose1d_forward(sequence("ab"), sequence("xyz"), stride=2)
    dx, dw, _ = conv1d.conv_transpose1d_backward(sequence("ghijk"), cache)
    assert printed(dx) == ["gx + hy + iz", "ix + jy + kz"] and printed(dw) == ["ag + bi", "ah + bj", "ai + bk"]


def test_other_operations_on_letters(mode):
    """The readable bodies take objects: images, bias, upsampling."""
    x, w = symbols("abcd").reshape(1, 1, 2, 2), symbols("uvxy").reshape(1, 1, 2, 2)
    assert printed(conv.conv2d_forward(x, w, symbols("k"))[0]) == ["au + bv + cx + dy + k"]
    assert printed(conv_transpose.conv_transpose2d_forward(x[:, :, :1, :1], w)[0]) == ["au", "av", "ax", "ay"]
    assert printed(resize.bed_of_nails_forward(x)[0])[:4] == ["a", "0", "b", "0"]
    assert printed(resize.upsample_nearest_forward(x)[0])[:4] == ["a", "a", "b", "b"]
    assert printed(resize.upsample_bilinear_forward(x)[0])[:6] == [
        "a", "0.75a + 0.25b", "0.25a + 0.75b", "b", "0.75a + 0.25c", "0.5625a + 0.1875b + 0.1875c + 0.0625d"]


def test_stamps_of_letters():
    trace = conv_transpose.conv_transpose2d_stamps(symbols("ab").reshape(1, 1, 1, 2), symbols("xyz").reshape(1, 1, 1, 3), stride=2)
    assert [printed(s.copy) for s in trace.stamps] == [["ax", "ay", "az"], ["bx", "by", "bz"]]
    assert printed(trace.out) == ["ax", "ay", "az + bx", "by", "bz"] and trace.overlaps == [(0, 2)]


# ---- letters

def test_symbols_have_one_normal_form():
    a, b, x = symbols("a b x")
    assert a * x + b == b + x * a and hash(a * x) == hash(x * a) and a != b and a * 0 == 0 and 0 + a == a
    assert [str(v) for v in (a - a, 2 * a * x - b, -a, a - 1, 1 - a, 3 * a / 2, a * a, Symbol({}), b + a * 1.0)] == [
        "0", "2ax - b", "-a", "-1 + a", "1 - a", "1.5a", "aa", "0", "a + b"]
    assert str(symbols("a1 b2")) == "[a1 b2]" and (a * x + 1).terms == {("a", "x"): 1, (): 1}
    with pytest.raises(TypeError):
        a + "b"
    assert a != "a"


# ---- numbers

def every_window(x, w, b, stride, padding, dilation, groups):
    (N, C, L), (F, Cg, k) = x.shape, w.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding)))
    out = np.empty((N, F, (L + 2 * padding - dilation * (k - 1) - 1) // stride + 1))
    for n, f, q in np.ndindex(*out.shape):
        g = f // (F // groups)
        out[n, f, q] = b[f] + (x[n, g * Cg:(g + 1) * Cg, q * stride:q * stride + dilation * k:dilation][:, :k] * w[f]).sum()
    return out


@pytest.mark.parametrize("L,k,s,p,d,g", SETTINGS)
def test_conv1d_equals_the_definition_and_its_transpose(mode, L, k, s, p, d, g):
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 4, L)), rng.standard_normal((6, 4 // g, k)), rng.standard_normal(6)
    out, cache = conv1d.conv1d_forward(x, w, b, s, p, d, g)
    np.testing.assert_allclose(out, every_window(x, w, b, s, p, d, g), rtol=0, atol=1e-12)
    y = rng.standard_normal(out.shape)
    spare = (L + 2 * p - d * (k - 1) - 1) % s                                          # L16-V13: output_padding that leads back to L
    back, up_cache = conv1d.conv_transpose1d_forward(y, w, None, s, p, spare, d, g)
    down, dy = out - b[:, None], conv1d.conv_transpose1d_backward(x, up_cache)[0]
    assert abs((down * y).sum() - (x * back).sum()) <= 1e-12 * np.sqrt((down**2).sum() * (y**2).sum())
    np.testing.assert_allclose(conv1d.conv1d_backward(y, cache)[0], back, rtol=0, atol=1e-12)
    np.testing.assert_allclose(dy, down, rtol=0, atol=1e-12)


def test_wrong_arguments_are_named():
    x, w = np.zeros((1, 2, 5)), np.zeros((3, 2, 3))
    with pytest.raises(ValueError, match=r"x must be \(N, C, L\)"):
        conv1d.conv1d_forward(x[0], w)
    with pytest.raises(ValueError, match=r"w must be \(C, F/groups, k\)"):
        conv1d.conv_transpose1d_forward(x, w[0])
    with pytest.raises(ValueError, match="other way round than in conv2d"):
        conv1d.conv_transpose1d_forward(x, w)
    with pytest.raises(ValueError, match="stride must be an integer >= 1"):
        conv1d.conv1d_forward(x, w, stride=0)


def test_keeps_float32(mode):
    x, w = np.ones((2, 1, 4), np.float32), np.ones((1, 1, 2), np.float32)
    out, cache = conv1d.conv1d_forward(x, w)
    assert out.dtype == np.float32 and out[0, 0].tolist() == [2, 2, 2] and conv1d.conv1d_backward(out, cache)[2] is None
