"""Max pooling that says where its maxima were, and the unpooling that puts values back there (lecture L16-U07 to U10).

Shapes here: N images, C channels: x (N, C, H, W) -> out and indices (N, C, Ho, Wo), and back. The indices are a *selection*: constants,
through which no gradient flows. They are an output of their own and not only part of the cache, because the unpool at the other end of the
network needs them in prediction too, when nothing is cached.
"""
from numpyvision.cache import NoCache
from numpyvision.layers.base import Layer
from numpyvision.ops import pool


class MaxPool2d(Layer):
    """The largest value of each window. `forward_with_indices` also gives where it was, as h*W + w; cache.indices has them as well."""

    def __init__(self, kernel_size, stride=None, padding=0):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x, train=True):
        out, _, cache = self.forward_with_indices(x, train)
        return out, cache

    def forward_with_indices(self, x, train=True):
        """-> out, indices, cache."""
        out, cache = pool.max_pool2d_forward(x, self.kernel_size, self.stride, self.padding)
        return out, cache.indices, cache if train else NoCache()

    def backward(self, dout, cache):
        return pool.max_pool2d_backward(dout, cache), {}


class MaxUnpool2d(Layer):
    """Each value to the place where its pool found its maximum, zeros elsewhere. The indices are those of the pool it is paired with."""

    def __init__(self, kernel_size=2):
        self.kernel_size = kernel_size

    def forward(self, x, indices, output_size=None, train=True):
        """output_size: (H, W) of that pool's input; needed where the pool dropped a last odd row or column."""
        out, cache = pool.max_unpool2d_forward(x, indices, output_size, self.kernel_size)
        return out, cache if train else NoCache()

    def backward(self, dout, cache):
        return pool.max_unpool2d_backward(dout, cache), {}
