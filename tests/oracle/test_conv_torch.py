"""conv2d and its three gradients equal torch's in float64."""
import itertools

import numpy as np
import pytest

import numpyvision
from numpyvision.ops import conv

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")

SIZES = [(1, 1), (5, 4), (9, 14), (33, 20)]


@pytest.mark.parametrize("mode", ["numpy", "compiled"])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5), (7, 7)])
def test_conv2d(mode, kernel):
    rng, compared = np.random.default_rng(sum(kernel)), 0
    for size, stride, padding, dilation, groups in itertools.product(SIZES, (1, 2, 3), (0, 1, 3), (1, 2), (1, 2)):
        if min(n + 2 * padding - dilation * (k - 1) for n, k in zip(size, kernel, strict=True)) < 1:
            continue                                                                      # the kernel does not fit: torch refuses too
        x, w, b = rng.standard_normal((2, 4, *size)), rng.standard_normal((6, 4 // groups, *kernel)), rng.standard_normal(6)
        with numpyvision.use(mode):
            out, cache = conv.conv2d_forward(x, w, b, stride, padding, dilation, groups)
            dout = rng.standard_normal(out.shape)
            ours = out, *conv.conv2d_backward(dout, cache)
        tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
        expected = torch.nn.functional.conv2d(*tensors, stride, padding, dilation, groups)
        theirs = expected, *torch.autograd.grad(expected, tensors, torch.tensor(dout))
        for a, t in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, t.detach().numpy(), rtol=0, atol=1e-10)
        compared += 1
    assert compared > 30
