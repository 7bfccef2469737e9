"""The zoo: each bug is still where it was planted, really changes something, and is detected; correct operations raise no alarm."""
import copy
import importlib

import numpy as np
import pytest

import numpyvision
from numpyvision import check, contract
from numpyvision.check import difference
from numpyvision.exercises import planted, zoo, zoo_cases, zoo_shapes
from numpyvision.exercises.bugs_seen import SEEN
from numpyvision.exercises.bugs_unseen import UNSEEN
from numpyvision.exercises.planted import Bug

BUGS = SEEN + UNSEEN
# what an independent look at the bug must find; every other code must change numbers, or the shape of a gradient
SHOWS = {"raises": "raises", "wrong-dtype": "dtype", "mutates-input": "writes", "nondeterministic": "varies", "wrong-shape": "shape",
         "not-implemented": "nothing"}


def each(bugs):
    return pytest.mark.parametrize("bug", bugs, ids=lambda b: f"{b.op}-{b.code}-{b.why}".replace(" ", "_"))


# ---- an independent look: the right backward beside the wrong one, no finite differences

def pair(bug):
    """The right forward's result, and two functions dout -> gradients: the right one, and the wrong one (its cache, too)."""
    case, right, wrong = zoo_cases.of(bug), importlib.import_module(bug.plant().__name__), bug.plant()
    args = case.arrays()
    if isinstance(case, zoo_cases.LayerCase):
        good, bad = case.build(right), case.build(wrong)
        out, cache = good.forward(*copy.deepcopy(args))
        wrong_cache = bad.forward(*copy.deepcopy(args))[1]
        return out, lambda dout: good.backward(dout, cache), lambda dout: bad.backward(dout, wrong_cache), wrong_cache
    forward, backward = case.functions()
    out, cache = forward(*copy.deepcopy(args), **case.statics())
    wrong_backward = getattr(wrong, backward.__name__)
    return out, lambda dout: backward(dout, cache), lambda dout: wrong_backward(dout, cache), cache


def what_differs(bug):
    """How the wrong backward differs from the right one: "raises", "nothing", "writes", "shape", "dtype", "varies", "numbers" or "same"."""
    with numpyvision.use("numpy"):
        if bug.code == "wrong-forward":
            return forward_differs(bug)
        out, right, wrong, cache = pair(bug)
        dout = difference.random_like(out, np.random.default_rng(5))
        expected, before = flat(right(dout)), copy.deepcopy([v for _, v in flat([dout, dict(cache)])])
        try:
            got = wrong(dout)
        except NotImplementedError:
            return "nothing"
        except Exception:
            return "raises"
        if not all(np.array_equal(a, b) for a, (_, b) in zip(before, flat([dout, dict(cache)]), strict=True)):
            return "writes"
        return "nothing" if got is None else compare(expected, flat(got), flat(wrong(dout)))


def compare(expected, got, again):
    if [(n, np.shape(a)) for n, a in expected] != [(n, np.shape(a)) for n, a in got]:
        return "shape"
    if any(a.dtype != b.dtype for (_, a), (_, b) in zip(expected, got, strict=True)):
        return "dtype"
    if not all(np.array_equal(a, b, equal_nan=True) for (_, a), (_, b) in zip(got, again, strict=True)):
        return "varies"
    close = [np.allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max(initial=0)) for (_, a), (_, b) in zip(expected, got, strict=True)]
    return "same" if all(close) else "numbers"


def forward_differs(bug):
    case, wrong = zoo_cases.of(bug), bug.plant()
    forward = case.functions()[0]
    out, got = (f(*case.arrays(), **case.statics())[0] for f in (forward, getattr(wrong, forward.__name__)))
    return "same" if np.shape(out) == np.shape(got) and np.allclose(out, got, rtol=1e-3) else "numbers"


def flat(tree, name=""):
    """[(dotted name, array)] of nested tuples, lists and dicts, without what is no array."""
    if isinstance(tree, (dict, list, tuple)):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [leaf for key, value in items for leaf in flat(value, f"{name}.{key}")]
    return [(name, np.asarray(tree))] if hasattr(tree, "dtype") else []


@each(BUGS)
def test_a_bug_changes_what_its_code_says(bug):
    found = what_differs(bug)
    # a swapped or unsummed gradient may have another shape than it owes: that is how it shows
    by_shape = ["shape"] if bug.code in ("swapped-gradients", "missing-sum") else []
    assert found in [SHOWS.get(bug.code, "numbers"), *by_shape], f"{bug.op}, {bug.why}: {found}"


def test_the_zoo_is_as_large_as_it_says():
    for half in (SEEN, UNSEEN):
        assert len(half) >= 110 and len({b.op for b in half}) >= 20
        missing = set(check.DIAGNOSES) - {b.code for b in half} - {"ok", "kink", "unknown", "not-finite"}
        assert not missing, f"no bug is {missing}"
    assert len({(b.file, b.old, b.new) for b in BUGS}) >= len(BUGS) - 4               # no bug twice (a few run on two cases)
    assert {b.code for b in BUGS} <= set(check.DIAGNOSES)


# ---- the zoo itself

@pytest.fixture(scope="module")
def found():
    """What gradcheck says about every bug: {half: [Found]}."""
    return {half: zoo.run(bugs) for half, bugs in zoo.HALVES.items()}


def test_every_bug_is_detected(found):
    missed = [f for half in found.values() for f in half if not f.detected]
    assert not missed, "\n" + zoo.misnamed(missed)


@pytest.mark.parametrize("half", zoo.HALVES)
def test_nine_of_ten_are_named_right(found, half):
    right = sum(f.named for f in found[half])
    assert right >= 0.9 * len(found[half]), zoo.summary(found[half], half) + "\n" + zoo.misnamed(found[half])


def test_correct_operations_raise_no_alarm():
    wrong = zoo.alarms(150, seed=7, modes=("numpy",))
    assert not wrong, "\n".join(f"{trial}: {report.message}" for trial, _, report in wrong)


def test_an_alarm_is_an_alarm(monkeypatch):
    trial = zoo_shapes.draw_sigmoid(np.random.default_rng(0))
    assert trial.gradcheck(np.random.default_rng(0)).ok
    wrong = planted.plant("ops/activation.py", [("return dout * out * (1 - out)", "return dout * out * (1 + out)")])
    monkeypatch.setattr(contract, "operations", lambda: {"sigmoid": (wrong.sigmoid_forward, wrong.sigmoid_backward)})
    with numpyvision.use("numpy"):                                     # the compiled loop has no bug
        assert not trial.gradcheck(np.random.default_rng(0)).ok


@pytest.mark.parametrize("make", zoo.DRAWERS, ids=lambda f: f.__name__)
def test_random_shapes_are_taken_by_their_operation(make):
    for i in range(8):
        trial = make(np.random.default_rng([3, i]))
        forward = trial.layer.forward if trial.layer is not None else contract.operations()[trial.name][0]
        with numpyvision.use("numpy"):
            forward(*trial.args, **trial.kwargs)


def test_text_of_the_outcome():
    bug = Bug("relu", "ops/activation.py", "a", "b", "sign", "minus")
    found = [zoo.Found(bug, "sign", ""), zoo.Found(bug, "ok", "all is\nwell")]
    assert "2 bugs in 1 operations   detected 1 (50.0%)   named right 1 (50.0%)" in zoo.summary(found)
    rows = [line.split() for line in zoo.confusion(found).splitlines()]
    assert rows[0] == ["planted", "bugs", "right", "a", "b"] and rows[1] == ["sign", "b", "2", "50%", "1", "1"]
    assert zoo.misnamed(found).count("\n") == 1 and "planted sign, called ok: all is well" in zoo.misnamed(found)


def test_command(capsys):
    from numpyvision import cli
    assert cli.run(["check", "zoo", "--seen", "--op", "sigmoid", "--alarms", "3"]) == 0
    text = capsys.readouterr().out
    assert "5 bugs in 1 operations   detected 5 (100.0%)" in text and "0 false alarms in 3 random shapes" in text
    assert cli.run(["check", "zoo", "--op", "no_such_operation"]) == 2


# ---- planting

def test_planting_needs_the_place_exactly_once():
    with pytest.raises(ValueError, match="exactly once.*found 0"):
        planted.plant("ops/linear.py", [("no such text", "x")])
    with pytest.raises(ValueError, match=r"found \d\d"):
        planted.plant("ops/linear.py", [("dout", "x")])


def test_planting_leaves_the_real_module_alone():
    from numpyvision.ops import linear
    wrong = planted.plant("ops/linear.py", [("dw = rows.T @ dout ", "dw = -rows.T @ dout ")])
    assert wrong is not linear and wrong.__name__ == "numpyvision.ops.linear"
    x, w, dout = np.ones((1, 2)), np.ones((2, 1)), np.ones((1, 1))
    with numpyvision.use("numpy"):
        (_, right), (_, cache) = linear.linear_forward(x, w), wrong.linear_forward(x, w)
        assert (linear.linear_backward(dout, right)[1] == 1).all() and (wrong.linear_backward(dout, cache)[1] == -1).all()
