"""Two other right answers to each exercise on operations: SOLUTIONS = {exercise: (plain loops, another way)}.

A checker that accepts only the reference's way of writing is no checker. This file: layers with weights, and normalisation; pooling,
crops and resizing are in `solutions_resample.py`.
"""
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from numpyvision.cache import Cache


def pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def add_at(shape, index, values, dtype):
    total = np.zeros(shape, dtype)
    np.add.at(total, index, values)
    return total


# ---- relu, linear

def relu_forward_loops(x):
    out = x.copy()
    for index in np.ndindex(x.shape):
        if x[index] < 0:
            out[index] = 0
    return out, Cache(out=out)


def relu_forward_clip(x):
    out = np.clip(x, 0, None)
    return out, Cache(out=out)


def relu_backward_loops(dout, cache):
    dx = np.zeros_like(dout)
    for index in np.ndindex(dout.shape):
        if cache.out[index] > 0:
            dx[index] = dout[index]
    return dx


def relu_backward_product(dout, cache):
    return dout * (cache.out > 0)


def linear_forward_loops(x, w, b=None):
    rows = x.reshape(len(x), len(w))
    out = np.zeros((len(x), w.shape[1]), x.dtype)
    for n, f in np.ndindex(out.shape):
        total = 0 if b is None else b[f]
        for d in range(w.shape[0]):
            total += rows[n, d] * w[d, f]
        out[n, f] = total
    return out, Cache(x=x, w=w, has_b=b is not None)


def linear_forward_einsum(x, w, b=None):
    out = np.einsum("nd,df->nf", x.reshape(len(x), len(w)), w)
    return (out if b is None else out + b), Cache(x=x, w=w, has_b=b is not None)


def linear_backward_loops(dout, cache):
    x, w = cache.x.reshape(len(cache.x), len(cache.w)), cache.w
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[1], w.dtype)
    for n, f in np.ndindex(dout.shape):
        db[f] += dout[n, f]
        for d in range(len(w)):
            dx[n, d] += dout[n, f] * w[d, f]
            dw[d, f] += dout[n, f] * x[n, d]
    return dx.reshape(cache.x.shape), dw, db if cache.has_b else None


def linear_backward_einsum(dout, cache):
    x, w = cache.x, cache.w
    dx = np.einsum("nf,df->nd", dout, w).reshape(x.shape)
    dw = np.einsum("nd,nf->df", x.reshape(len(x), len(w)), dout)
    return dx, dw, np.einsum("nf->f", dout) if cache.has_b else None


# ---- convolution

def sizes(H, W, kh, kw, stride, padding, dilation):
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip((H, W), (kh, kw), stride, padding, dilation, strict=True)]


def taps(x_shape, kernel_size, stride, padding, dilation):
    """Every (r, q, i, j, y, x): output place, tap, and the pixel inside the image that it reads."""
    (H, W), (kh, kw) = x_shape[2:], kernel_size
    Ho, Wo = sizes(H, W, kh, kw, stride, padding, dilation)
    for r, q, i, j in np.ndindex(Ho, Wo, kh, kw):
        y, x = r * stride[0] + i * dilation[0] - padding[0], q * stride[1] + j * dilation[1] - padding[1]
        if 0 <= y < H and 0 <= x < W:
            yield r, q, i, j, y, x


def windows(x, kernel_size, stride, padding, dilation):
    """(N, C, Ho, Wo, kh, kw), a view: what each output sees."""
    (py, px), (sy, sx), (dy, dx), (kh, kw) = padding, stride, dilation, kernel_size
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    views = sliding_window_view(padded, (dy * (kh - 1) + 1, dx * (kw - 1) + 1), axis=(2, 3))
    return views[:, :, ::sy, ::sx, ::dy, ::dx]


def im2col_loops(x, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    (N, C, H, W), (kh, kw) = x.shape, kernel_size
    Ho, Wo = sizes(H, W, kh, kw, stride, padding, dilation)
    cols = np.zeros((N, C, kh, kw, Ho, Wo), x.dtype)
    for r, q, i, j, y, z in taps(x.shape, kernel_size, stride, padding, dilation):
        for n, c in np.ndindex(N, C):
            cols[n, c, i, j, r, q] = x[n, c, y, z]
    return cols.reshape(N, groups, C // groups * kh * kw, Ho * Wo)


def im2col_strides(x, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    view = windows(x, kernel_size, stride, padding, dilation)
    N, C, Ho, Wo, kh, kw = view.shape
    return view.transpose(0, 1, 4, 5, 2, 3).reshape(N, groups, C // groups * kh * kw, Ho * Wo).copy()


def col2im_loops(cols, x_shape, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    (N, C, H, W), (kh, kw) = x_shape, kernel_size
    cols = cols.reshape(N, C, kh, kw, *sizes(H, W, kh, kw, stride, padding, dilation))
    x = np.zeros(x_shape, cols.dtype)
    for r, q, i, j, y, z in taps(x_shape, kernel_size, stride, padding, dilation):
        for n, c in np.ndindex(N, C):
            x[n, c, y, z] += cols[n, c, i, j, r, q]
    return x


def col2im_add_at(cols, x_shape, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    (N, C, H, W), (kh, kw), (py, px) = x_shape, kernel_size, padding
    Ho, Wo = sizes(H, W, kh, kw, stride, padding, dilation)
    rows = np.arange(Ho) * stride[0] + np.arange(kh)[:, None] * dilation[0]                        # (kh, Ho)
    columns = np.arange(Wo) * stride[1] + np.arange(kw)[:, None] * dilation[1]
    index = (slice(None), slice(None), rows[:, None, :, None], columns[None, :, None, :])
    padded = add_at((N, C, H + 2 * py, W + 2 * px), index, cols.reshape(N, C, kh, kw, Ho, Wo), cols.dtype)
    return padded[:, :, py:py + H, px:px + W].copy()


def conv2d_forward_loops(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    (N, C, H, W), (F, Cg, kh, kw) = x.shape, w.shape
    out = np.zeros((N, F, *sizes(H, W, kh, kw, stride, padding, dilation)), x.dtype)
    for r, q, i, j, y, z in taps(x.shape, (kh, kw), stride, padding, dilation):
        for n, f in np.ndindex(N, F):
            first = f // (F // groups) * Cg
            for c in range(Cg):
                out[n, f, r, q] += w[f, c, i, j] * x[n, first + c, y, z]
    if b is not None:
        out += b.reshape(1, F, 1, 1)
    return out, Cache(x=x, w=w, has_b=b is not None, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv2d_forward_einsum(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    view = windows(x, w.shape[2:], stride, padding, dilation)
    view = view.reshape(len(x), groups, w.shape[1], *view.shape[2:])
    out = np.einsum("ngcrqij,gfcij->ngfrq", view, w.reshape(groups, -1, *w.shape[1:]))
    out = out.reshape(len(x), len(w), *out.shape[3:])
    if b is not None:
        out = out + b.reshape(1, -1, 1, 1)
    return out, Cache(x=x, w=w, has_b=b is not None, stride=stride, padding=padding, dilation=dilation, groups=groups)


def settings(cache):
    return cache.stride, cache.padding, cache.dilation


def conv2d_db_loops(dout, cache):
    if not cache.has_b:
        return None
    db = np.zeros(dout.shape[1], dout.dtype)
    for n, f, r, q in np.ndindex(dout.shape):
        db[f] += dout[n, f, r, q]
    return db


def conv2d_db_einsum(dout, cache):
    return np.einsum("nfrq->f", dout) if cache.has_b else None


def conv2d_dw_loops(dout, cache):
    x, dw = cache.x, np.zeros_like(cache.w)
    F, Cg, kh, kw = dw.shape
    for r, q, i, j, y, z in taps(x.shape, (kh, kw), *settings(cache)):
        for n, f in np.ndindex(len(x), F):
            first = f // (F // cache.groups) * Cg
            for c in range(Cg):
                dw[f, c, i, j] += dout[n, f, r, q] * x[n, first + c, y, z]
    return dw


def conv2d_dw_einsum(dout, cache):
    x, w, groups = cache.x, cache.w, cache.groups
    view = windows(x, w.shape[2:], *settings(cache))
    view = view.reshape(len(x), groups, w.shape[1], *view.shape[2:])
    dout = dout.reshape(len(x), groups, len(w) // groups, *dout.shape[2:])
    return np.einsum("ngfrq,ngcrqij->gfcij", dout, view).reshape(w.shape)


def conv2d_dx_loops(dout, cache):
    w, dx = cache.w, np.zeros_like(cache.x)
    F, Cg, kh, kw = w.shape
    for r, q, i, j, y, z in taps(dx.shape, (kh, kw), *settings(cache)):
        for n, f in np.ndindex(len(dx), F):
            first = f // (F // cache.groups) * Cg
            for c in range(Cg):
                dx[n, first + c, y, z] += dout[n, f, r, q] * w[f, c, i, j]
    return dx


def conv2d_dx_nails(dout, cache):
    """dout on a bed of nails, then every tap of the flipped filter at stride 1."""
    (N, C, H, W), w, groups = cache.x.shape, cache.w, cache.groups
    (sy, sx), (py, px), (dy, dx) = settings(cache)
    kh, kw = w.shape[2:]
    ey, ex = dy * (kh - 1), dx * (kw - 1)
    nails = np.zeros((*dout.shape[:2], H + 2 * py + ey, W + 2 * px + ex), dout.dtype)
    nails[:, :, ey:ey + sy * (dout.shape[2] - 1) + 1:sy, ex:ex + sx * (dout.shape[3] - 1) + 1:sx] = dout
    nails = nails.reshape(N, groups, len(w) // groups, *nails.shape[2:])
    grouped = w.reshape(groups, -1, *w.shape[1:])
    padded = np.zeros((N, groups, C // groups, H + 2 * py, W + 2 * px), dout.dtype)
    for i, j in np.ndindex(kh, kw):
        part = nails[:, :, :, ey - dy * i:ey - dy * i + H + 2 * py, ex - dx * j:ex - dx * j + W + 2 * px]
        padded += np.einsum("ngfyx,gfc->ngcyx", part, grouped[:, :, :, i, j])
    return padded.reshape(N, C, H + 2 * py, W + 2 * px)[:, :, py:py + H, px:px + W].copy()


def row_cache(x, w, b, stride, padding, dilation, groups, **more):
    return Cache(x=x[:, :, None], w=w[:, :, None], has_b=b is not None, stride=(1, stride), padding=(0, padding), dilation=(1, dilation),
                 groups=groups, **more)


def conv1d_forward_loops(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    (N, C, L), (F, Cg, k) = x.shape, w.shape
    out = np.zeros((N, F, (L + 2 * padding - dilation * (k - 1) - 1) // stride + 1), x.dtype)
    for n, f, q in np.ndindex(out.shape):
        for c, j in np.ndindex(Cg, k):
            at = stride * q + dilation * j - padding
            if 0 <= at < L:
                out[n, f, q] += w[f, c, j] * x[n, f // (F // groups) * Cg + c, at]
        out[n, f, q] += 0 if b is None else b[f]
    return out, Cache(conv2d=row_cache(x, w, b, stride, padding, dilation, groups))


def conv1d_forward_einsum(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding)))
    view = sliding_window_view(padded, dilation * (w.shape[2] - 1) + 1, axis=2)[:, :, ::stride, ::dilation]
    view = view.reshape(len(x), groups, w.shape[1], *view.shape[2:])
    out = np.einsum("ngcqj,gfcj->ngfq", view, w.reshape(groups, -1, *w.shape[1:]))
    out = out.reshape(len(x), len(w), -1 if out.size else out.shape[3])
    return out + (0 if b is None else b[:, None]), Cache(conv2d=row_cache(x, w, b, stride, padding, dilation, groups))


# ---- transposed convolution

def conv_transpose2d_forward_loops(x, w, b=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    stride, padding, output_padding, dilation = pair(stride), pair(padding), pair(output_padding), pair(dilation)
    (N, C, H, W), (_, Fg, kh, kw) = x.shape, w.shape
    Ho, Wo = ((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, s, p, d, k, e in
              zip((H, W), stride, padding, dilation, (kh, kw), output_padding, strict=True))
    out = np.zeros((N, Fg * groups, Ho, Wo), x.dtype)
    if b is not None:
        out += b.reshape(1, -1, 1, 1)
    for n, c, r, q in np.ndindex(x.shape):
        first = c // (C // groups) * Fg
        for f, i, j in np.ndindex(Fg, kh, kw):
            y, z = stride[0] * r + dilation[0] * i - padding[0], stride[1] * q + dilation[1] * j - padding[1]
            if 0 <= y < Ho and 0 <= z < Wo:
                out[n, first + f, y, z] += x[n, c, r, q] * w[c, f, i, j]
    return out, Cache(x=x, w=w, has_b=b is not None, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation,
                      groups=groups)


def conv_transpose2d_forward_adjoint(x, w, b=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """The gradient of a convolution to its image: the other exercise's answer."""
    stride, padding, output_padding, dilation = pair(stride), pair(padding), pair(output_padding), pair(dilation)
    sides = zip(x.shape[2:], stride, padding, dilation, w.shape[2:], output_padding, strict=True)
    Ho, Wo = ((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, s, p, d, k, e in sides)
    image = np.zeros((len(x), w.shape[1] * groups, Ho, Wo), x.dtype)
    wider = [sizes(Ho, Wo, *w.shape[2:], stride, padding, dilation)[a] - x.shape[2 + a] for a in (0, 1)]       # output_padding >= stride
    dout = np.pad(x, ((0, 0), (0, 0), (0, wider[0]), (0, wider[1])))
    out = conv2d_dx_loops(dout, Cache(x=image, w=w, stride=stride, padding=padding, dilation=dilation, groups=groups))
    return out + (0 if b is None else b[:, None, None]), Cache(x=x, w=w, has_b=b is not None, stride=stride, padding=padding,
                                                              output_padding=output_padding, dilation=dilation, groups=groups)


def conv_transpose2d_backward_loops(dout, cache):
    x, w, (stride, padding, dilation) = cache.x, cache.w, settings(cache)
    (_, C, _, _), (_, Fg, kh, kw), (Ho, Wo) = x.shape, w.shape, dout.shape[2:]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for n, c, r, q in np.ndindex(x.shape):
        first = c // (C // cache.groups) * Fg
        for f, i, j in np.ndindex(Fg, kh, kw):
            y, z = stride[0] * r + dilation[0] * i - padding[0], stride[1] * q + dilation[1] * j - padding[1]
            if 0 <= y < Ho and 0 <= z < Wo:
                dx[n, c, r, q] += w[c, f, i, j] * dout[n, first + f, y, z]
                dw[c, f, i, j] += x[n, c, r, q] * dout[n, first + f, y, z]
    return dx, dw, dout.sum((0, 2, 3)) if cache.has_b else None


def conv_transpose2d_backward_einsum(dout, cache):
    x, w, groups = cache.x, cache.w, cache.groups
    view = windows(dout, w.shape[2:], *settings(cache))[:, :, :x.shape[2], :x.shape[3]]
    view = view.reshape(len(x), groups, w.shape[1], *view.shape[2:])
    dx = np.einsum("ngfrqij,gcfij->ngcrq", view, w.reshape(groups, -1, *w.shape[1:])).reshape(x.shape)
    dw = np.einsum("ngfrqij,ngcrq->gcfij", view, x.reshape(len(x), groups, len(w) // groups, *x.shape[2:])).reshape(w.shape)
    return dx, dw, np.einsum("nfyx->f", dout) if cache.has_b else None


def conv_transpose1d_forward_loops(x, w, b=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    (N, C, L), (_, Fg, k) = x.shape, w.shape
    out = np.zeros((N, Fg * groups, (L - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1), x.dtype)
    for n, c, q in np.ndindex(x.shape):
        for f, j in np.ndindex(Fg, k):
            at = stride * q + dilation * j - padding
            if 0 <= at < out.shape[2]:
                out[n, c // (C // groups) * Fg + f, at] += x[n, c, q] * w[c, f, j]
    out += 0 if b is None else b[:, None]
    return out, Cache(conv_transpose2d=row_cache(x, w, b, stride, padding, dilation, groups, output_padding=(0, output_padding)))


def conv_transpose1d_forward_matrix(x, w, b=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """A matrix (L, k, Lo) with a 1 where place q and tap j meet output at, then one einsum."""
    (N, C, L), (_, Fg, k) = x.shape, w.shape
    Lo = (L - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1
    meet = stride * np.arange(L)[:, None, None] + dilation * np.arange(k)[:, None] - padding == np.arange(Lo)
    grouped, filters = x.reshape(N, groups, C // groups, L), w.reshape(groups, C // groups, Fg, k)
    out = np.einsum("ngcq,gcfj,qjo->ngfo", grouped, filters, meet.astype(x.dtype)).reshape(N, groups * Fg, Lo)
    return out + (0 if b is None else b[:, None]), Cache(conv_transpose2d=row_cache(x, w, b, stride, padding, dilation, groups,
                                                                                    output_padding=(0, output_padding)))


def sequence_matrix_settings(w, input_shape, stride, padding, dilation):
    """The four forms of conv_matrix as w (F, C/G, kh, kw), (C, H, W) and pairs."""
    shape = (input_shape,) if np.ndim(input_shape) == 0 else tuple(input_shape)
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    if w.ndim in (1, 2):
        w, shape = w[None, None], (1, *shape)
    if w.ndim == 3:
        w, shape, stride, padding, dilation = w[:, :, None], (shape[0], 1, shape[1]), (1, stride[1]), (0, padding[1]), (1, dilation[1])
    return w, shape, stride, padding, dilation


def conv_matrix_loops(w, input_shape, stride=1, padding=0, dilation=1, groups=1):
    w, (C, H, W), stride, padding, dilation = sequence_matrix_settings(w, input_shape, stride, padding, dilation)
    F, Cg, kh, kw = w.shape
    Ho, Wo = sizes(H, W, kh, kw, stride, padding, dilation)
    X = np.zeros((F * Ho * Wo, C * H * W), w.dtype)
    for r, q, i, j, y, z in taps((1, C, H, W), (kh, kw), stride, padding, dilation):
        for f, c in np.ndindex(F, Cg):
            X[(f * Ho + r) * Wo + q, ((f // (F // groups) * Cg + c) * H + y) * W + z] = w[f, c, i, j]
    return X


def conv_matrix_impulses(w, input_shape, stride=1, padding=0, dilation=1, groups=1):
    """Column k is the convolution of an image that is 1 at pixel k and 0 elsewhere. Sparse, as the reference's."""
    from scipy import sparse
    w, shape, stride, padding, dilation = sequence_matrix_settings(w, input_shape, stride, padding, dilation)
    impulses = np.eye(int(np.prod(shape)), dtype=w.dtype).reshape(-1, *shape)
    out, _ = conv2d_forward_loops(impulses, w, None, stride, padding, dilation, groups)
    dense = out.reshape(len(impulses), -1).T
    return dense if w.dtype == object else sparse.csr_matrix(dense)


# ---- normalisation

def batch_norm_forward_loops(x, gamma, beta, running_mean, running_var, train=True, momentum=0.1, eps=1e-5):
    N, C, H, W = x.shape
    measured, M = bool(train) and N > 0, N * H * W
    out, mean, inv_std = np.empty_like(x), running_mean.copy(), np.empty_like(running_var)
    for c in range(C):
        var = running_var[c]
        if measured:
            mean[c] = sum(x[n, c, y, z] for n, y, z in np.ndindex(N, H, W)) / M
            var = sum((x[n, c, y, z] - mean[c]) ** 2 for n, y, z in np.ndindex(N, H, W)) / M
            running_mean[c] += momentum * (mean[c] - running_mean[c])
            running_var[c] += momentum * (var * M / (M - 1) - running_var[c])
        inv_std[c] = 1 / np.sqrt(var + eps)
        out[:, c] = gamma[c] * (x[:, c] - mean[c]) * inv_std[c] + beta[c]
    return out, Cache(x=x, gamma=gamma, mean=mean, inv_std=inv_std, measured=measured)


def batch_norm_forward_moments(x, gamma, beta, running_mean, running_var, train=True, momentum=0.1, eps=1e-5):
    M, measured = x.size // x.shape[1], bool(train) and len(x) > 0
    mean, var = running_mean.copy(), running_var.copy()
    if measured:
        mean = np.einsum("nchw->c", x) / M
        centred = x - mean[None, :, None, None]
        var = np.einsum("nchw,nchw->c", centred, centred) / M
        running_mean *= 1 - momentum
        running_mean += momentum * mean
        running_var *= 1 - momentum
        running_var += momentum * var * M / (M - 1)
    inv_std = (var + eps) ** -0.5
    scale = gamma * inv_std
    out = np.einsum("nchw,c->nchw", x, scale) + (beta - mean * scale)[:, None, None]
    return out, Cache(x=x, gamma=gamma, mean=mean, inv_std=inv_std, measured=measured)


def batch_norm_backward_loops(dout, cache):
    x, dx = cache.x, np.empty_like(dout)
    C, M = x.shape[1], x.size // x.shape[1]
    dgamma, dbeta = np.zeros_like(cache.gamma), np.zeros_like(cache.gamma)
    for c in range(C):
        centred, inv_std = x[:, c] - cache.mean[c], cache.inv_std[c]
        dgamma[c], dbeta[c] = (dout[:, c] * centred).sum() * inv_std, dout[:, c].sum()
        dxhat = dout[:, c] * cache.gamma[c]
        dx[:, c] = dxhat * inv_std
        if cache.measured:                                             # the long way round, as in the paper's appendix
            dvar = (dxhat * centred).sum() * -0.5 * inv_std ** 3
            dmean = -dxhat.sum() * inv_std - 2 * dvar * centred.sum() / M
            dx[:, c] += dvar * 2 * centred / M + dmean / M
    return dx, dgamma, dbeta


def batch_norm_backward_projection(dout, cache):
    """Each channel as a row: dx is dxhat less its parts along the ones and along xhat."""
    N, C, H, W = cache.x.shape
    rows, drows = (a.transpose(1, 0, 2, 3).reshape(C, N * H * W) for a in (cache.x, dout))
    xhat = (rows - cache.mean[:, None]) * cache.inv_std[:, None]
    dgamma, dbeta = np.einsum("cm,cm->c", drows, xhat), np.einsum("cm->c", drows)
    if cache.measured:
        drows = drows - np.einsum("c,m->cm", dbeta, np.ones(N * H * W, dout.dtype)) / (N * H * W) - dgamma[:, None] * xhat / (N * H * W)
    dx = drows * (cache.gamma * cache.inv_std)[:, None]
    return dx.reshape(C, N, H, W).transpose(1, 0, 2, 3).copy(), dgamma, dbeta


def group_norm_forward_loops(x, gamma, beta, num_groups, eps=1e-5):
    (N, C, _, _), Cg = x.shape, x.shape[1] // num_groups
    out, mean, inv_std = np.empty_like(x), np.zeros(N * num_groups, x.dtype), np.zeros(N * num_groups, x.dtype)
    for n, g in np.ndindex(N, num_groups):
        group, k = x[n, g * Cg:(g + 1) * Cg], n * num_groups + g
        mean[k] = sum(group.ravel()) / group.size
        inv_std[k] = 1 / np.sqrt(sum((v - mean[k]) ** 2 for v in group.ravel()) / group.size + eps)
        for c in range(g * Cg, (g + 1) * Cg):
            out[n, c] = gamma[c] * (x[n, c] - mean[k]) * inv_std[k] + beta[c]
    return out, Cache(x=x, gamma=gamma, mean=mean, inv_std=inv_std, num_groups=num_groups, measured=True)


def group_norm_forward_einsum(x, gamma, beta, num_groups, eps=1e-5):
    N, C, H, W = x.shape
    groups = x.reshape(N, num_groups, C // num_groups, H, W)
    M = C // num_groups * H * W
    mean = np.einsum("ngchw->ng", groups) / M
    centred = groups - mean[:, :, None, None, None]
    inv_std = (np.einsum("ngchw,ngchw->ng", centred, centred) / M + eps) ** -0.5
    xhat = np.einsum("ngchw,ng->ngchw", centred, inv_std).reshape(x.shape)
    out = np.einsum("nchw,c->nchw", xhat, gamma) + beta[None, :, None, None]
    return out, Cache(x=x, gamma=gamma, mean=mean.ravel(), inv_std=inv_std.ravel(), num_groups=num_groups, measured=True)


def group_norm_backward_loops(dout, cache):
    x, G = cache.x, cache.num_groups
    Cg, dx = x.shape[1] // G, np.empty_like(dout)
    dgamma, dbeta = np.zeros_like(cache.gamma), np.zeros_like(cache.gamma)
    for n, g in np.ndindex(len(x), G):
        here, k = (n, slice(g * Cg, (g + 1) * Cg)), n * G + g
        centred, inv_std = x[here] - cache.mean[k], cache.inv_std[k]
        dgamma[here[1]] += (dout[here] * centred * inv_std).sum((1, 2))
        dbeta[here[1]] += dout[here].sum((1, 2))
        dxhat = dout[here] * cache.gamma[here[1], None, None]
        dvar = -0.5 * (dxhat * centred).sum() * inv_std ** 3
        dx[here] = dxhat * inv_std + 2 * dvar * centred / centred.size - dxhat.sum() * inv_std / centred.size
    return dx, dgamma, dbeta


def group_norm_backward_einsum(dout, cache):
    (N, C, H, W), G = cache.x.shape, cache.num_groups
    shape, M = (N, G, C // G, H, W), C // G * H * W
    inv_std = cache.inv_std.reshape(N, G)
    xhat = (cache.x.reshape(shape) - cache.mean.reshape(N, G, 1, 1, 1)) * inv_std[:, :, None, None, None]
    dgamma, dbeta = np.einsum("ngchw,ngchw->gc", dout.reshape(shape), xhat).ravel(), np.einsum("nchw->c", dout)
    dxhat = np.einsum("ngchw,gc->ngchw", dout.reshape(shape), cache.gamma.reshape(G, C // G))
    along = np.einsum("ngchw,ngchw,ngdyx->ngdyx", dxhat, xhat, xhat) / M
    dx = np.einsum("ng,ngchw->ngchw", inv_std, dxhat - np.einsum("ngchw->ng", dxhat)[:, :, None, None, None] / M - along)
    return dx.reshape(N, C, H, W), dgamma, dbeta


SOLUTIONS = {
    "relu_forward": (relu_forward_loops, relu_forward_clip),
    "relu_backward": (relu_backward_loops, relu_backward_product),
    "linear_forward": (linear_forward_loops, linear_forward_einsum),
    "linear_backward": (linear_backward_loops, linear_backward_einsum),
    "im2col": (im2col_loops, im2col_strides),
    "conv2d_forward": (conv2d_forward_loops, conv2d_forward_einsum),
    "conv2d_db": (conv2d_db_loops, conv2d_db_einsum),
    "conv2d_dw": (conv2d_dw_loops, conv2d_dw_einsum),
    "col2im": (col2im_loops, col2im_add_at),
    "conv2d_dx": (conv2d_dx_loops, conv2d_dx_nails),
    "conv1d_forward": (conv1d_forward_loops, conv1d_forward_einsum),
    "conv_transpose2d_forward": (conv_transpose2d_forward_loops, conv_transpose2d_forward_adjoint),
    "conv_transpose2d_backward": (conv_transpose2d_backward_loops, conv_transpose2d_backward_einsum),
    "conv_transpose1d_forward": (conv_transpose1d_forward_loops, conv_transpose1d_forward_matrix),
    "conv_matrix": (conv_matrix_loops, conv_matrix_impulses),
    "batch_norm_forward": (batch_norm_forward_loops, batch_norm_forward_moments),
    "batch_norm_backward": (batch_norm_backward_loops, batch_norm_backward_projection),
    "group_norm_forward": (group_norm_forward_loops, group_norm_forward_einsum),
    "group_norm_backward": (group_norm_backward_loops, group_norm_backward_einsum),
}
