"""What the judge says about functions that are wrong in other ways than the planted mistakes: forms, caches, gradients of some inputs."""
import re

import numpy as np
import pytest

from numpyvision import backend
from numpyvision.cache import Cache
from numpyvision.exercises import cases, catalog, judge, mutants, skeleton
from numpyvision.ops import conv, linear

ENTRY = {"title": "t", "row": "L16-S05", "statement": "s", "hints": ["a", "b", "c"], "picture": "box_iou"}
OURS = {
    "linear_forward": {"target": "numpyvision.ops.linear:linear_forward", "kind": "forward"},
    "linear_backward": {"target": "numpyvision.ops.linear:linear_backward", "kind": "backward"},
    "conv2d_dw": {"target": "numpyvision.ops.conv:conv2d_dw", "kind": "backward", "op": "conv2d", "gradient_of": ["w"]},
    "batch_norm_forward": {"target": "numpyvision.ops.norm:batch_norm_forward", "kind": "forward"},
    "sampled": {"target": "numpyvision.boxes.sampling:sample_labels", "kind": "function"},
}


@pytest.fixture(autouse=True)
def small_catalogue(monkeypatch):
    """A catalogue of our own: these tests do not depend on what the real one holds."""
    found = catalog.parse({"f": {"exercise": [{**ENTRY, "name": n, "lesson": i, **entry} for i, (n, entry) in enumerate(OURS.items())]}})
    monkeypatch.setattr(catalog, "load", lambda: found)
    for table in ("CASES", "OPTIONS", "CHECKS"):
        monkeypatch.setattr(cases, table, {})
    monkeypatch.setattr(mutants, "MISTAKES", {})


def verdict_on(name, function):
    found = judge.judge(name, function)
    return found.ok, found.diagnosis, found.message


def test_forward_and_backward_of_contracts_lines():
    assert verdict_on("linear_forward", lambda x, w, b=None: linear.linear_forward(x, w, b))[0]
    assert verdict_on("linear_backward", linear.linear_backward)[0]
    assert verdict_on("conv2d_dw", lambda dout, cache: conv.conv2d_dw(dout, cache))[0]


def test_forward_must_return_two_things():
    ok, code, said = verdict_on("linear_forward", lambda x, w, b=None: linear.linear_forward(x, w, b)[0])
    assert not ok and code == "wrong-shape" and "out and cache" in said


def test_a_cache_that_lacks_something_names_it():
    def forward(x, w, b=None):
        out, cache = linear.linear_forward(x, w, b)
        return out, {k: v for k, v in cache.items() if k != "w"}
    ok, code, said = verdict_on("linear_forward", forward)
    assert not ok and code == "wrong-forward" and "it lacks w" in said and "out is right" in said


def test_a_cache_that_holds_something_wrong_is_found():
    def forward(x, w, b=None):
        out, cache = linear.linear_forward(x, w, b)
        return out, Cache({**cache, "w": 2 * cache.w})
    ok, code, said = verdict_on("linear_forward", forward)
    assert not ok and code == "wrong-forward" and "something in the cache is wrong" in said


def test_a_plain_dict_is_a_cache():
    def forward(x, w, b=None):
        out, cache = linear.linear_forward(x, w, b)
        return out, dict(cache)
    assert verdict_on("linear_forward", forward)[0]


def test_a_wrong_gradient_comes_with_the_table_of_the_check():
    def backward(dout, cache):
        dx, dw, db = linear.linear_backward(dout, cache)
        return dx, -dw, db
    found = judge.judge("linear_backward", backward)
    assert not found.ok and found.diagnosis != "ok" and "w" in found.message and "rel. error" in found.details["table"]


def test_the_gradient_of_some_inputs_only():
    ok, code, said = verdict_on("conv2d_dw", lambda dout, cache: 2 * conv.conv2d_dw(dout, cache))
    assert not ok and "w" in said and code in ("constant-factor", "wrong-gradient", "wrong-forward")
    assert verdict_on("conv2d_dw", lambda dout, cache: conv.conv2d_dx(dout, cache))[1] == "wrong-shape"


def test_running_statistics_may_be_written_other_inputs_not():
    from numpyvision.ops import norm
    assert verdict_on("batch_norm_forward", norm.batch_norm_forward)[0]

    def forward(x, *args, **kwargs):
        out = norm.batch_norm_forward(x, *args, **kwargs)
        x -= 1
        return out
    ok, code, said = verdict_on("batch_norm_forward", forward)
    assert not ok and code == "mutates-input" and "input x" in said


def test_a_backward_that_writes_into_dout_or_cache():
    def backward(dout, cache):
        grads = linear.linear_backward(dout, cache)
        cache["w"] *= 2
        return grads
    ok, code, said = verdict_on("linear_backward", backward)
    assert not ok and code == "mutates-input" and "cache.w" in said


def test_own_check_where_many_answers_are_right(monkeypatch):
    monkeypatch.setitem(cases.CASES, "sampled", lambda rng: [([np.array([1, 0, 0, 1]), 2, .5, np.random.default_rng(0)], {})])
    monkeypatch.setitem(cases.CHECKS, "sampled", lambda args, kwargs, out: None if len(out) == 2 else ("wrong-forward", "two, please"))
    assert verdict_on("sampled", lambda labels, n, f, rng: rng.permutation(4)[:2])[0], "a generator starts anew for each call"
    assert verdict_on("sampled", lambda labels, n, f, rng: np.arange(3)) == (False, "wrong-forward", "two, please")


def test_a_known_mistake_is_told_from_another_that_looks_alike_on_one_case(monkeypatch):
    from numpyvision.exercises.planted import Bug
    doubled_once, doubled = (Bug("linear", "ops/linear.py", "", "", code, f"x is {code}") for code in ("shifted", "sign"))
    monkeypatch.setattr(mutants, "functions", lambda name: [
        (doubled_once, lambda x, w, b=None: linear.linear_forward(2 * x if x.ndim == 2 else x, w, b)),
        (doubled, lambda x, w, b=None: linear.linear_forward(2 * x, w, b))])
    ok, code, said = verdict_on("linear_forward", lambda x, w, b=None: linear.linear_forward(2 * x, w, b))
    assert not ok and code == "sign" and "x is sign. " in said
    assert not verdict_on("linear_forward", lambda x, w, b=None: linear.linear_forward(3 * x, w, b))[2].startswith("A known mistake")


def test_the_mode_is_readable_inside_and_restored_after():
    seen = []

    def forward(x, w, b=None):
        seen.append(backend.mode())
        return linear.linear_forward(x, w, b)
    judge.judge("linear_forward", forward)
    assert set(seen) == {"numpy"} and backend.mode() == "compiled"


def test_what_the_message_offers_gives_the_case_that_failed():
    def backward(dout, cache):
        dx, dw, db = linear.linear_backward(dout, cache)
        return dx, dw + 1, db
    found = judge.judge("linear_backward", backward, seed=3)
    namespace = {}
    exec(found.details["case"].splitlines()[-1].removeprefix("to have it in Python: "), namespace)
    row, column, value = re.search(r"at w\[(\d+), (\d+)\] backward gives (-?[\d.]+)", found.message).groups()
    dw = backward(namespace["dout"], namespace["cache"])[1]
    assert f"{dw[int(row), int(column)]:.6g}" == value, "the numbers of the message are those that the student gets"


def test_skeleton_says_what_the_cache_holds():
    forward, backward = (skeleton.skeleton(catalog.find(name)) for name in ("linear_forward", "linear_backward"))
    assert "cache = Cache(x=..., w=..., has_b=...)" in " ".join(forward.replace("#", "").split())
    assert "from numpyvision.cache import Cache" in forward
    assert "# cache holds" in backward and "w (5, 4) float64" in " ".join(backward.replace("#", "").split())
    for text in (forward, backward):
        assert "kernels" not in text and "get_array_module" not in text and '"""' in text
