"""check/operation.py: one operation that keeps the law, and one fault at a time that breaks one promise of it."""
import re

import numpy as np
import pytest

from numpyvision import backend
from numpyvision.cache import Cache
from numpyvision.check import check_op

X, W = np.random.default_rng(0).standard_normal((3, 4)), np.random.default_rng(1).standard_normal(4)


def forward(x, w, power=2):
    return x ** power * w, Cache(x=x, w=w, power=power)


def backward(dout, cache):
    x, w, power = cache.x, cache.w, cache.power
    return dout * power * x ** (power - 1) * w, (dout * x ** power).sum(0)


def run(forward=forward, backward=backward, args=(X, W), **options):
    return check_op(forward, backward, args, rng=np.random.default_rng(2), **options)


def test_the_law_kept(mode):
    contract = run()
    assert contract and contract.ok and contract.message == "" and contract.failed == []
    assert [c.name for c in contract.checks] == ["runs", "gradient shapes", "dtype kept", "nothing written", "nothing shared",
                                                 "backward twice", "non-contiguous", "empty batch", "gradient",
                                                 "readable equals compiled"]
    assert contract.gradients.error < 1e-9
    assert repr(contract).splitlines()[0] == "forward: ok"


def returns_bare_out(x, w):
    return x * w


def upcasts(x, w):
    return (x.astype(np.float64) ** 2 * w), Cache(x=x, w=w, power=2)


def upcasts_gradient(dout, cache):
    dx, dw = backward(dout, cache)
    return dx, dw.astype(np.float64)


def writes_input(x, w):
    out = x ** 2 * w
    cache = Cache(x=x.copy(), w=w, power=2)
    x *= 1.5
    return out, cache


def writes_cache(dout, cache):
    grads = backward(dout, cache)
    cache.x[...] = 0
    return grads


def writes_dout(dout, cache):
    grads = backward(dout, cache)
    dout *= 2
    return grads


def returns_input(x, w):
    return x[:], Cache(x=x, w=w)


def backward_of_returned_input(dout, cache):
    return dout.copy(), np.zeros_like(cache.w)


def shares_dout(dout, cache):
    return dout, np.zeros_like(cache.w)


def adds_up(dout, cache):
    dx, dw = backward(dout, cache)
    dw = dw + cache.get("before", 0)
    cache["before"] = dw
    return dx, dw


def assumes_contiguous(x, w):
    flat = np.frombuffer(x.base if x.base is not None else x, x.dtype)[:x.size].reshape(x.shape)
    return flat ** 2 * w, Cache(x=flat, w=w, power=2)


def divides_by_the_count(x, w):
    return np.float64((x ** 2 * w).sum() / len(x) if len(x) else np.nan), Cache(x=x, w=w)


def backward_of_the_mean(dloss, cache):
    n = max(len(cache.x), 1)
    return dloss * 2 * cache.x * cache.w / n, dloss * (cache.x ** 2).sum(0) / n


def divides_and_covers_up(x, w):
    return np.nan_to_num((x ** 2 * w).sum() / np.float64(len(x))), Cache(x=x, w=w)


def compiled_is_different(x, w):
    return x ** 2 * w * (1.001 if backend.compiled(x, w) else 1), Cache(x=x, w=w, power=2)


def backward_needs_its_own_cache(dout, cache):
    if backend.compiled(dout) and "compiled" not in cache:
        raise KeyError("cols")
    return backward(dout, cache)


def caches_by_mode(x, w):
    out, cache = forward(x, w)
    if backend.compiled(x):
        cache["compiled"] = True
    return out, cache


@pytest.mark.parametrize("broken, options, words", [
    ("runs", {"forward": returns_bare_out}, r"must return \(out, cache\), got ndarray"),
    ("runs", {"forward": lambda x, w: (x / 0 * w, None)}, "the output  is not finite"),
    ("gradient shapes", {"backward": lambda d, c: backward(d, c)[:1]}, "no gradient for w"),
    ("gradient shapes", {"backward": lambda d, c: (*backward(d, c), d)}, "returns 3 gradients for 2 array inputs"),
    ("gradient shapes", {"backward": lambda d, c: (backward(d, c)[0], d)}, r"gradient of w has shape \(3, 4\), w has \(4,\)"),
    ("dtype kept", {"forward": upcasts}, "float32 inputs gave an output of float64"),
    ("dtype kept", {"backward": upcasts_gradient}, "float32 inputs gave a gradient of w of float64"),
    ("nothing written", {"forward": writes_input}, "x|read-only"),
    ("nothing written", {"backward": writes_cache}, "cache|read-only"),
    ("nothing written", {"backward": writes_dout}, "dout|read-only"),
    ("nothing shared", {"forward": returns_input, "backward": backward_of_returned_input}, "output shares memory with x"),
    ("nothing shared", {"forward": lambda x, w: (x + w * 0, Cache(w=w)), "backward": shares_dout}, "gradient of x shares memory with dout"),
    ("nothing shared", {"backward": lambda d, c: (np.broadcast_to(1.0, (3, 4)), backward(d, c)[1])}, "read-only view"),
    ("backward twice", {"backward": adds_up}, "gradient of w differs at"),
    ("non-contiguous", {"forward": assumes_contiguous}, "the output differs at"),
    ("empty batch", {"forward": divides_by_the_count, "backward": backward_of_the_mean}, "the output  is not finite"),
    ("empty batch", {"forward": divides_and_covers_up, "backward": backward_of_the_mean}, "raised FloatingPointError: invalid value"),
    ("gradient", {"backward": lambda d, c: (backward(d, c)[0] * 0.999, backward(d, c)[1])}, "The gradient of x is wrong"),
    ("readable equals compiled", {"forward": compiled_is_different}, "the float64 output differs at"),
    ("readable equals compiled", {"forward": caches_by_mode, "backward": backward_needs_its_own_cache}, "KeyError: 'cols'"),
], ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_broken_promise_is_named(broken, options, words, mode):
    contract = run(**options)
    assert not contract
    check = next(c for c in contract.checks if c.name == broken)
    assert not check.ok
    assert re.search(words, check.message), check.message


def test_other_promises_are_not_blamed():
    assert run(backward=lambda d, c: (backward(d, c)[0] * 0.999, backward(d, c)[1])).failed == ["gradient"]
    assert run(forward=upcasts).failed == ["dtype kept"]
    assert run(forward=compiled_is_different).failed == ["gradient", "readable equals compiled"]


def test_stop_ends_at_the_first_failure():
    contract = run(backward=lambda d, c: (backward(d, c)[0], d), stop=True)
    assert [c.name for c in contract.checks] == ["runs", "gradient shapes"] and contract.failed == ["gradient shapes"]
    assert "FAILED gradient shapes" in repr(contract) and contract.message.startswith("gradient shapes: the gradient of w")


def test_reference_is_compared_before_anything_else():
    def doubled(x, w):
        return 2 * x ** 2 * w, Cache(x=x, w=w, power=2)
    contract = run(forward=doubled, backward=lambda d, c: tuple(2 * g for g in backward(d, c)), reference=(forward, backward), stop=True)
    assert contract.failed == ["same as reference"] and "the output differs at" in contract.message
    assert run(reference=(forward, backward))
    contract = run(backward=lambda d, c: (backward(d, c)[0], 2 * backward(d, c)[1]), reference=(forward, backward), stop=True)
    assert contract.message.startswith("same as reference: the gradient of w differs at")


def test_running_statistics_may_be_written_if_named():
    def tracking(x, mean):
        mean[...] = 0.9 * mean + 0.1 * (x.mean(0) if len(x) else 0)
        return x * 2, None
    options = {"forward": tracking, "backward": lambda d, c: d * 2}
    assert run(**options, mutates=("mean",))
    assert run(**options, constants=("mean",)).failed == ["nothing written"]


def test_inputs_are_left_alone():
    x, w = X.copy(), W.copy()
    run(forward=writes_input, args=(x, w))
    assert np.array_equal(x, X) and np.array_equal(w, W) and x.flags.writeable
