"""check/gradcheck.py, form.py, calls.py: its cost, big inputs, corners, references, banks, and functions that do not get so far."""
import re

import numpy as np
import pytest

import numpyvision
from numpyvision.check import diagnosis, gradcheck
from numpyvision.ops import activation, conv, linear, pool

RNG = np.random.default_rng


def randn(*shape, seed=0):
    return RNG(seed).standard_normal(shape)


X, W, B = randn(2, 3, 5, 5), randn(4, 3, 3, 3, seed=1), randn(4, seed=2)
IMAGE = 0.1 * (RNG(3).permutation(2 * 2 * 6 * 6) - 71.5).reshape(2, 2, 6, 6)                 # no two pixels equal
CONV = conv.conv2d_forward, conv.conv2d_backward, [X, W, B], {"padding": 1}
LINEAR = linear.linear_forward, linear.linear_backward, [randn(3, 4), randn(4, 4, seed=1), B], {}


def test_an_ok_costs_a_handful_of_calls():
    forward, backward, args, kwargs = CONV
    calls = {"forward": 0, "backward": 0}

    def counted(*a, **k):
        calls["forward"] += 1
        return forward(*a, **k)

    def counted_backward(*a):
        calls["backward"] += 1
        return backward(*a)
    assert gradcheck(counted, counted_backward, args, kwargs, rng=RNG(0))
    assert calls["forward"] <= 10 and calls["backward"] <= 8


@pytest.mark.parametrize("elementwise", ["auto", True, False])
def test_an_input_that_may_not_move_at_all_is_passed_over(elementwise):
    report = gradcheck(lambda x, places: (2 * x, {}), lambda dout, cache: (2 * dout, 0 * dout[:, :1]), [randn(3, 2), np.ones((3, 1))],
                       rng=RNG(0), fixed={"places": [0]}, elementwise=elementwise)
    assert report.ok and [row.checked for row in report.rows][1] == "fixed"


# ---- big inputs are sampled

def test_a_big_input_is_sampled_and_still_named():
    x, w = randn(2, 8, 24, 24), randn(8, 8, 3, 3, seed=1)
    for change, code in ((lambda g: [-g[0], g[1]], "sign"), (lambda g: [g[0], g[1][:, :, ::-1, ::-1]], "flipped-kernel")):
        def backward(dout, cache, change=change):
            return tuple(change(conv.conv2d_backward(dout, cache)))
        report = gradcheck(conv.conv2d_forward, backward, [x, w], {"padding": 1}, rng=RNG(0))
        assert report.diagnosis == code, report


def test_sampling_is_by_time():
    assert diagnosis.allowed(((1e-9, 5), (np.inf, 2)), lambda: None) == 2
    assert list(diagnosis.sample(3, 5, RNG(0))) == [0, 1, 2] and len(set(diagnosis.sample(100, 7, RNG(0)))) == 7


# ---- corners

def test_a_tie_of_a_maximum_is_a_kink_and_a_bug_beside_it_a_bug():
    x = IMAGE.copy()
    x[0, 0, 2, 2] = x[0, 0, 2, 3] = 20.0
    forward, backward, kwargs = pool.max_pool2d_forward, pool.max_pool2d_backward, {"kernel_size": 3, "stride": 1}
    with numpyvision.use("numpy"):
        report = gradcheck(forward, backward, [x], kwargs, rng=RNG(0))
        assert report.diagnosis == "kink" and "This is the input's fault" in report.message and not report.ok
        report = gradcheck(forward, lambda d, c: -backward(d, c), [x], kwargs, rng=RNG(0))
        assert report.diagnosis == "sign", report


def test_relu_of_zeros_is_a_kink():
    x = X.copy()
    x[0, 1, 2, 2:4] = 0
    report = gradcheck(activation.relu_forward, activation.relu_backward, [x], rng=RNG(0))
    assert report.diagnosis == "kink" and "at x[0, 1, 2, " in report.message


# ---- a reference, a bank

def test_a_wrong_forward_is_not_blamed_on_backward():
    forward, backward, args, kwargs = LINEAR

    def minus(x, w, b):
        out, cache = forward(x, w, b)
        return out - 2 * b, cache
    report = gradcheck(minus, backward, args, kwargs, rng=RNG(0), reference=(forward, backward))
    assert report.diagnosis == "wrong-forward"
    assert re.match(r"out\[0, 0\] is [-\d.]+, expected [-\d.]+; 12 of 12 values differ", report.message)
    assert "Mend forward first" in report.message                    # its own slope in b is -1, and backward says 1

    def half(x, w, b):
        out, cache = forward(x, w / 2, b)
        return out, cache
    report = gradcheck(half, lambda d, c: (backward(d, c)[0], backward(d, c)[1] / 2, backward(d, c)[2]), args, kwargs, rng=RNG(0),
                       reference=(forward, backward))
    assert report.diagnosis == "wrong-forward" and "Your backward does match your forward" in report.message
    assert gradcheck(forward, backward, args, kwargs, rng=RNG(0), reference=(forward, backward))


def test_a_wrong_backward_beside_a_reference():
    forward, backward, args, kwargs = LINEAR
    report = gradcheck(forward, lambda d, c: [-g for g in backward(d, c)], args, kwargs, rng=RNG(0), reference=(forward, backward))
    assert report.diagnosis == "sign"


def test_the_bank_names_a_known_mistake():
    def mistake(dout, cache):
        dx, dw, db = linear.linear_backward(dout, cache)
        return dx, randn(3, 4, seed=9).T @ dout, db
    bank = [("missing-sum", "another mistake", lambda d, c: (0, 0, 0)),
            ("missing-path", "the noise of the teacher is added", mistake),
            ("sign", "never reached", mistake)]
    forward, backward, args, kwargs = LINEAR
    assert gradcheck(forward, mistake, args, kwargs, rng=RNG(0)).diagnosis == "unknown"
    report = gradcheck(forward, mistake, args, kwargs, rng=RNG(0), bank=bank)
    assert report.diagnosis == "missing-path"
    assert "A known mistake gives exactly these gradients: the noise of the teacher" in report.message
    assert gradcheck(forward, backward, args, kwargs, rng=RNG(0), bank=bank).ok


# ---- forwards and backwards that do not get so far

@pytest.mark.parametrize("forward, backward, code, words", [
    (None, lambda d, c: None, "not-implemented", "Backward returns None"),
    (lambda x: None, None, "not-implemented", "Forward returns None"),
    (lambda x: 1 / 0, None, "raises", "Forward stops with ZeroDivisionError: division by zero, in line"),
    (lambda x: x, None, "wrong-shape", "forward must return two things"),
    (lambda x: (x, 1, 2), None, "wrong-shape", "got 3 things"),
    (None, lambda d, c: (d, d), "wrong-shape", "returns 2 gradients for 1 array inputs"),
    (lambda x: (x / 0, None), None, "not-finite", "The output is not finite at"),
    (lambda x: (x.astype(np.float32), None), None, "wrong-dtype", "the inputs' dtype float64"),
    (lambda x: (x + RNG().random(), None), None, "nondeterministic", "forward gives two results"),
    (lambda x: (x.__iadd__(1) * 2, None), None, "mutates-input", "writes into its input x"),
])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_cannot_be_measured(forward, backward, code, words):
    report = gradcheck(forward or (lambda x: (x * 2, None)), backward or (lambda d, c: d * 2), [X], rng=RNG(0))
    assert report.diagnosis == code and words.lower() in report.message.lower(), report


def test_not_implemented_is_said_with_its_text():
    def todo(dout, cache):
        raise NotImplementedError("write dx here")
    report = gradcheck(lambda x: (x * 2, None), todo, [X], rng=RNG(0))
    assert report.diagnosis == "not-implemented" and "write dx here" in report.message


def test_an_interrupt_passes():
    def interrupted(dout, cache):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        gradcheck(lambda x: (x * 2, None), interrupted, [X], rng=RNG(0))
