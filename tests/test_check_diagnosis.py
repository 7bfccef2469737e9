"""check/diagnosis*.py: each kind of mistake gets its name, with the numbers that prove it; what is right or on a corner gets none."""
import re

import numpy as np
import pytest

import numpyvision
from numpyvision.check import DIAGNOSES, diagnosis_rules, gradcheck
from numpyvision.losses import classification
from numpyvision.ops import activation, box_transform, conv, linear, norm, pool, resize, roi

RNG = np.random.default_rng


def randn(*shape, seed=0):
    return RNG(seed).standard_normal(shape)


def two_ways_forward(x):
    """x reaches out straight and through a tanh."""
    return x @ STRAIGHT.astype(x.dtype) + np.tanh(x @ BENT.astype(x.dtype)), x


def two_ways_backward(dout, x):
    return dout @ STRAIGHT.astype(dout.dtype).T + (dout * (1 - np.tanh(x @ BENT.astype(x.dtype)) ** 2)) @ BENT.astype(dout.dtype).T


X, W, B = randn(2, 3, 5, 5), randn(4, 3, 3, 3, seed=1), randn(4, seed=2)
IMAGE = 0.1 * (RNG(3).permutation(2 * 2 * 6 * 6) - 71.5).reshape(2, 2, 6, 6)                 # no two pixels equal
BOXES = np.array([[1.2, 3.1, 9.7, 17.3], [2.2, 3.3, 5.5, 9.1], [8.4, 7.3, 31.9, 22.6]])
REFERENCES = np.array([[1.3, 2.4, 14.5, 19.6], [0.2, 4.3, 6.5, 8.2], [2.4, 3.3, 21.9, 12.6]])
ROIS = np.array([[0, 1.13, 0.71, 9.37, 11.21], [1, 3.29, 2.83, 12.47, 7.61], [0, -2.17, 4.43, 5.57, 13.89]])
STRAIGHT, BENT = randn(6, 6, seed=5), randn(6, 6, seed=6)
NORM = [randn(3, 4, 2, 3), randn(4, seed=1), randn(4, seed=2), np.zeros(4), np.ones(4)]

# name: forward, backward, arrays, settings
OPS = {
    "linear": (linear.linear_forward, linear.linear_backward, [randn(3, 4), randn(4, 4, seed=1), B], {}),
    "conv": (conv.conv2d_forward, conv.conv2d_backward, [X, W, B], {"padding": 1}),
    "strided": (conv.conv2d_forward, conv.conv2d_backward, [X, W, B], {"stride": (2, 1), "padding": 1}),
    "two ways": (two_ways_forward, two_ways_backward, [randn(3, 6)], {}),
    "relu": (activation.relu_forward, activation.relu_backward, [X], {}),
    "sigmoid": (activation.sigmoid_forward, activation.sigmoid_backward, [X], {}),
    "max_pool": (pool.max_pool2d_forward, pool.max_pool2d_backward, [IMAGE], {"kernel_size": 3, "stride": 1}),
    "avg_pool": (pool.avg_pool2d_forward, pool.avg_pool2d_backward, [X], {"kernel_size": 3, "stride": 1}),
    "nearest": (resize.upsample_nearest_forward, resize.upsample_nearest_backward, [randn(2, 3, 4, 4)], {}),
    "bilinear": (resize.upsample_bilinear_forward, resize.upsample_bilinear_backward, [randn(2, 3, 4, 4)], {}),
    "nails": (resize.bed_of_nails_forward, resize.bed_of_nails_backward, [randn(2, 3, 4, 4)], {}),
    "roi_align": (roi.roi_align_forward, roi.roi_align_backward, [randn(2, 3, 6, 7), ROIS], {"output_size": 2, "spatial_scale": 0.5}),
    "encode": (box_transform.encode_boxes_forward, box_transform.encode_boxes_backward, [BOXES, REFERENCES], {"weights": (2, 1, 3, 1)}),
    "decode": (box_transform.decode_boxes_forward, box_transform.decode_boxes_backward, [randn(3, 4), REFERENCES], {}),
    "batch_norm": (norm.batch_norm_forward, norm.batch_norm_backward, NORM, {}),
    "softmax": (classification.softmax_cross_entropy_forward, classification.softmax_cross_entropy_backward,
                [randn(5, 4), np.array([0, 3, 255, 1, 1])], {}),
    "bce": (classification.sigmoid_bce_forward, classification.sigmoid_bce_backward, [randn(4, 6), RNG(4).random((4, 6)), None], {}),
}
CONSTANTS = {"batch_norm": ("running_mean", "running_var"), "bce": ("targets", "weights")}
FIXED = {"roi_align": {"rois": [0]}}


def check(op, change=None, **options):
    """gradcheck of an operation whose gradients, a list, went through change(grads, dout, cache) first."""
    forward, right, args, kwargs = OPS[op]

    def backward(dout, cache):
        grads = right(dout, cache)
        grads = list(grads) if isinstance(grads, tuple) else [grads]
        return tuple(change(grads, dout, cache)) if change else tuple(grads)
    with numpyvision.use("numpy"):
        return gradcheck(forward, backward, args, kwargs, rng=RNG(7), constants=CONSTANTS.get(op, ()), fixed=FIXED.get(op), **options)


def first(function):
    """Change the first gradient alone: function(gradient, dout, cache)."""
    return lambda g, d, c: [function(g[0], d, c), *g[1:]]


def at(i, function):
    """Change gradient i alone: function(gradient, dout, cache)."""
    return lambda g, d, c: [function(one, d, c) if k == i else one for k, one in enumerate(g)]


# ---- wrong backwards, written as a student would

def overwritten(_, dout, cache):
    """avg_pool2d_backward with = for +=."""
    k, (N, C, H, W) = cache.kernel_size, cache.x_shape
    dx = np.zeros((N, C, H, W), dout.dtype)
    for r in range(dout.shape[2]):
        for q in range(dout.shape[3]):
            dx[:, :, r:r + k, q:q + k] = dout[:, :, r:r + 1, q:q + 1] / k ** 2
    return dx


def overwritten_in_rows(_, dout, cache):
    """avg_pool2d_backward with += down the columns and = along the rows."""
    k, (N, C, H, W) = cache.kernel_size, cache.x_shape
    dx = np.zeros((N, C, H, W), dout.dtype)
    for r in range(dout.shape[2]):
        row = np.zeros((N, C, k, W), dout.dtype)
        for q in range(dout.shape[3]):
            row[:, :, :, q:q + k] = dout[:, :, r:r + 1, q:q + 1] / k ** 2
        dx[:, :, r:r + k] += row
    return dx


def fancy(_, dout, cache):
    """max_pool2d_backward with fancy +=."""
    N, C, H, W = IMAGE.shape
    dx = np.zeros((N * C, H * W), dout.dtype)
    dx[np.arange(N * C)[:, None], cache.indices.reshape(N * C, -1)] += dout.reshape(N * C, -1)
    return dx.reshape(N, C, H, W)


def turned_kernel(_, dout, cache):
    """conv2d_dx through the kernel back to front."""
    return conv.conv2d_dx(dout, type(cache)({**cache, "w": cache.w[:, :, ::-1, ::-1]}))


def norm_without(mean=1.0, var=1.0):
    """batch_norm's dx with these multiples of the paths through the mean and the variance."""
    def change(_, dout, cache):
        def per(v):
            return v[:, None, None]
        xhat = (cache.x - per(cache.mean)) * per(cache.inv_std)
        dx = dout - mean * dout.mean(axis=(0, 2, 3), keepdims=True) - var * xhat * (dout * xhat).mean(axis=(0, 2, 3), keepdims=True)
        return dx * per(cache.gamma * cache.inv_std)
    return change


def nearest_cell(dx, dout, cache):
    """All of a bilinear sample's gradient to the nearest cell."""
    return dout.reshape(2, 3, 4, 2, 4, 2).sum(axis=(3, 5))


def unclipped_border(dx, dout, cache):
    """The border's gradient is lost."""
    dx[:, :, 0], dx[:, :, -1] = 0.5 * dx[:, :, 0], 0.5 * dx[:, :, -1]
    return dx


def to_last_roi(g, dout, cache):
    """dx of the last RoI of each image: the others are written over."""
    keep = np.zeros(len(dout))
    keep[[1, 2]] = 1
    return roi.roi_align_dx(dout * keep[:, None, None, None].astype(dout.dtype), cache)


def to_one_image(g, dout, cache):
    """Every RoI's gradient lands in image 0."""
    rois = cache.rois.copy()
    rois[:, 0] = 0
    return roi.roi_align_dx(dout, type(cache)({**cache, "rois": rois}))


def box_part(centre, size):
    """decode's or encode's gradient of corners, with these multiples of the gradients of centre and size."""
    def change(g, dout, cache):
        near, far = g[:, :2], g[:, 2:]
        c, s = (near + far) / 2 * centre, (far - near) / 2 * size
        return np.concatenate([c - s, c + s], axis=1)
    return change


CASES = [
    ("ignores-dout", "relu", first(lambda g, d, c: g * 0 + 1), "same gradient"),
    ("ignores-dout", "softmax", at(0, lambda g, d, c: g / d), "same gradient"),
    ("ignores-dout", "linear", at(2, lambda g, d, c: g + 1), "not proportional to dout"),
    ("zero-gradient", "conv", at(1, lambda g, d, c: 0 * g), "All 108 numbers of it are zero"),
    ("sign", "conv", at(0, lambda g, d, c: -g), "wrong sign"),
    ("sign", "decode", at(1, box_part(-1, 1)), "wrong sign"),
    ("sign", "encode", at(1, lambda g, d, c: g * [-1, 1, 1, 1]), "wrong sign"),
    ("sign", "batch_norm", first(norm_without(var=-1)), "of the wrong sign"),
    ("sign", "bce", first(lambda g, d, c: g + 2 * d * c.targets / c.normalizer), "targets of the opposite sign"),
    ("constant-factor", "conv", at(1, lambda g, d, c: g / 2), r"1/2 \(0.5\) times"),
    ("constant-factor", "avg_pool", first(lambda g, d, c: g * 9), "9 times"),
    ("constant-factor", "sigmoid", first(lambda g, d, c: g / c.out), "one factor, from"),
    ("constant-factor", "batch_norm", first(lambda g, d, c: g / c.gamma[:, None, None]), "gamma = 1"),
    ("constant-factor", "encode", lambda g, d, c: box_transform.encode_boxes_backward(d / np.array((2, 1, 3, 1), d.dtype), c), "factor"),
    ("constant-factor", "bce", first(lambda g, d, c: g / (1 + np.exp(c.logits))), "right sign"),
    ("swapped-gradients", "batch_norm", lambda g, d, c: [g[0], g[2], g[1], *g[3:]], "right gradient of beta"),
    ("swapped-gradients", "conv", lambda g, d, c: [g[1], g[0], g[2]], "wrong order"),
    ("swapped-gradients", "batch_norm", lambda g, d, c: [g[0], g[2], g[2], *g[3:]], "as well"),
    ("flipped-kernel", "conv", at(1, lambda g, d, c: g[:, :, ::-1, ::-1]), "reverse order"),
    ("flipped-kernel", "conv", first(turned_kernel), "for w turned back to front"),
    ("flipped-kernel", "strided", lambda g, d, c: conv.conv2d_backward(d[:, :, ::-1], c), "dout whose numbers stand in reverse order"),
    ("transposed-axes", "linear", at(0, lambda g, d, c: d @ c.w), "for w with its axes 0 and 1 exchanged"),
    ("transposed-axes", "conv", at(1, lambda g, d, c: g.swapaxes(2, 3)), "axes exchanged"),
    ("transposed-axes", "relu", first(lambda g, d, c: g.transpose(1, 0, 2, 3).reshape(g.shape)), "reshaped back|then reshaped"),
    ("transposed-axes", "encode", at(0, lambda g, d, c: g[:, [1, 0, 3, 2]]), "x and y are exchanged"),
    ("shifted", "conv", at(0, lambda g, d, c: np.roll(g, (1, 1), (2, 3))), r"moved by \+1 along the row axis and \+1 along the column"),
    ("shifted", "nails", lambda g, d, c: [d[:, :, 1::2, 1::2].copy()], "dout that is moved by"),
    ("shifted", "bilinear", lambda g, d, c: [resize.upsample_bilinear_backward(d, type(c)({**c, "align_corners": True}))],
     "align_corners=True"),
    ("border", "bilinear", first(unclipped_border), "Only the border is wrong, the first row, last row"),
    ("batch-leak", "linear", at(0, lambda g, d, c: g * 0 + g.mean(axis=0)), "read row 0 of x alone"),
    ("batch-leak", "roi_align", at(0, to_one_image), "read image 1 of x alone, and yet hands a gradient to image 0"),
    ("batch-leak", "softmax", first(lambda g, d, c: d / c.count * (np.exp(c.logits) / np.exp(c.logits).sum(0) - np.eye(4)[c.labels % 4])
                                    * (c.labels != 255)[:, None]), "Moving row 4 of logits"),
    ("missing-sum", "conv", at(2, lambda g, d, c: d.sum(axis=(2, 3))), "once summed over its axes"),
    ("missing-sum", "conv", at(2, lambda g, d, c: d[:, :, 0].sum(axis=(0, 2))), "axis 2 of out"),
    ("missing-sum", "conv", at(1, lambda g, d, c: conv.conv2d_dw(d * (np.arange(2) == 1)[:, None, None, None], c)), "place 1 alone"),
    ("missing-accumulation", "avg_pool", first(overwritten), "only one of them hands its gradient back"),
    ("missing-accumulation", "max_pool", first(fancy), "only one of them"),
    ("missing-accumulation", "nearest", lambda g, d, c: [d[:, :, ::2, ::2].copy()], "read at 4 windows"),
    ("missing-accumulation", "roi_align", at(0, to_last_roi), "only one of them|written over each other"),
    ("double-counted", "batch_norm", first(norm_without(mean=2)), "counted twice"),
    ("double-counted", "nails", lambda g, d, c: [d.reshape(2, 3, 4, 2, 4, 2).sum(axis=(3, 5))], "more than once"),
    ("double-counted", "roi_align", at(1, lambda g, d, c: g + g[:, [0, 3, 4, 3, 4]] * [0, 1, 1, 0, 0]), "once more, that of column"),
    ("missing-path", "batch_norm", first(norm_without(mean=0)), "One part of the true slopes"),
    ("missing-path", "batch_norm", first(norm_without(var=0)), "is missing in the claimed ones"),
    ("missing-path", "batch_norm", first(norm_without(0, 0)), "missing"),
    ("missing-path", "encode", at(1, box_part(1, 0)), "missing while all others are right"),
    ("missing-path", "bce", first(lambda g, d, c: g + d * c.targets / c.normalizer), "targets = 0"),
    ("missing-path", "softmax", first(lambda g, d, c: g + d / c.count * (np.eye(4)[c.labels % 4]) * (c.labels != 255)[:, None]),
     "is missing at 4 of 20 elements"),
    ("wrong-routing", "relu", lambda g, d, c: [np.where(c.out <= 0, d, 0)], "exactly the elements that it should not"),
    ("wrong-routing", "relu", lambda g, d, c: [d.copy()], "claimed where there are none"),
    ("wrong-routing", "relu", lambda g, d, c: [np.where(d <= 0, 0, d)], "mask is made from dout"),
    ("wrong-routing", "max_pool", lambda g, d, c: [pool.max_pool2d_backward(d[:, :, ::-1].copy(), c)], "reverse order"),
    ("wrong-routing", "bilinear", first(nearest_cell), "right amount"),
    ("wrong-routing", "encode", at(0, lambda g, d, c: g[:, [2, 3, 0, 1]]), "near side"),
    ("missing-accumulation", "avg_pool", first(overwritten_in_rows), "get less than they should"),
    ("missing-path", "two ways", lambda g, d, c: [d @ STRAIGHT.astype(d.dtype).T], "most likely left out"),
    ("double-counted", "two ways", lambda g, d, c: [g[0] + d @ STRAIGHT.astype(d.dtype).T], "most likely counted twice"),
    ("unknown", "conv", at(1, lambda g, d, c: conv.conv2d_dw(d, type(c)({**c, "x": randn(2, 3, 5, 5, seed=9)}))), "No known pattern"),
    ("wrong-shape", "linear", at(1, lambda g, d, c: g.ravel()), "reshape it"),
    ("wrong-dtype", "linear", at(1, lambda g, d, c: g.astype(np.float32)), "float32"),
    ("wrong-dtype", "linear", at(1, lambda g, d, c: g.astype(np.float64)), "float32 inputs give the gradient of w in float64"),
    ("not-finite", "linear", at(1, lambda g, d, c: g / 0), "not finite at"),
    ("raises", "linear", lambda g, d, c: [c.nothing], "Backward stops with AttributeError"),
    ("raises", "linear", lambda g, d, c: exit(1), "Backward stops with SystemExit"),
    ("mutates-input", "linear", lambda g, d, c: [d.__imul__(2), *g][1:], "Backward writes into dout: dout[0, 0] was"),
    ("mutates-input", "linear", lambda g, d, c: [c.x.__iadd__(1), *g][1:], "writes into cache.x"),
    ("nondeterministic", "linear", at(1, lambda g, d, c: g + RNG().random()), "two different gradients of w"),
]


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("code, op, change, words", CASES, ids=[f"{c}-{op}-{i}" for i, (c, op, *_) in enumerate(CASES)])
def test_the_mistake_gets_its_name_and_the_proof(code, op, change, words):
    report = check(op, change)
    assert report.diagnosis == code, report
    assert re.search(words.replace("[", r"\[").replace("]", r"\]") if "[" in words else words, report.message), report.message
    assert 1 <= sentences(report.message) <= 3 and report.meaning == DIAGNOSES[code]


def sentences(message):
    """How many: full stops that end one, not those of numbers or of abbreviations."""
    return len(re.findall(r"[.?](?= [A-Z]|$)", message))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("mode", ["numpy", "compiled"])
def test_a_right_backward_is_ok(op, mode):
    forward, backward, args, kwargs = OPS[op]
    with numpyvision.use(mode):
        for seed in range(3):
            report = gradcheck(forward, backward, args, kwargs, rng=RNG(seed), constants=CONSTANTS.get(op, ()), fixed=FIXED.get(op))
            assert report.ok and report.message == "" and report.error < 1e-7, report


def test_every_code_is_planted_here():
    elsewhere = {"ok", "kink", "not-implemented", "wrong-forward"}
    assert set(DIAGNOSES) == {code for code, *_ in CASES} | elsewhere


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_every_rule_names_one_of_these_mistakes():
    """A rule that no case needs could be wrong without anybody noticing."""
    unused = {rule.__name__ for rule in diagnosis_rules.RULES}
    for _, op, change, _ in CASES:
        seen = []
        original = diagnosis_rules.explain

        def explain(e, original=original, seen=seen):
            seen.append(original(e))
            return seen[-1]
        diagnosis_rules.explain = explain
        try:
            check(op, change)
        finally:
            diagnosis_rules.explain = original
        unused -= {diagnosis_rules.RULES[rank].__name__ for rank, *_ in seen if rank < len(diagnosis_rules.RULES)}
    assert not unused
