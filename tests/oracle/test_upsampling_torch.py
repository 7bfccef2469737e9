"""Upsampling, unpooling and transposed convolution against torch in float64: the value and all gradients, on both paths."""

import itertools

import numpy as np
import pytest

import numpyvision
from numpyvision.ops import conv1d, conv_transpose, pool, resize

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle
F = torch.nn.functional
SIZES = [(1, 1), (1, 5), (2, 2), (3, 4), (7, 5), (16, 13)]
TARGETS = [(1, 1), (2, 1), (3, 7), (9, 8), (15, 26), (31, 33)]


@pytest.fixture(params=["numpy", "compiled"], autouse=True)
def mode(request):
    with numpyvision.use(request.param):
        yield request.param


def compare(forward, backward, torch_forward, arrays, rng, constants=(), **static):
    """out and the gradient of each of `arrays` equal torch's to 1e-10, for a random dout. `constants` follow the arrays."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    expected = torch_forward(*tensors, *map(torch.tensor, constants))
    dout = rng.standard_normal(tuple(expected.shape))
    gradients = torch.autograd.grad(expected, tensors, torch.tensor(dout))
    out, cache = forward(*arrays, *constants, **static)
    grads = backward(dout, cache)
    for ours, theirs in zip((out, *(grads if isinstance(grads, tuple) else (grads,))), (expected, *gradients), strict=True):
        assert ours.shape == tuple(theirs.shape)
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_interpolation(size, name, align_corners):
    rng = np.random.default_rng(0)
    forward, backward = (getattr(resize, f"upsample_{name}_{way}") for way in ("forward", "backward"))
    x = rng.standard_normal((2, 3, *size))
    for option in [{"scale_factor": s} for s in (1, 2, 3, (4, 1), (2, 5))] + [{"size": t} for t in TARGETS]:
        theirs = {k: tuple(map(float, v)) if k == "scale_factor" and isinstance(v, tuple) else v for k, v in option.items()}
        compare(forward, backward, lambda x, o=theirs: F.interpolate(x, mode=name, align_corners=align_corners, **o), [x], rng,
                align_corners=align_corners, **option)


@pytest.mark.parametrize("size", SIZES)
def test_nearest_and_bed_of_nails(size):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, *size))
    for target in TARGETS:
        compare(resize.upsample_nearest_forward, resize.upsample_nearest_backward, lambda x, t=target: F.interpolate(x, size=t), [x], rng,
                size=target)
    for s in (1, 2, 3, (4, 1)):
        sy, sx = np.broadcast_to(s, 2).tolist()
        nail = torch.zeros((3, 1, sy, sx), dtype=torch.float64)
        nail[:, :, 0, 0] = 1                                    # bed of nails is the transposed convolution with this filter
        compare(resize.bed_of_nails_forward, resize.bed_of_nails_backward,
                lambda x, nail=nail, s=(sy, sx): F.conv_transpose2d(x, nail, stride=s, groups=3), [x], rng, scale_factor=s)


@pytest.mark.parametrize("window", [(2, 2, 0, 6, 8), (2, 2, 0, 7, 5), (3, 3, 0, 8, 10), (2, 2, 0, 2, 2), (1, 1, 0, 1, 1), (2, 3, 0, 9, 8)])
def test_max_unpool(window):
    """Windows that do not overlap. Where they do, see the next test."""
    k, s, p, H, W = window
    rng = np.random.default_rng(2)
    out, indices = F.max_pool2d(torch.tensor(rng.standard_normal((2, 3, H, W))), k, s, p, return_indices=True)
    compare(pool.max_unpool2d_forward, pool.max_unpool2d_backward,
            lambda x, i: F.max_unpool2d(x, i, k, s, p, output_size=(H, W)), [rng.standard_normal(tuple(out.shape))], rng,
            constants=[indices.numpy()], output_size=(H, W))


def test_max_unpool_of_shared_places():
    """Same forward; the gradients of the values that were kept agree, and torch adds some for values that never reached the output."""
    rng = np.random.default_rng(3)
    x, indices = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 24, (2, 3, 4, 5))
    tensor = torch.tensor(x, requires_grad=True)
    expected = F.max_unpool2d(tensor, torch.tensor(indices), 2, stride=1)
    dout = rng.standard_normal((2, 3, 5, 6))
    gradient, = torch.autograd.grad(expected, [tensor], torch.tensor(dout))
    out, cache = pool.max_unpool2d_forward(x, indices, output_size=(5, 6))
    dx = pool.max_unpool2d_backward(dout, cache)
    assert np.array_equal(out, expected.detach().numpy())
    assert np.array_equal(dx[dx != 0], gradient.numpy()[dx != 0]) and (gradient.numpy()[dx == 0] != 0).any()


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (4, 4), (2, 5)])
def test_conv_transpose2d(kernel):
    rng, compared = np.random.default_rng(sum(kernel)), 0
    for size, stride, padding, dilation, groups in itertools.product([(1, 1), (4, 3), (9, 8)], (1, 2, 3), (0, 1, 2), (1, 2), (1, 2)):
        for output_padding in range(max(stride, dilation)):
            settings = dict(stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups)
            x, w, b = rng.standard_normal((2, 4, *size)), rng.standard_normal((4, 6 // groups, *kernel)), rng.standard_normal(6)
            if min(conv_transpose.out_size(x.shape, w.shape, **conv_transpose.geometry(**settings))) < 1:
                continue                                                                      # trimmed away: torch refuses too
            compare(conv_transpose.conv_transpose2d_forward, conv_transpose.conv_transpose2d_backward,
                    lambda x, w, b, s=settings: F.conv_transpose2d(x, w, b, **s), [x, w, b], rng, **settings)
            compared += 1
    assert compared > 100


@pytest.mark.parametrize("length,k,stride,padding,dilation,groups", [
    (1, 1, 1, 0, 1, 1), (1, 3, 2, 1, 1, 2), (7, 3, 1, 1, 1, 1), (8, 4, 2, 1, 1, 2), (9, 3, 3, 2, 2, 1), (30, 5, 1, 0, 3, 2)])
def test_conv1d_and_its_transpose(length, k, stride, padding, dilation, groups):
    rng = np.random.default_rng(4)
    settings = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    x, b = rng.standard_normal((2, 4, length)), rng.standard_normal(6)
    compare(conv1d.conv1d_forward, conv1d.conv1d_backward, lambda x, w, b: F.conv1d(x, w, b, **settings),
            [x, rng.standard_normal((6, 4 // groups, k)), b], rng, **settings)
    settings["output_padding"] = stride - 1
    compare(conv1d.conv_transpose1d_forward, conv1d.conv_transpose1d_backward, lambda x, w, b: F.conv_transpose1d(x, w, b, **settings),
            [x, rng.standard_normal((4, 6 // groups, k)), b], rng, **settings)
