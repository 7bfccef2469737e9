"""check/layer.py: a layer that keeps the law, one fault at a time, and a small model of losses."""
import re

import numpy as np
import pytest

from numpyvision.cache import Cache, NoCache, new_cache
from numpyvision.check import check_layer, check_model
from numpyvision.layers.base import Layer

RNG = np.random.default_rng
X = RNG(0).standard_normal((3, 4))


class Gain(Layer):
    """out = relu(x * gamma + b). Starts at gamma = 1, b = 0, where a forgotten gamma cannot be seen."""

    def __init__(self):
        self.params = {"gamma": np.ones(4, np.float32), "b": np.zeros(4, np.float32)}

    def forward(self, x, train=True):
        out = np.maximum(x * self.params["gamma"] + self.params["b"], 0)
        return out, new_cache(train, x=x, out=out, gamma=self.params["gamma"])

    def backward(self, dout, cache):
        d = dout * (cache.out > 0)
        return d * cache.gamma, {"gamma": (d * cache.x).sum(0), "b": d.sum(0)}


class Net(Layer):
    """Two gains one after the other: a nested dict of gradients."""

    def __init__(self, first=Gain):
        self.first, self.rest = first(), [Gain()]

    def forward(self, x, train=True):
        cache = new_cache(train)
        h, cache["first"] = self.first.forward(x, train)
        out, cache["rest"] = self.rest[0].forward(h, train)
        return out, cache

    def backward(self, dout, cache):
        dh, rest = self.rest[0].backward(dout, cache.rest)
        dx, first = self.first.backward(dh, cache.first)
        return dx, {"first": first, "rest": [rest]}


def variant(**methods):
    """A Gain with some methods replaced."""
    return type("Variant", (Gain,), methods)()


def test_the_law_kept(mode):
    for layer in (Gain(), Net()):
        contract = check_layer(layer, X, rng=RNG(1))
        assert contract and contract.gradients.error < 1e-8, contract
        assert [c.name for c in contract.checks] == ["runs", "parameter names", "dtype kept", "nothing written", "backward twice",
                                                     "train=False", "gradient"]
    assert [r.name for r in contract.gradients.rows] == ["x", "first.gamma", "first.b", "rest.0.gamma", "rest.0.b"]


def test_the_layer_itself_is_left_alone():
    layer = Net()
    check_layer(layer, X, rng=RNG(1))
    assert all(p.dtype == np.float32 and np.all(p == (1 if name.endswith("gamma") else 0)) for name, p in layer.named_params())


def forgets_gamma(self, dout, cache):
    dx, grads = Gain.backward(self, dout, cache)
    return dout * (cache.out > 0), grads


def forgets_b(self, dout, cache):
    dx, grads = Gain.backward(self, dout, cache)
    return dx, {"gamma": grads["gamma"]}


def invents_one(self, dout, cache):
    dx, grads = Gain.backward(self, dout, cache)
    return dx, {**grads, "weight": grads["b"]}


def upcasts(self, dout, cache):
    dx, grads = Gain.backward(self, dout, cache)
    return dx, {**grads, "b": grads["b"].astype(np.float64)}


def writes_cache(self, dout, cache):
    dx, grads = Gain.backward(self, dout, cache)
    cache.out[...] = 1
    return dx, grads


def writes_param(self, x, train=True):
    self.params["b"] *= 0.5
    return Gain.forward(self, x, train)


def keeps_cache(self, x, train=True):
    return Gain.forward(self, x, True)


def plain_empty_dict(self, x, train=True):
    out, cache = Gain.forward(self, x, True)
    return out, cache if train else Cache()


def another_output(self, x, train=True):
    out, cache = Gain.forward(self, x, train)
    return out * (1 if train else 1.001), cache


def remembers(self, dout, cache):
    self.calls = getattr(self, "calls", 0) + 1
    dx, grads = Gain.backward(self, dout, cache)
    return dx * (1 + 1e-12 * self.calls), grads


@pytest.mark.parametrize("broken, methods, words", [
    ("runs", {"forward": lambda self, x, train=True: x}, r"forward must return \(out, cache\)"),
    ("runs", {"backward": lambda self, d, c: Gain.backward(self, d, c)[0]}, r"backward must return \(dx, grads\)"),
    ("parameter names", {"backward": forgets_b}, "no gradient for the parameters b"),
    ("parameter names", {"backward": invents_one}, "unknown parameters weight"),
    ("dtype kept", {"backward": upcasts}, "float32 input and parameters gave b of float64"),
    ("nothing written", {"backward": writes_cache}, "cache|read-only"),
    ("nothing written", {"forward": writes_param}, "params|read-only"),
    ("backward twice", {"backward": remembers}, "dx differs at"),
    ("train=False", {"forward": keeps_cache}, "must return an empty NoCache, got a Cache with"),
    ("train=False", {"forward": plain_empty_dict}, "must return an empty NoCache"),
    ("train=False", {"forward": another_output}, "the output with train=False differs at"),
    ("gradient", {"backward": forgets_gamma}, "The gradient of x is wrong"),
])
def test_a_broken_promise_is_named(broken, methods, words, mode):
    contract = check_layer(variant(**methods), X, rng=RNG(1))
    check = next(c for c in contract.checks if c.name == broken)
    assert not check.ok and re.search(words, check.message), contract


def test_only_the_wrong_parameter_is_named():
    class Wrong(Gain):
        def backward(self, dout, cache):
            dx, grads = Gain.backward(self, dout, cache)
            return dx, {**grads, "b": grads["b"] * 1.001}
    contract = check_layer(Net(Wrong), X, rng=RNG(1))
    assert contract.failed == ["gradient"]
    assert [r.name for r in contract.gradients.rows if r.diagnosis != "ok"] == ["first.b"]


def test_parameters_are_put_back_after_an_error():
    class Fragile(Gain):
        def forward(self, x, train=True):
            if self.params["b"].dtype == np.float64 and abs(self.params["b"] - self.start).max() > 0:
                raise ArithmeticError("moved")
            return Gain.forward(self, x, train)
    layer = Fragile().astype(np.float64)
    from numpyvision.check import layer as checks
    layer.start = layer.params["b"].copy()
    problem = checks._problem(layer, {}, {}, {}, lambda arrays: layer.forward(X)[0], None, 1e-5, 1e-6)
    with pytest.raises(ArithmeticError):
        problem.evaluate({"b": np.ones(4)})
    assert np.array_equal(layer.params["b"], layer.start)


def test_batch_statistics_may_differ_in_prediction():
    class Centred(Layer):
        params, buffers = {}, {}

        def __init__(self):
            self.params, self.buffers = {}, {"mean": np.zeros(4)}

        def forward(self, x, train=True):
            if not train:
                return x - self.buffers["mean"], NoCache()
            self.buffers["mean"][...] = 0.9 * self.buffers["mean"] + 0.1 * x.mean(0)
            return x - x.mean(0), Cache()

        def backward(self, dout, cache):
            return dout - dout.mean(0), {}
    assert check_layer(Centred(), X, rng=RNG(1))


def test_several_inputs_and_tuples_of_arrays():
    class Join(Layer):
        def forward(self, P, scale, train=True):
            return tuple(p * scale for p in P), new_cache(train, P=P, scale=scale)

        def backward(self, dP, cache):
            return (tuple(d * cache.scale for d in dP), sum((d * p).sum(0) for d, p in zip(dP, cache.P, strict=True))), {}
    levels, scale = (X, X[:2] + 1), RNG(3).standard_normal(4)
    contract = check_layer(Join(), levels, scale, rng=RNG(1))
    assert contract and [r.name for r in contract.gradients.rows] == ["P.0", "P.1", "scale"]


# ---- a model of losses

class Detector(Net):
    """Two losses of one network; the second looks at a random half of the images' numbers."""

    def forward(self, images, targets, sizes, *, rng, train=True):
        h, cache = Net.forward(self, images, train)
        sampled = rng.random(h.shape) < 0.5
        cache["losses"] = Cache(h=h, targets=targets, sampled=sampled)
        return {"loss_fit": float(((h - targets) ** 2).sum()), "loss_sparse": float((h * sampled).sum())}, cache

    def backward(self, dlosses, cache):
        h, targets, sampled = cache.losses.h, cache.losses.targets, cache.losses.sampled
        return Net.backward(self, dlosses["loss_fit"] * 2 * (h - targets) + dlosses["loss_sparse"] * sampled, cache)


def run_model(model):
    return check_model(model, X.astype(np.float32), np.ones((3, 4)), None, rng=RNG(1))


def test_model_passes():
    report = run_model(Detector())
    assert report and report.error < 1e-7 and report.title == "Detector with loss_fit, loss_sparse" and report.rows == []


def test_model_names_the_loss_and_the_parameters():
    class Wrong(Detector):
        def backward(self, dlosses, cache):
            return Detector.backward(self, {**dlosses, "loss_sparse": 0.9 * dlosses["loss_sparse"]}, cache)
    report = run_model(Wrong())
    assert report.diagnosis not in ("ok", "kink") and [r.name for r in report.rows][:2] == ["images", "first.gamma"]
    errors = {note.split()[0]: float(note.split()[-1]) for note in report.notes}
    assert errors["loss_fit"] < 1e-6 < 1e-3 < errors["loss_sparse"]


def test_model_must_return_all_gradients():
    class Lost(Detector):
        def backward(self, dlosses, cache):
            dimages, grads = Detector.backward(self, dlosses, cache)
            return dimages, {"first": grads["first"]}
    report = run_model(Lost())
    assert not report and report.message == "Backward returns no gradient for the parameters rest.0.b, rest.0.gamma"


def test_model_gets_its_options():
    class Offset(Detector):
        def forward(self, images, targets, sizes, *, rng, train=True, offset):
            return Detector.forward(self, images, targets + offset, sizes, rng=rng, train=train)
    assert check_model(Offset(), X, np.ones((3, 4)), None, {"offset": 2.0}, rng=RNG(1))
