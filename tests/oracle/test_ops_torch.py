"""Every operation and loss but convolution and RoI Align against torch in float64: the value and all gradients, on both paths."""
import numpy as np
import pytest

import numpyvision
from numpyvision.losses import classification, regression
from numpyvision.ops import activation, linear, norm, pool, resize

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle
F = torch.nn.functional
WINDOWS = [(1, 1, 0), (2, 2, 0), (2, 1, 1), (2, 3, 1), (3, 2, 1), (3, 1, 1), (3, 3, 0), (5, 2, 2), (5, 4, 1), (4, 7, 2)]   # k, s, p
SHAPES = [(2, 3, 6, 8), (1, 4, 7, 5), (3, 8, 1, 1), (2, 4, 1, 9), (1, 12, 33, 70)]


@pytest.fixture(params=["numpy", "compiled"], autouse=True)
def mode(request):
    with numpyvision.use(request.param):
        yield request.param


def draw(rng, *shapes):
    """Arrays of standard normal numbers, one a shape."""
    return [rng.standard_normal(shape) for shape in shapes]


def same(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10 * max(1.0, np.abs(theirs).max(initial=0)))


def compare(forward, backward, torch_forward, arrays, rng, **static):
    """out and the gradient of each of `arrays` equal torch's for a random dout. torch_forward takes tensors."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    expected = torch_forward(*tensors)
    dout = rng.standard_normal(tuple(expected.shape))
    gradients = torch.autograd.grad(expected, tensors, torch.tensor(dout))
    out, cache = forward(*arrays, **static)
    grads = backward(dout if np.ndim(dout) else float(dout), cache)
    same(out, expected)
    for ours, theirs in zip(grads if isinstance(grads, tuple) else (grads,), gradients, strict=True):
        same(ours, theirs)


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("features", [(7,), (3, 2, 2)])
def test_linear(rows, features):
    rng = np.random.default_rng(0)
    arrays = draw(rng, (rows, *features), (int(np.prod(features)), 4), (4,))
    compare(linear.linear_forward, linear.linear_backward, lambda x, w, b: x.flatten(1) @ w + b, arrays, rng)


@pytest.mark.parametrize("shape", SHAPES)
def test_activations(shape):
    rng = np.random.default_rng(1)
    compare(activation.relu_forward, activation.relu_backward, F.relu, draw(rng, shape), rng)
    compare(activation.sigmoid_forward, activation.sigmoid_backward, torch.sigmoid, draw(rng, shape), rng)


@pytest.mark.parametrize("shape", SHAPES + [(0, 3, 6, 6)])
@pytest.mark.parametrize("window", WINDOWS)
def test_max_and_average_pooling(shape, window):
    kernel_size, stride, padding = window
    if min(shape[2:]) + 2 * padding < kernel_size:
        pytest.skip("the window does not fit")
    rng = np.random.default_rng(2)
    x, = draw(rng, shape)
    compare(pool.max_pool2d_forward, pool.max_pool2d_backward, lambda x: F.max_pool2d(x, kernel_size, stride, padding), [x], rng,
            kernel_size=kernel_size, stride=stride, padding=padding)
    compare(pool.avg_pool2d_forward, pool.avg_pool2d_backward, lambda x: F.avg_pool2d(x, kernel_size, stride, padding), [x], rng,
            kernel_size=kernel_size, stride=stride, padding=padding)
    ties = np.round(x)                                                 # many equal maxima: the first one in reading order is meant
    _, indices = F.max_pool2d(torch.tensor(ties), kernel_size, stride, padding, return_indices=True)
    _, cache = pool.max_pool2d_forward(ties, kernel_size, stride, padding)
    np.testing.assert_array_equal(cache.indices, indices.numpy())


@pytest.mark.parametrize("shape", SHAPES + [(0, 3, 2, 2)])
def test_global_average_pooling(shape):
    rng = np.random.default_rng(3)
    compare(pool.global_avg_pool_forward, pool.global_avg_pool_backward, lambda x: x.mean((2, 3)), draw(rng, shape), rng)


@pytest.mark.parametrize("shape", SHAPES + [(0, 3, 2, 2)])
@pytest.mark.parametrize("scale_factor", [1, 2, 3])
def test_upsample_nearest(shape, scale_factor):
    rng = np.random.default_rng(4)
    compare(resize.upsample_nearest_forward, resize.upsample_nearest_backward,
            lambda x: x.repeat_interleave(scale_factor, 2).repeat_interleave(scale_factor, 3), draw(rng, shape), rng,
            scale_factor=scale_factor)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("train", [True, False])
def test_batch_norm(shape, train):
    rng = np.random.default_rng(5)
    C = shape[1]
    x, gamma, beta, mean = draw(rng, shape, C, C, C)
    x, var = 5 + 2 * x, rng.uniform(0.5, 2, C)
    running, theirs = [mean.copy(), var.copy()], [torch.tensor(mean), torch.tensor(var)]
    compare(lambda x, gamma, beta: norm.batch_norm_forward(x, gamma, beta, *running, train=train, momentum=0.3, eps=1e-3),
            norm.batch_norm_backward, lambda x, gamma, beta: F.batch_norm(x, *theirs, gamma, beta, train, 0.3, 1e-3), [x, gamma, beta], rng)
    for ours, expected in zip(running, theirs, strict=True):
        same(ours, expected)
    assert train != np.array_equal(running[0], mean)                   # only training moves them


@pytest.mark.parametrize("shape", SHAPES + [(0, 4, 2, 2)])
def test_affine_norm(shape):
    rng = np.random.default_rng(6)
    C = shape[1]
    x, gamma, beta, mean = draw(rng, shape, C, C, C)
    var = rng.uniform(0.5, 2, C)
    compare(lambda x, gamma, beta: norm.affine_norm_forward(x, gamma, beta, mean, var), norm.affine_norm_backward,
            lambda x, gamma, beta: F.batch_norm(x, torch.tensor(mean), torch.tensor(var), gamma, beta, False), [x, gamma, beta], rng)


@pytest.mark.parametrize("shape", [(2, 4, 6, 8), (1, 12, 7, 5), (3, 8, 1, 1), (1, 12, 33, 70), (0, 4, 2, 2)])
@pytest.mark.parametrize("num_groups", [1, 2, 4])
def test_group_norm(shape, num_groups):
    rng = np.random.default_rng(7)
    x, gamma, beta = draw(rng, shape, shape[1], shape[1])
    compare(norm.group_norm_forward, norm.group_norm_backward, lambda x, gamma, beta: F.group_norm(x, num_groups, gamma, beta),
            [3 * x - 1, gamma, beta], rng, num_groups=num_groups)


@pytest.mark.parametrize("shape", [(2, 4, 6, 8), (1, 12, 7, 5), (3, 8, 2, 1), (1, 12, 33, 70)])
def test_norm_and_relu(shape):
    rng = np.random.default_rng(7)
    C = shape[1]
    x, gamma, beta, mean = draw(rng, shape, C, C, C)
    x, var = 2 * x - 1, rng.uniform(0.5, 2, C)
    running, theirs = [mean.copy(), var.copy()], [torch.tensor(mean), torch.tensor(var)]
    compare(lambda x, gamma, beta: norm.batch_norm_relu_forward(x, gamma, beta, *running, momentum=0.3), norm.batch_norm_relu_backward,
            lambda x, gamma, beta: F.relu(F.batch_norm(x, *theirs, gamma, beta, True, 0.3)), [x, gamma, beta], rng)
    for ours, expected in zip(running, theirs, strict=True):
        same(ours, expected)
    compare(lambda x, gamma, beta: norm.affine_norm_relu_forward(x, gamma, beta, mean, var), norm.affine_norm_relu_backward,
            lambda x, gamma, beta: F.relu(F.batch_norm(x, torch.tensor(mean), torch.tensor(var), gamma, beta)), [x, gamma, beta], rng)
    compare(norm.group_norm_relu_forward, norm.group_norm_relu_backward, lambda x, gamma, beta: F.relu(F.group_norm(x, 4, gamma, beta)),
            [x, gamma, beta], rng, num_groups=4)


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (4096, 5), (9, 200), (1, 2, 1, 1), (2, 4, 7, 5), (2, 21, 40, 33)])
@pytest.mark.parametrize("ignored", [None, 255, -7])
def test_softmax_cross_entropy(shape, ignored):
    rng = np.random.default_rng(8)
    logits, = draw(rng, shape)
    labels = rng.integers(0, shape[1], shape[:1] + shape[2:])
    if ignored is not None:
        labels = np.where(rng.random(labels.shape) < 0.3, ignored, labels)
        labels.flat[0] = 0                                             # one valid at least: for none at all torch says nan
    compare(lambda z: classification.softmax_cross_entropy_forward(z, labels, ignored), classification.softmax_cross_entropy_backward,
            lambda z: F.cross_entropy(z, torch.tensor(labels), ignore_index=-100 if ignored is None else ignored), [4 * logits], rng)


@pytest.mark.parametrize("shape", [(1,), (6, 4), (2, 3, 40, 50)])
@pytest.mark.parametrize("weighted", [False, True])
def test_sigmoid_bce_and_smooth_l1(shape, weighted):
    rng = np.random.default_rng(9)
    a, b = draw(rng, shape, shape)
    weights = rng.uniform(0, 2, (shape[0],) + (1,) * (len(shape) - 1)) if weighted else None
    scale = torch.ones(()) if weights is None else torch.tensor(weights)
    targets = 1 / (1 + np.exp(-b))
    compare(lambda z: classification.sigmoid_bce_forward(z, targets, weights, 7.5), classification.sigmoid_bce_backward,
            lambda z: (scale * F.binary_cross_entropy_with_logits(z, torch.tensor(targets), reduction="none")).sum() / 7.5, [5 * a], rng)
    for beta in (0.0, 1 / 9, 1.0):
        compare(lambda p, beta=beta: regression.smooth_l1_forward(p, b, weights, beta), regression.smooth_l1_backward,
                lambda p, beta=beta: (scale * F.smooth_l1_loss(p, torch.tensor(b), reduction="none", beta=beta)).sum() / a.size, [a], rng)
