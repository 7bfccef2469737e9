"""check/layer.py: gradcheck of a layer and of a model, by the same codes as of a pair of functions."""
import numpy as np
import pytest

import numpyvision
from numpyvision.check import gradcheck
from numpyvision.layers import base, blocks, conv, fpn, norm
from numpyvision.ops.activation import relu_backward

RNG = np.random.default_rng


def randn(*shape, seed=0):
    return RNG(seed).standard_normal(shape)


@pytest.fixture(autouse=True)
def readable():
    with numpyvision.use("numpy"):
        yield


def check(layer, *args, **options):
    return gradcheck(layer, args=args, rng=RNG(1), **options)


def test_right_layers_are_ok():
    report = check(conv.Conv2d(3, 4, 3, rng=RNG(0)), randn(2, 3, 5, 5))
    assert report.ok and [r.name for r in report.rows] == ["x", "w", "b"] and report.title == "Conv2d"
    assert check(blocks.BasicBlock(4, 8, 2, norm="batch", rng=RNG(0)), randn(2, 4, 6, 6)).ok
    assert check(fpn.FPN((4, 8), 8, rng=RNG(0)), (randn(2, 4, 4, 6), randn(2, 8, 2, 3))).ok


def test_the_layer_itself_stays_as_it_is():
    layer = norm.BatchNorm2d(3)
    before = {n: p.copy() for n, p in [*layer.named_params(), *layer.named_buffers()]}
    assert check(layer, randn(2, 3, 4, 4))
    assert all(np.array_equal(before[n], p) for n, p in [*layer.named_params(), *layer.named_buffers()])


class NoShortcut(blocks.BasicBlock):
    """A block that forgets its skip connection in backward."""

    def backward(self, dout, cache):
        dx, grads = super().backward(dout, cache)
        return dx - self.shortcut.backward(relu_backward(dout, cache.relu), cache.shortcut)[0], grads


class Mistaken(norm.BatchNorm2d):
    """BatchNorm2d whose backward goes through `change`."""

    change = None

    def backward(self, dout, cache):
        return type(self).change(*super().backward(dout, cache), dout, cache)


def mistaken(function):
    return type("Mistaken", (Mistaken,), {"change": staticmethod(function)})(3)


def test_a_lost_shortcut_is_a_missing_path():
    report = check(NoShortcut(4, 4, norm="batch", rng=RNG(0)), randn(2, 4, 5, 5))
    assert report.diagnosis == "missing-path" and report.message.startswith("The gradient of x is wrong: at x[")


@pytest.mark.parametrize("function, code, words", [
    (lambda dx, g, d, c: (dx, {"gamma": g["beta"], "beta": g["gamma"]}), "swapped-gradients", "right gradient of"),
    (lambda dx, g, d, c: (-dx, g), "sign", "wrong sign"),
    (lambda dx, g, d, c: (dx, {**g, "gamma": 0 * g["gamma"]}), "zero-gradient", "The gradient of gamma"),
    (lambda dx, g, d, c: (dx, {"gamma": g["gamma"]}), "wrong-shape", "no gradient for the parameters beta"),
    (lambda dx, g, d, c: (dx, {**g, "extra": g["beta"]}), "wrong-shape", "unknown parameters extra"),
    (lambda dx, g, d, c: dx, "wrong-shape", "must return two things"),
    (lambda dx, g, d, c: None, "not-implemented", "returns None"),
    (lambda dx, g, d, c: c.nothing, "raises", "Backward stops with AttributeError"),
    (lambda dx, g, d, c: (d.__imul__(2), g), "mutates-input", "writes into dout"),
    (lambda dx, g, d, c: (dx * RNG().random(), g), "nondeterministic", "two different gradients of x"),
])
def test_each_mistake_has_its_code(function, code, words):
    report = check(mistaken(function), randn(2, 3, 4, 4))
    assert report.diagnosis == code and words in report.message, report


def test_levels_in_the_wrong_order_are_swapped():
    class Reversed(fpn.FPN):
        def backward(self, dout, cache):
            dC, grads = super().backward(dout, cache)
            return tuple(dC[::-1]), grads
    report = check(Reversed((4, 4), 8, rng=RNG(0)), (randn(2, 4, 4, 6), randn(2, 4, 2, 3)))
    assert report.diagnosis == "swapped-gradients" and "wrong order" in report.message


class Losses(base.Layer):
    """A model: two losses of an image that also take targets, which are no arrays."""

    def __init__(self):
        self.conv = conv.Conv2d(2, 3, 3, rng=RNG(0))

    def forward(self, images, targets, sizes, rng=None, train=True):
        out, cache = self.conv.forward(images, train)
        weight = rng.random(out.shape)
        return {"loss_a": (out * weight).sum(), "loss_b": targets[0]["scale"] * (out ** 2).sum()}, (cache, out, weight, targets)

    def backward(self, dlosses, cache):
        cache, out, weight, targets = cache
        dout = dlosses["loss_a"] * weight + dlosses["loss_b"] * 2 * targets[0]["scale"] * out
        dx, grads = self.conv.backward(dout, cache)
        return dx, {"conv": grads}


def test_a_model_of_losses():
    class Forgets(Losses):
        def backward(self, dlosses, cache):
            return super().backward({**dlosses, "loss_b": 0 * dlosses["loss_b"]}, cache)

    def run(model):
        return gradcheck(model, None, [randn(1, 2, 4, 4), [{"scale": 0.5}], [(4, 4)]], {"rng": RNG(3)}, rng=RNG(2))
    assert run(Losses()).ok
    report = run(Forgets())
    assert not report.ok and report.diagnosis in ("missing-sum", "missing-path")
