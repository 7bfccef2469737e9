"""Optimisers by hand: the numbers of the update rules, in place, and what they refuse."""
import copy
import pickle

import numpy as np
import pytest

import numpyvision
from numpyvision.training import optim

RULES = {
    "sgd": lambda p, **k: optim.SGD(p, 0.1, momentum=0.9, **k),
    "nesterov": lambda p, **k: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, **k),
    "adam": lambda p, **k: optim.Adam(p, 0.1, **k),
    "adamw": lambda p, **k: optim.AdamW(p, 0.1, **{"weight_decay": 0.1, **k}),
}


def two_params(dtype=np.float64, rng_seed=0):
    rng = np.random.default_rng(rng_seed)
    return {"conv.w": rng.standard_normal((3, 5)).astype(dtype), "conv.b": rng.standard_normal(3).astype(dtype)}


def as_grads(params, rng):
    return {"conv": {name.split(".")[1]: rng.standard_normal(p.shape).astype(p.dtype) for name, p in params.items()}}


def test_sgd_two_steps_by_hand():
    p = np.array([[1.0]])
    sgd = optim.SGD({"w": p}, lr=0.1, momentum=0.5, weight_decay=0.2)
    sgd.step({"w": np.array([[1.0]])})          # v = 1 + 0.2 * 1 = 1.2            p = 1 - 0.12 = 0.88
    np.testing.assert_allclose(p, [[0.88]], rtol=1e-15)
    sgd.step({"w": np.array([[1.0]])}, lr=1.0)  # v = 0.6 + 1 + 0.176 = 1.776      p = 0.88 - 1.776
    np.testing.assert_allclose(p, [[-0.896]], rtol=1e-15)


def test_nesterov_looks_ahead():
    p = np.array([[1.0]])
    optim.SGD({"w": p}, lr=0.1, momentum=0.5, nesterov=True).step({"w": np.array([[2.0]])})      # 2 + 0.5 * 2 = 3
    np.testing.assert_allclose(p, [[0.7]], rtol=1e-15)


@pytest.mark.parametrize("gradient", [1e-3, 1.0, -50.0])
def test_adam_first_step_is_lr_whatever_the_gradient(gradient):
    p = np.array([[1.0]])
    optim.Adam({"w": p}, lr=0.1).step({"w": np.array([[gradient]])})
    np.testing.assert_allclose(p, [[1 - 0.1 * np.sign(gradient)]], rtol=1e-5)


def test_adamw_shrinks_the_parameter_itself():
    p = np.array([[2.0]])
    optim.AdamW({"w": p}, lr=0.1, weight_decay=0.5).step({"w": np.array([[0.0]])})               # no gradient: 2 * (1 - 0.05)
    np.testing.assert_allclose(p, [[1.9]], rtol=1e-15)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_paths_agree_in_place_and_keep_dtype(rule, dtype):
    results = []
    for mode in ("numpy", "compiled"):
        with numpyvision.use(mode):
            params, rng = two_params(dtype), np.random.default_rng(1)
            arrays, optimizer = dict(params), RULES[rule](params, weight_decay=0.01)
            for _ in range(5):
                optimizer.step(as_grads(params, rng))
        assert all(params[n] is arrays[n] and params[n].dtype == dtype for n in params)
        results.append(params)
    tolerance = {"rtol": 1e-13} if dtype == np.float64 else {"rtol": 3e-6, "atol": 1e-6}
    for name in results[0]:
        assert not np.array_equal(results[0][name], two_params(dtype)[name])
        np.testing.assert_allclose(results[0][name], results[1][name], **tolerance)


@pytest.mark.parametrize("rule", RULES)
def test_one_call_updates_arrays_of_every_size_and_dtype(rule):
    """A kernel gets them all cut into pieces: nothing is left out, met twice, or updated with another array's gradient."""
    shapes = {"none": (0, 3), "scalar": (), "one": (1,), "piece": (16384,), "more": (3, 16385), "many": (70, 1000), "double": (5, 4000)}
    results = []
    for mode in ("numpy", "compiled"):
        rng = np.random.default_rng(2)
        draw = lambda name, rng=rng: np.asarray(rng.standard_normal(shapes[name]), np.float64 if name == "double" else np.float32)
        params = {name: draw(name) for name in shapes}
        with numpyvision.use(mode):
            optimizer = RULES[rule](params, weight_decay=0.01)
            for _ in range(3):
                optimizer.step({name: draw(name) for name in shapes})
        results.append({**params, **optimizer.state})
    for name, array in results[0].items():
        np.testing.assert_allclose(results[1][name], array, rtol=3e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_a_copy_updates_its_own_arrays(copied):
    """The kernels find arrays by their addresses: those of the copied optimiser must not be used for the copy."""
    grads = {"w": np.ones((2, 3))}
    first = optim.SGD({"w": np.zeros((2, 3))}, 1.0)
    first.step(grads)
    second = copied(first)
    second.step(grads)
    assert (first.params["w"] == -1).all() and (second.params["w"] == -2.9).all()
    second.params["w"] = np.zeros((2, 3))                                                        # nor those of an array that was replaced
    second.state["momentum.w"] = np.zeros((2, 3))
    second.step(grads)
    assert (second.params["w"] == -1).all() and (second.state["momentum.w"] == 1).all()


def test_a_parameter_that_may_not_be_written_is_not():
    p = np.zeros((2, 3))
    optimizer = optim.SGD({"w": p}, 1.0)
    p.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        optimizer.step({"w": np.ones((2, 3))})
    assert not p.any()


@pytest.mark.parametrize("rule", RULES)
def test_gradients_are_not_written_and_may_be_strided(rule):
    params = {"w": np.ones((4, 6))}
    g = np.random.default_rng(0).standard_normal((6, 4)).T
    g.flags.writeable = False
    strided, plain = RULES[rule](params), {"w": np.ones((4, 6))}
    strided.step({"w": g})
    RULES[rule](plain).step({"w": np.ascontiguousarray(g)})
    np.testing.assert_array_equal(params["w"], plain["w"])


def test_a_strided_parameter_is_updated_too():
    whole = np.ones((2, 5))
    optim.SGD({"w": whole[:, ::2]}, lr=1.0).step({"w": np.ones((2, 3))})
    np.testing.assert_array_equal(whole, [[0, 1, 0, 1, 0]] * 2)


def test_weight_decay_spares_vectors_unless_told():
    for decay_1d, expected in ((False, 1.0), (True, 0.9)):
        params = {"w": np.ones((1, 1)), "b": np.ones(1)}
        optim.SGD(params, lr=1.0, weight_decay=0.1, decay_1d=decay_1d).step({"w": np.zeros((1, 1)), "b": np.zeros(1)})
        assert params["w"].item() == 0.9 and params["b"].item() == expected


def test_names_must_be_equal():
    optimizer = optim.SGD(two_params(), 0.1)
    with pytest.raises(ValueError, match=r"missing conv\.b, extra conv\.gamma"):
        optimizer.step({"conv": {"w": np.zeros((3, 5)), "gamma": np.zeros(3)}})
    assert optimizer.steps == 0


@pytest.mark.parametrize("g", [np.zeros((5, 3)), np.zeros((3, 5), np.float32)])
def test_shape_and_dtype_must_be_equal(g):
    params = two_params()
    before = {n: p.copy() for n, p in params.items()}
    with pytest.raises(ValueError, match=r"gradient of conv\.w must be \(3, 5\) float64"):
        optim.SGD(params, 0.1).step({"conv": {"b": np.ones(3), "w": g}})
    np.testing.assert_array_equal(params["conv.b"], before["conv.b"])


def test_wrong_settings_are_refused():
    p = np.zeros((2, 2))
    for params, settings, text in [
            ([], {}, "at least one parameter"), ([("w", p), ("w", p + 1)], {}, r"twice: \['w'\]"),
            ([("w", p), ("u", p)], {}, "one array under"),
            ({"w": np.zeros(2, int)}, {}, "int64"), ({"w": p}, {"lr": -1}, "lr"), ({"w": p}, {"lr": float("nan")}, "lr"),
            ({"w": p}, {"momentum": 1.0}, "momentum"), ({"w": p}, {"momentum": 0, "nesterov": True}, "nesterov")]:
        with pytest.raises(ValueError, match=text):
            optim.SGD(params, **{"lr": 0.1, **settings})
    with pytest.raises(ValueError, match=r"betas\[1\]"):
        optim.Adam({"w": p}, betas=(0.9, 1))


@pytest.mark.parametrize("rule", RULES)
def test_state_goes_out_and_in_bit_exactly(rule):
    params, rng = two_params(), np.random.default_rng(2)
    first = RULES[rule](params)
    for _ in range(3):
        first.step(as_grads(params, rng))
    copies = {n: p.copy() for n, p in params.items()}
    second = RULES[rule](copies)
    second.load_state_dict({n: a.copy() for n, a in first.state_dict().items()})
    grads = as_grads(params, rng)
    first.step(grads); second.step(grads)
    for name in params:
        np.testing.assert_array_equal(params[name], copies[name])


def test_foreign_state_is_refused_and_changes_nothing():
    sgd, adam = optim.SGD(two_params(), 0.1), optim.Adam(two_params(), 0.1)
    with pytest.raises(ValueError, match=r"missing momentum\.conv\.w"):
        sgd.load_state_dict(adam.state_dict())
    state = {n: a + 1 for n, a in sgd.state_dict().items()}
    state["momentum.conv.b"] = np.zeros(4)
    with pytest.raises(ValueError, match=r"momentum\.conv\.b must be \(3,\)"):
        sgd.load_state_dict(state)
    assert sgd.steps == 0 and not sgd.state["momentum.conv.w"].any()


@pytest.mark.parametrize("mode", ["numpy", "compiled"])
def test_clip_grad_norm_by_hand(mode):
    grads = {"a": np.array([3.0, 0.0]), "b": [np.array([[4.0]]), None]}
    with numpyvision.use(mode):
        same, norm = optim.clip_grad_norm(grads, 5.0)
        assert norm == 5.0 and same is grads
        clipped, norm = optim.clip_grad_norm(grads, 1.0)
        assert norm == 5.0 and grads["a"][0] == 3.0                          # pure
        np.testing.assert_allclose(clipped["a"], [0.6, 0.0], rtol=1e-15)
        np.testing.assert_allclose(clipped["b"][0], [[0.8]], rtol=1e-15)
        assert optim.clip_grad_norm(grads, None) == (grads, 5.0)


@pytest.mark.parametrize("mode", ["numpy", "compiled"])
def test_clip_grad_norm_of_large_float32_and_of_nan(mode):
    with numpyvision.use(mode):
        clipped, norm = optim.clip_grad_norm({"w": np.full((2, 2), 1e30, np.float32)}, 1.0)       # squares overflow float32
        np.testing.assert_allclose(norm, 2e30, rtol=1e-6)
        assert clipped["w"].dtype == np.float32
        np.testing.assert_allclose(clipped["w"], 0.5, rtol=1e-6)
        bad = {"w": np.array([1.0, np.nan])}
        same, norm = optim.clip_grad_norm(bad, 1.0)
        assert np.isnan(norm) and same is bad
