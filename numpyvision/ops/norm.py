"""Batch, frozen and group normalisation: subtract a mean, divide by a standard deviation, then let the network choose both anew.

    out = gamma * xhat + beta     with     xhat = (x - mean) / sqrt(var + eps)

Shapes here: x (N, C, H, W); gamma, beta (C,), one number a channel; G groups. M is how many numbers share one mean.
    batch_norm    mean and var of each channel over N, H, W: M = N*H*W; at test time the running averages instead
    affine_norm   mean and var are given and constant: batch norm frozen, for fine-tuning and for small batches
    group_norm    mean and var of each image's group of C/G channels: M = C/G*H*W; the batch plays no part
Where the statistics are measured on x, dx has three terms: the direct one, and one through the mean and one through the variance.
    dx = inv_std * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))     with     dxhat = gamma * dout
All three run the same two compiled loops, kernels/norm.py. batch_norm_relu and its like have them do the ReLU too, which follows most
norms: neither computes much, reading and writing the maps is what takes the time, and the map between the two need not be written.
"""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.cache import Cache
from numpyvision.check import arguments as check
from numpyvision.ops.activation import relu_backward, relu_forward


def batch_norm_forward(x, gamma, beta, running_mean, running_var, train=True, momentum=0.1, eps=1e-5):
    """Normalise every channel over the batch (train), or with the running statistics (not train). x (N, C, H, W) -> the same shape.

    gamma, beta, running_mean, running_var (C,). When training, running_mean and running_var are updated **in place** (the one mutation
    that the law allows): new = (1 - momentum) * old + momentum * measured; the variance is biased (divided by M) to normalise and
    unbiased (M - 1) for the running average. One number a channel has no variance: ValueError. An empty batch changes nothing.
    Caches x, gamma, mean, inv_std (Ioffe & Szegedy 2015, algorithm 1).
    """
    _check_norm(x, {"gamma": gamma, "beta": beta, "running_mean": running_mean, "running_var": running_var})
    xp, (N, C, H, W) = backend.get_array_module(x), x.shape
    measure, M = _measures(x, train), N * H * W
    if backend.compiled(x, gamma, beta, running_mean, running_var):
        return _compiled_batch_norm(x, gamma, beta, running_mean, running_var, measure, momentum, eps)
    mean, var = (x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))) if measure else (running_mean.copy(), running_var)
    inv_std = 1 / xp.sqrt(var + eps)
    out = _per_channel(gamma * inv_std) * (x - _per_channel(mean)) + _per_channel(beta)
    if measure:
        running_mean[...] = (1 - momentum) * running_mean + momentum * mean
        running_var[...] = (1 - momentum) * running_var + momentum * (M / (M - 1)) * var
    return out, Cache(x=x, gamma=gamma, mean=mean, inv_std=inv_std, measured=measure)


def batch_norm_backward(dout, cache):
    """dout (N, C, H, W) -> dx, dgamma (C,), dbeta (C,). In training the gradient also flows through the batch's mean and variance."""
    x, gamma, mean, inv_std = cache.x, cache.gamma, cache.mean, cache.inv_std
    _check_dout(dout, x)
    N, C, H, W = x.shape
    if backend.compiled(dout, x, gamma, mean, inv_std):
        return _normalize_backward(dout, cache)
    xhat = (x - _per_channel(mean)) * _per_channel(inv_std)
    dbeta = dout.sum(axis=(0, 2, 3))
    dgamma = (dout * xhat).sum(axis=(0, 2, 3))
    dx = dout
    if cache.measured:                                                 # every pixel moved the mean and the variance a little
        M = N * H * W
        dx = dx - _per_channel(dbeta / M) - xhat * _per_channel(dgamma / M)
    return dx * _per_channel(gamma * inv_std), dgamma, dbeta


def affine_norm_forward(x, gamma, beta, mean, var, eps=1e-5):
    """Frozen batch norm: mean and var (C,) are constants, so this is a scale and a shift a channel. x (N, C, H, W) -> the same shape.

    Caches x, gamma, mean, inv_std. It is batch_norm_forward(train=False), with a name of its own: "train" then means one thing.
    """
    return batch_norm_forward(x, gamma, beta, mean, var, train=False, eps=eps)


def affine_norm_backward(dout, cache):
    """dout (N, C, H, W) -> dx = gamma * inv_std * dout, dgamma (C,), dbeta (C,). mean and var were constants: nothing flows to them."""
    return batch_norm_backward(dout, cache)


def group_norm_forward(x, gamma, beta, num_groups, eps=1e-5):
    """Normalise each image's groups of C/G neighbouring channels by themselves: the same in training and at test time.

    x (N, C, H, W), gamma, beta (C,) -> the same shape. num_groups divides C; C groups is instance norm, 1 is layer norm. A group of
    one number normalises to 0. Caches x, gamma, mean and inv_std (N*G,) (Wu & He 2018).
    """
    G = _check_groups(x, gamma, beta, num_groups)
    xp, (N, C, H, W) = backend.get_array_module(x), x.shape
    if backend.compiled(x, gamma, beta):
        return _compiled_group_norm(x, gamma, beta, G, eps)
    groups = x.reshape(N * G, C // G * H * W)
    mean, inv_std = groups.mean(axis=1), 1 / xp.sqrt(groups.var(axis=1) + eps)
    xhat = (groups - mean[:, None]) * inv_std[:, None]
    out = _per_channel(gamma) * xhat.reshape(x.shape) + _per_channel(beta)
    return out, Cache(x=x, gamma=gamma, mean=mean, inv_std=inv_std, num_groups=G, measured=True)


def group_norm_backward(dout, cache):
    """dout (N, C, H, W) -> dx, dgamma (C,), dbeta (C,)."""
    x, gamma, mean, inv_std, G = cache.x, cache.gamma, cache.mean, cache.inv_std, cache.num_groups
    _check_dout(dout, x)
    N, C, H, W = x.shape
    if backend.compiled(dout, x, gamma, mean, inv_std):
        return _normalize_backward(dout, cache)
    M = C // G * H * W
    xhat = (x.reshape(N * G, M) - mean[:, None]) * inv_std[:, None]
    dbeta = dout.sum(axis=(0, 2, 3))
    dgamma = (dout * xhat.reshape(x.shape)).sum(axis=(0, 2, 3))
    dxhat = (dout * _per_channel(gamma)).reshape(N * G, M)             # gamma differs within a group: it goes in before the means
    through_mean = dxhat.mean(axis=1)[:, None]
    through_var = xhat * (dxhat * xhat).mean(axis=1)[:, None]
    dx = inv_std[:, None] * (dxhat - through_mean - through_var)
    return dx.reshape(x.shape), dgamma, dbeta


def batch_norm_relu_forward(x, gamma, beta, running_mean, running_var, train=True, momentum=0.1, eps=1e-5):
    """relu(batch_norm(x)), arguments and errors as batch_norm_forward's. Caches what the two cache."""
    if not backend.compiled(x, gamma, beta, running_mean, running_var):
        h, norm = batch_norm_forward(x, gamma, beta, running_mean, running_var, train, momentum, eps)
        out, relu = relu_forward(h)
        return out, Cache(norm=norm, relu=relu)
    _check_norm(x, {"gamma": gamma, "beta": beta, "running_mean": running_mean, "running_var": running_var})
    out, norm = _compiled_batch_norm(x, gamma, beta, running_mean, running_var, _measures(x, train), momentum, eps, 0)
    return out, Cache(norm=norm, relu=Cache(out=out))


def batch_norm_relu_backward(dout, cache):
    """dout (N, C, H, W) -> dx, dgamma (C,), dbeta (C,)."""
    return _norm_relu_backward(batch_norm_backward, dout, cache)


def affine_norm_relu_forward(x, gamma, beta, mean, var, eps=1e-5):
    """relu(affine_norm(x)), arguments and errors as affine_norm_forward's. Caches what the two cache."""
    return batch_norm_relu_forward(x, gamma, beta, mean, var, train=False, eps=eps)


def affine_norm_relu_backward(dout, cache):
    """dout (N, C, H, W) -> dx, dgamma (C,), dbeta (C,)."""
    return batch_norm_relu_backward(dout, cache)


def group_norm_relu_forward(x, gamma, beta, num_groups, eps=1e-5):
    """relu(group_norm(x)), arguments and errors as group_norm_forward's. Caches what the two cache."""
    if not backend.compiled(x, gamma, beta):
        h, norm = group_norm_forward(x, gamma, beta, num_groups, eps)
        out, relu = relu_forward(h)
        return out, Cache(norm=norm, relu=relu)
    G = _check_groups(x, gamma, beta, num_groups)
    out, norm = _compiled_group_norm(x, gamma, beta, G, eps, 0)
    return out, Cache(norm=norm, relu=Cache(out=out))


def group_norm_relu_backward(dout, cache):
    """dout (N, C, H, W) -> dx, dgamma (C,), dbeta (C,)."""
    return _norm_relu_backward(group_norm_backward, dout, cache)


def _compiled_batch_norm(x, gamma, beta, running_mean, running_var, measure, momentum, eps, least=np.nan):
    mean, var = running_mean.copy(), running_var.copy()                # overwritten if measure
    out, inv_std = _normalize(x, _planes(x), gamma, beta, mean, var, eps, measure, least)
    if measure:
        M = x.size // x.shape[1]
        for running, measured in ((running_mean, mean), (running_var, M / (M - 1) * var)):
            running[...] = (1 - momentum) * running + momentum * measured
    return out, Cache(x=x, gamma=gamma, mean=mean, inv_std=inv_std, measured=measure)


def _compiled_group_norm(x, gamma, beta, G, eps, least=np.nan):
    mean, var = np.empty(len(x) * G, x.dtype), np.empty(len(x) * G, x.dtype)
    out, inv_std = _normalize(x, _planes(x, G), gamma, beta, mean, var, eps, True, least)
    return out, Cache(x=x, gamma=gamma, mean=mean, inv_std=inv_std, num_groups=G, measured=True)


def _norm_relu_backward(norm_backward, dout, cache):
    norm, out = cache.norm, cache.relu.out
    if not backend.compiled(dout, norm.x, norm.gamma, norm.mean, norm.inv_std):
        return norm_backward(relu_backward(dout, cache.relu), norm)
    _check_dout(dout, out)
    return _normalize_backward(dout, norm, out, 0)


def _planes(x, G=None):
    """How the compiled loop sees x, (A, S, B, P): one statistic for each of an image's G groups or, without groups, for each channel."""
    N, C, H, W = x.shape
    return (N, C, 1, H * W) if G is None else (1, N * G, C // G, H * W)


def _normalize(x, planes, gamma, beta, mean, var, eps, measure, least):
    """Run the compiled loop on x seen as `planes` -> out, inv_std (S,); it fills mean and var if `measure`."""
    out, inv_std = np.empty(x.shape, x.dtype), np.empty_like(mean)
    x, gamma, beta, least = np.ascontiguousarray(x), np.ascontiguousarray(gamma), np.ascontiguousarray(beta), x.dtype.type(least)
    kernels.norm.normalize(x.reshape(planes), gamma, beta, float(eps), mean, var, inv_std, measure, least, out.reshape(planes))
    return out, inv_std


def _normalize_backward(dout, cache, out=None, least=np.nan):
    """The same on the way back; out: what a ReLU behind the norm gave, None without one."""
    dx, planes = np.empty(dout.shape, dout.dtype), _planes(cache.x, cache.get("num_groups"))
    dout = np.ascontiguousarray(dout)
    dout, x, out = (np.ascontiguousarray(a).reshape(planes) for a in (dout, cache.x, dout if out is None else out))     # dout: read anyway
    gamma, mean, inv_std = (np.ascontiguousarray(a) for a in (cache.gamma, cache.mean, cache.inv_std))
    least, dx_planes = x.dtype.type(least), dx.reshape(planes)
    dgamma, dbeta = kernels.norm.normalize_backward(dout, out, least, x, gamma, mean, inv_std, cache.measured, dx_planes)
    return dx, dgamma, dbeta


def _per_channel(v):
    """(C,) -> (C, 1, 1), which broadcasts over images and pixels."""
    return v[:, None, None]


def _check_norm(x, vectors):
    check.array("x", x, 4, "(N, C, H, W)")
    check.same_dtype({"x": x, **vectors})
    if 0 in x.shape[1:]:                                               # `if`, not require: messages with shapes in them are dear
        raise ValueError(f"x must have channels and pixels, got {x.shape}")
    for name, v in vectors.items():
        if v.shape != (x.shape[1],):
            raise ValueError(f"{name} must be (C,) = ({x.shape[1]},) for x {x.shape}, got {v.shape}")


def _check_groups(x, gamma, beta, num_groups):
    G = check.positive_int("num_groups", num_groups)
    _check_norm(x, {"gamma": gamma, "beta": beta})
    check.require(x.shape[1] % G == 0, f"num_groups must divide the {x.shape[1]} channels of x, got {G}")
    return G


def _measures(x, train):
    """Whether batch norm takes mean and variance from x; ValueError if there is nothing to take a variance of."""
    if train and x.size == x.shape[1]:
        raise ValueError(f"batch_norm needs more than one number a channel to train on, got x {x.shape}; "
                         "use group_norm or affine_norm for a single pixel")
    return bool(train) and len(x) > 0


def _check_dout(dout, x):
    if dout.shape != x.shape:
        raise ValueError(f"dout must have x's shape {x.shape}, got {dout.shape}")
