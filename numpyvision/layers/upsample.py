"""Upsampling as a layer, five ways under one name, so that a network can swap them (lecture L16-U01 to U10, G09).

    nearest, bilinear, bicubic   fixed weights, no parameters
    transposed                   a transposed convolution that starts as bilinear interpolation and learns from there
    max_unpool                   values go back to where the network's own pools found their maxima; convolutions fill the gaps

Shapes here: N images, C channels, s the factor: (N, C, H, W) -> (N, C, s*H, s*W).
"""
import numpy as np

from numpyvision.cache import NoCache, new_cache
from numpyvision.layers.base import Layer
from numpyvision.layers.conv import Conv2d
from numpyvision.ops import conv_transpose, pool, resize

INTERPOLATIONS = {"nearest": (resize.upsample_nearest_forward, resize.upsample_nearest_backward),
                  "bilinear": (resize.upsample_bilinear_forward, resize.upsample_bilinear_backward),
                  "bicubic": (resize.upsample_bicubic_forward, resize.upsample_bicubic_backward)}
UPSAMPLERS = (*INTERPOLATIONS, "transposed", "max_unpool")


def bilinear_kernel(kernel_size):
    """One axis of the kernel with which a transposed convolution of stride s interpolates linearly; kernel_size = 2s, or 2s - 1 for odd s.

    4 -> 0.25 0.75 0.75 0.25;   16 -> 0.0625 0.1875 ... 0.9375 0.9375 ... 0.0625 (FCN, section 3.3). The stamps of neighbours overlap and
    add up to 1 everywhere but at the border, where a neighbour is missing (erratum L16-E04).
    """
    s = (kernel_size + 1) // 2
    centre = (kernel_size - 1) / 2
    return 1 - np.abs(np.arange(kernel_size) - centre) / s


class ConvTranspose2d(Layer):
    """(N, in_channels, H, W) -> (N, out_channels, s*(H - 1) + d*(k - 1) + 1 - 2p + output_padding, ...): conv2d's matrix, transposed.

    w (in_channels, out_channels/groups, kh, kw). Every output pixel is the sum of about in_channels/groups * (k/s)^2 products, so that is
    the fan_in of He's rule. bilinear=True: w starts as interpolation, each channel by itself (in_channels must equal out_channels).
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, dilation=1, groups=1, bias=True,
                 bilinear=False, *, rng, dtype=np.float32):
        self.stride, self.padding, self.output_padding, self.dilation, self.groups = stride, padding, output_padding, dilation, groups
        k, shape = kernel_size, (in_channels, out_channels // groups, kernel_size, kernel_size)
        if bilinear:
            if in_channels != out_channels or groups != 1:
                raise ValueError("bilinear weights interpolate each channel by itself: in_channels must equal out_channels and groups be "
                                 f"1, got {in_channels}, {out_channels} and {groups}")
            w = np.eye(in_channels)[:, :, None, None] * np.outer(bilinear_kernel(k), bilinear_kernel(k))
        else:
            w = rng.standard_normal(shape) * np.sqrt(2 / max(in_channels // groups * (k / stride) ** 2, 1))
        self.params = {"w": w.astype(dtype)}
        if bias:
            self.params["b"] = np.zeros(out_channels, dtype)

    def forward(self, x, train=True):
        out, cache = conv_transpose.conv_transpose2d_forward(x, self.params["w"], self.params.get("b"), self.stride, self.padding,
                                                             self.output_padding, self.dilation, self.groups)
        return out, cache if train else NoCache()

    def backward(self, dout, cache):
        dx, dw, db = conv_transpose.conv_transpose2d_backward(dout, cache)
        return dx, {"w": dw} if db is None else {"w": dw, "b": db}


class Upsample(Layer):
    """x scale_factor larger, by one of UPSAMPLERS.

    channels: of the maps ("transposed" and "max_unpool" have weights for them). pooled_channels: for "max_unpool", the channels of the
    pools to be undone, coarsest first, one for every factor of 2. forward then wants the pools' indices in that order:

        1x1 conv to the pool's channels -> unpool -> 3x3 conv to the next pool's channels -> unpool -> ... -> 3x3 conv to `channels`
    """

    def __init__(self, kind, scale_factor=2, channels=None, pooled_channels=(), *, rng=None, dtype=np.float32):
        if kind not in UPSAMPLERS:
            raise ValueError(f"upsampler must be one of {', '.join(UPSAMPLERS)}, got {kind!r}")
        self.kind, self.scale_factor, self.layers, s = kind, scale_factor, [], scale_factor
        if kind == "transposed":                                        # k = 2s (2s - 1 if s is odd) and this padding: exactly s*H rows
            self.layers = [ConvTranspose2d(channels, channels, 2 * s - s % 2, s, s // 2, bias=False, bilinear=True, rng=rng, dtype=dtype)]
        if kind == "max_unpool":
            if 2 ** len(pooled_channels) != s:
                raise ValueError(f"max_unpool by {s} undoes one pool for every factor of 2, got {len(pooled_channels)} in pooled_channels")
            widths = (*pooled_channels, channels)
            self.layers = [Conv2d(channels, widths[0], 1, std=np.sqrt(1 / channels), rng=rng, dtype=dtype)]
            # of a 3x3 window over nails of spacing 2, a quarter is not zero: fan_in 9/4 * C, and no ReLU before it
            self.layers += [Conv2d(a, b, 3, padding=1, std=np.sqrt(4 / (9 * a)), rng=rng, dtype=dtype)
                            for a, b in zip(widths[:-1], widths[1:], strict=True)]

    def forward(self, x, indices=(), train=True):
        cache = new_cache(train)
        if self.kind in INTERPOLATIONS:
            out, cache["resize"] = INTERPOLATIONS[self.kind][0](x, self.scale_factor)
            return out, cache
        if self.kind == "max_unpool" and len(indices) != len(self.layers) - 1:
            raise ValueError(f"max_unpool by {self.scale_factor} needs the indices of {len(self.layers) - 1} pools, got {len(indices)}")
        h, cache[0] = self.layers[0].forward(x, train)
        for i, layer in enumerate(self.layers[1:], start=1):
            h, cache["unpool", i] = pool.max_unpool2d_forward(h, indices[i - 1])
            h, cache[i] = layer.forward(h, train)
        return h, cache

    def backward(self, dout, cache):
        """-> dx, grads. The indices are constants."""
        if self.kind in INTERPOLATIONS:
            return INTERPOLATIONS[self.kind][1](dout, cache.resize), {}
        grads, dh = [None] * len(self.layers), dout
        for i in reversed(range(1, len(self.layers))):
            dh, grads[i] = self.layers[i].backward(dh, cache[i])
            dh = pool.max_unpool2d_backward(dh, cache["unpool", i])
        dx, grads[0] = self.layers[0].backward(dh, cache[0])
        return dx, {"layers": grads}
