"""Max, average and global average pooling, and max unpooling: resampling without parameters (lecture L16-G09, U07 to U10).

Shapes here: N images, C channels, H W input size, k kernel size, s stride, p padding.
    x (N, C, H, W) -> out (N, C, Ho, Wo)   with   Ho = floor((H + 2p - k) / s) + 1, Wo likewise
Windows are k x k, `stride=None` means s = k, and p is at most k/2, so that every window covers at least one pixel of the image.
"""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.backend import get_array_module
from numpyvision.cache import Cache
from numpyvision.check import arguments as check


def max_pool2d_forward(x, kernel_size, stride=None, padding=0):
    """The largest value of each window. x (N, C, H, W) -> (N, C, Ho, Wo).

    Caches `indices` (N, C, Ho, Wo) int64: where in its plane each maximum was, as h*W + w, the first one if several are equal
    (L16-U07); and x_shape. Padding never wins: it counts as -inf. A window that holds a NaN gives NaN, and the index of a NaN: a
    maximum that dropped it would hide where a training went wrong.
    """
    k, s, p, Ho, Wo = _geometry(x, kernel_size, stride, padding)
    if backend.compiled(x):
        out, indices = kernels.pool.max_pool2d(np.ascontiguousarray(x), k, s, p)
    else:
        out, indices = _running_max(x, k, s, p, Ho, Wo)
    return out, Cache(indices=indices, x_shape=x.shape)


def _running_max(x, k, s, p, Ho, Wo):
    """For all windows at once: tap (i, j) of the window is a shifted, strided view of x, and the largest so far is kept."""
    xp, (N, C, H, W) = get_array_module(x), x.shape
    padded = xp.full((N, C, H + 2 * p, W + 2 * p), -np.inf, dtype=x.dtype)
    padded[:, :, p:p + H, p:p + W] = x
    top, left = xp.arange(Ho)[:, None] * s - p, xp.arange(Wo) * s - p                  # (Ho, 1), (Wo,): where the windows begin
    out = xp.full((N, C, Ho, Wo), -np.inf, dtype=x.dtype)
    first = xp.maximum(top, 0) * W + xp.maximum(left, 0)                               # (Ho, Wo): the first pixel inside the image
    indices = xp.zeros((N, C, Ho, Wo), dtype=np.int64) + first
    for i in range(k):
        for j in range(k):
            tap = padded[:, :, i:i + s * (Ho - 1) + 1:s, j:j + s * (Wo - 1) + 1:s]     # (N, C, Ho, Wo)
            better = (tap > out) | (tap != tap)                                        # the second is true of NaN alone
            out = xp.where(better, tap, out)
            indices = xp.where(better, (top + i) * W + (left + j), indices)
    return out, indices


def max_pool2d_backward(dout, cache):
    """dout (N, C, Ho, Wo) -> dx (N, C, H, W): each window's gradient goes to its maximum; overlapping windows add up there."""
    indices, (N, C, H, W), (Ho, Wo) = cache.indices, cache.x_shape, cache.indices.shape[2:]
    check.require(dout.shape == indices.shape, f"dout must have out's shape {indices.shape}, got {dout.shape}")
    if backend.compiled(dout):
        dx = np.empty(cache.x_shape, dout.dtype)      # by NumPy, which asks for large pages: numba's take twice as long to be written first
        wrong = kernels.pool.max_pool2d_backward(np.ascontiguousarray(dout), np.ascontiguousarray(indices, dtype=np.int64), dx)
        check_places(wrong, H, W)
        return dx
    xp = get_array_module(dout)
    planes = xp.arange(N * C)[:, None]                                                 # (N*C, 1): the plane that a gradient belongs to
    dx = xp.zeros((N * C, H * W), dtype=dout.dtype)
    backend.scatter_add(dx, (planes, indices.reshape(N * C, Ho * Wo)), dout.reshape(N * C, Ho * Wo))
    return dx.reshape(N, C, H, W)


def max_unpool2d_forward(x, indices, output_size=None, kernel_size=2):
    """Put each value back where its maximum was, zeros elsewhere. x (N, C, h, w) -> (N, C, H, W) (L16-U08; Zeiler 2011, SegNet).

    indices (N, C, h, w), from the cache of the max_pool2d that it is paired with (L16-U09): places r*W + q in the output plane.
    output_size: (H, W), the size of that pool's input; default kernel_size * (h, w), which is right unless pooling dropped a row.
    Windows that overlap may share a maximum. Where several values have one place, the last in reading order is kept, and the others
    get no gradient (torch hands them the kept one's, which is not the derivative). ValueError for an index outside the output.
    Caches indices and the sizes.
    """
    check.array("x", x, 4, "(N, C, h, w)")
    check.integer_array("indices", indices, 4, "(N, C, h, w)")
    k = check.int_pair("kernel_size", kernel_size, 1)
    H, W = (k[0] * x.shape[2], k[1] * x.shape[3]) if output_size is None else check.int_pair("output_size", output_size, 1)
    check.require(x.shape == indices.shape, f"x and indices must have one shape, got {x.shape} and {indices.shape}; "
                                            "are these the indices of another pooling layer? Each unpool takes those of its own pool")
    if backend.compiled(x):
        out, wrong = kernels.pool.max_unpool2d(np.ascontiguousarray(x), np.ascontiguousarray(indices, dtype=np.int64), H, W)
        check_places(wrong, H, W)
    else:
        xp, (planes, places) = get_array_module(x), flat_places(indices)
        check_places(int(((places < 0) | (places >= H * W)).sum()), H, W)
        out = xp.zeros((len(places), H * W), dtype=x.dtype)
        backend.scatter_add(out, (planes, places), xp.where(last_of_equals(places), x.reshape(places.shape), 0))
        out = out.reshape(*x.shape[:2], H, W)
    return out, Cache(indices=indices, out_shape=(*x.shape[:2], H, W))


def max_unpool2d_backward(dout, cache):
    """dout (N, C, H, W) -> dx (N, C, h, w): each value that was kept collects the gradient of its place."""
    indices, (N, C, H, W) = cache.indices, cache.out_shape
    check.require(dout.shape == cache.out_shape, f"dout must have out's shape {cache.out_shape}, got {dout.shape}")
    if backend.compiled(dout):
        dx, wrong = kernels.pool.max_unpool2d_backward(np.ascontiguousarray(dout), np.ascontiguousarray(indices, dtype=np.int64))
        check_places(wrong, H, W)
        return dx
    planes, places = flat_places(indices)
    dx = get_array_module(dout).where(last_of_equals(places), dout.reshape(N * C, H * W)[planes, places], 0)
    return dx.reshape(indices.shape)


def flat_places(indices):
    """(N, C, h, w) -> the plane numbers (N*C, 1) and the places within them (N*C, h*w), which together index an (N*C, H*W) array."""
    N, C, h, w = indices.shape
    return get_array_module(indices).arange(N * C)[:, None], indices.reshape(N * C, h * w)


def last_of_equals(places):
    """(planes, P) -> bool: whether no later entry of the same plane has the same place."""
    xp, P = get_array_module(places), places.shape[1]
    keys = xp.sort(places.astype(np.int64) * P + xp.arange(P), axis=1)                 # by place, then by position; no two are equal
    place, position = keys // max(P, 1), keys % max(P, 1)
    last = xp.ones(places.shape, dtype=bool)
    last[:, :-1] = place[:, 1:] != place[:, :-1]
    mask = xp.zeros_like(last)
    mask[xp.arange(len(places))[:, None], position] = last
    return mask


def check_places(wrong, H, W):
    """ValueError if any index lies outside its plane."""
    check.require(wrong == 0, f"indices must lie in 0..{H * W - 1} (h*W + w in a {H} x {W} plane), got {wrong} outside of it; "
                              "do these indices come from another layer, or is output_size not that of the pooled map?")


def avg_pool2d_forward(x, kernel_size, stride=None, padding=0):
    """The mean of each window, always over k*k places: padding counts as zeros. x (N, C, H, W) -> (N, C, Ho, Wo). Caches x_shape only."""
    k, s, p, Ho, Wo = _geometry(x, kernel_size, stride, padding)
    if backend.compiled(x):
        out = kernels.pool.avg_pool2d(np.ascontiguousarray(x), k, s, p)
    else:
        xp, (N, C, H, W) = get_array_module(x), x.shape
        padded = xp.zeros((N, C, H + 2 * p, W + 2 * p), dtype=x.dtype)
        padded[:, :, p:p + H, p:p + W] = x
        out = xp.zeros((N, C, Ho, Wo), dtype=x.dtype)
        for i in range(k):
            for j in range(k):
                out += padded[:, :, i:i + s * (Ho - 1) + 1:s, j:j + s * (Wo - 1) + 1:s]
        out /= k * k
    return out, Cache(x_shape=x.shape, kernel_size=k, stride=s, padding=p, out_shape=(*x.shape[:2], Ho, Wo))


def avg_pool2d_backward(dout, cache):
    """dout (N, C, Ho, Wo) -> dx (N, C, H, W): every place of a window gets 1/k^2 of its gradient; overlapping windows add up."""
    k, s, p, (N, C, H, W), (_, _, Ho, Wo) = cache.kernel_size, cache.stride, cache.padding, cache.x_shape, cache.out_shape
    check.require(dout.shape == cache.out_shape, f"dout must have out's shape {cache.out_shape}, got {dout.shape}")
    if backend.compiled(dout):
        return kernels.pool.avg_pool2d_backward(np.ascontiguousarray(dout), H, W, k, s, p)
    padded = get_array_module(dout).zeros((N, C, H + 2 * p, W + 2 * p), dtype=dout.dtype)
    for i in range(k):
        for j in range(k):
            padded[:, :, i:i + s * (Ho - 1) + 1:s, j:j + s * (Wo - 1) + 1:s] += dout
    return padded[:, :, p:p + H, p:p + W] / (k * k)                                    # what fell on the padding is dropped


def global_avg_pool_forward(x):
    """The mean of each plane: (N, C, H, W) -> (N, C), one number a channel whatever the image size. Caches x_shape only."""
    check.array("x", x, 4, "(N, C, H, W)")
    check.require(x.shape[2] * x.shape[3] > 0, f"x must have at least one pixel a plane to take the mean of, got {x.shape}")
    if backend.compiled(x):
        return kernels.pool.global_avg_pool(np.ascontiguousarray(x)), Cache(x_shape=x.shape)
    return x.mean(axis=(2, 3)), Cache(x_shape=x.shape)


def global_avg_pool_backward(dout, cache):
    """dout (N, C) -> dx (N, C, H, W): every pixel gets an equal share, 1/(H*W)."""
    N, C, H, W = cache.x_shape
    check.require(dout.shape == (N, C), f"dout must have out's shape {(N, C)}, got {dout.shape}")
    return get_array_module(dout).broadcast_to((dout / (H * W))[:, :, None, None], (N, C, H, W)).copy()


def _geometry(x, kernel_size, stride, padding):
    """k, s, p, Ho, Wo, or a ValueError that names the usual cause."""
    check.array("x", x, 4, "(N, C, H, W)")
    k = check.positive_int("kernel_size", kernel_size)
    s = k if stride is None else check.positive_int("stride", stride)
    p = check.positive_int("padding", padding) if padding != 0 else 0
    check.require(p <= k // 2, f"padding must be at most half of kernel_size {k}, got {p}: a window must not lie in padding alone")
    H, W = x.shape[2:]
    check.require(H + 2 * p >= k and W + 2 * p >= k,
                  f"x must be at least kernel_size {k} high and wide after padding {p}, got {H} x {W}; was it downsampled too often?")
    return k, s, p, (H + 2 * p - k) // s + 1, (W + 2 * p - k) // s + 1
