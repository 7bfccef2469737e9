"""check/gradcheck.py: right gradients pass, each kind of wrong one is found and named, and a kink is not called a bug."""
import numpy as np
import pytest

from numpyvision.check import adjoint_check, gradcheck

RNG = np.random.default_rng


def randn(*shape, seed=0):
    return RNG(seed).standard_normal(shape)


def scaled_forward(x, w, b=None, power=2):
    """x (N, D) * w (D,)**power + b."""
    return x * w ** power + (0 if b is None else b), (x, w, b, power)


def scaled_backward(dout, cache):
    x, w, b, power = cache
    return dout * w ** power, (dout * x * power * w ** (power - 1)).sum(0), None if b is None else dout.sum(0)


def check(backward, *args, forward=scaled_forward, **options):
    return gradcheck(forward, backward, args or (randn(3, 4), randn(4, seed=1), randn(4, seed=2)), rng=RNG(5), **options)


def test_right_gradient_passes_far_below_the_tolerance():
    report = check(scaled_backward)
    assert report and report.ok and report.diagnosis == "ok" and report.message == ""
    assert report.error < 1e-9 and all(r.error < 1e-9 for r in report.rows)
    assert [r.name for r in report.rows] == ["x", "w", "b"] and [r.shape for r in report.rows] == [(3, 4), (4,), (4,)]


def test_statics_and_an_absent_input():
    assert check(scaled_backward, randn(3, 4), randn(4), None)
    assert check(scaled_backward, randn(3, 4), randn(4), kwargs={"power": 3})


@pytest.mark.parametrize("wrong, name", [
    (lambda dx, dw, db: (dx * 1.0001, dw, db), "x"),
    (lambda dx, dw, db: (dx, dw + 1e-4, db), "w"),
    (lambda dx, dw, db: (dx, dw, -db), "b"),
    (lambda dx, dw, db: (dx, dw, np.zeros_like(db)), "b"),
])
def test_wrong_gradient_names_the_input(wrong, name):
    report = check(lambda dout, cache: wrong(*scaled_backward(dout, cache)))
    assert not report and report.diagnosis not in ("ok", "kink")
    assert report.message.startswith(f"The gradient of {name} is wrong: at {name}[")
    assert [r.name for r in report.rows if r.diagnosis != "ok"] == [name]


@pytest.mark.parametrize("shape, index", [((5, 4), (3, 2)), ((300, 4), (257, 1))], ids=["every element", "halving"])
def test_one_wrong_element_is_found_with_both_values(shape, index):
    x, w = randn(*shape), randn(4, seed=1)

    def backward(dout, cache):
        dx, dw, db = scaled_backward(dout, cache)
        backward.right = dx[index]
        dx[index] += 0.25
        return dx, dw, db
    row = check(backward, x, w).rows[0]
    assert row.index == index and row.diagnosis not in ("ok", "kink")
    assert row.analytic - row.numeric == pytest.approx(0.25, abs=1e-7) and row.numeric == pytest.approx(backward.right, abs=1e-7)


def test_elementwise_can_be_asked_for_or_switched_off():
    x, w = randn(3, 4), randn(4)
    assert {r.checked for r in check(scaled_backward, x, w).rows} == {"one direction"}
    assert {r.checked for r in check(scaled_backward, randn(50, 4), w, elementwise=True).rows} == {"every element"}
    assert not check(lambda d, c: (2 * scaled_backward(d, c)[0], *scaled_backward(d, c)[1:]), x, w, elementwise=False)


def test_malformed_gradients():
    def diagnosis(change):
        report = check(lambda dout, cache: change(*scaled_backward(dout, cache)))
        return report.diagnosis, report.message
    assert diagnosis(lambda dx, dw, db: (dx, dw)) == (
        "wrong-shape", "Backward returns no gradient for b: it owes one for each floating input, in forward's order.")
    code, message = diagnosis(lambda dx, dw, db: (dx, dw[None], db))
    assert code == "wrong-shape" and message.startswith("The gradient of w must have w's shape (4,), got (1, 4).")
    assert diagnosis(lambda dx, dw, db: (dx.astype(np.float32), dw, db))[0] == "wrong-dtype"
    code, message = diagnosis(lambda dx, dw, db: (np.where(np.arange(4) == 2, np.inf, dx), dw, db))
    assert code == "not-finite" and message.startswith("The gradient of x is not finite at [0, 2]: inf.")


def test_nan_from_forward_fails():
    def forward(x):
        return np.where(x > RNG(0).standard_normal(4).max() - 1e-12, np.nan, x), None
    assert not gradcheck(forward, lambda d, c: d.copy(), [RNG(0).standard_normal(4)], rng=RNG(1))


# ---- kinks

def relu(x):
    return np.maximum(x, 0), x > 0


@pytest.mark.parametrize("at", [0.0, 4e-9, -4e-9])
def test_a_kink_is_called_a_kink(at):
    report = gradcheck(relu, lambda d, m: d * m, [np.array([-1.0, at, 2])], rng=RNG(1))
    assert report.diagnosis == "kink" and report.rows[0].index == (1,) and "The input sits on a kink at x[1]:" in report.message


@pytest.mark.parametrize("near", [4e-6, -4e-6, 3e-7])
def test_a_kink_nearby_is_stepped_over(near):
    assert gradcheck(relu, lambda d, m: d * m, [np.array([-1.0, near, 2])], rng=RNG(1))
    assert gradcheck(relu, lambda d, m: d * m * 2, [np.array([-1.0, near, 2])], rng=RNG(1)).diagnosis == "constant-factor"


def test_a_wrong_gradient_beside_a_kink_is_a_bug():
    """The slopes of relu at 0 are 0 and dout. What lies between may be somebody's choice; 1.5 dout is not."""
    assert gradcheck(relu, lambda d, m: d * (m + d.dtype.type(0.5) * (np.arange(3) == 1)), [np.array([-1.0, 0.0, 2])], rng=RNG(1),
                     keeps_dtype=False)
    report = gradcheck(relu, lambda d, m: d * (m + 1.5 * (np.arange(3) == 1)), [np.array([-1.0, 0.0, 2])], rng=RNG(1))
    assert report.diagnosis not in ("ok", "kink") and report.rows[0].index == (1,)


def test_strong_curvature_is_no_kink():
    report = gradcheck(lambda x: (np.exp(8 * x), x), lambda d, x: d * np.exp(8 * x) * 7, [np.array([0.5, 1.0])], rng=RNG(1))
    assert report.diagnosis == "constant-factor" and "7/8" in report.message


# ---- what is an input, what an output

def test_integers_booleans_and_none_are_constants():
    def forward(x, index, mask, nothing):
        return np.where(mask, x[index], 0), (x.shape, index, mask)

    def backward(dout, cache):
        dx = np.zeros(cache[0], dout.dtype)
        np.add.at(dx, cache[1], np.where(cache[2], dout, 0))
        return dx, None, None, None
    report = gradcheck(forward, backward, [randn(5), np.array([0, 0, 3]), np.array([True, True, False]), None], rng=RNG(0))
    assert report and len(report.rows) == 1


def test_constants_are_not_owed_a_gradient():
    def forward(pred, target):
        return ((pred - target) ** 2).sum(), pred - target
    assert gradcheck(forward, lambda d, c: 2 * d * c, [randn(3), randn(3, seed=1)], rng=RNG(0), constants=("target",))
    assert gradcheck(forward, lambda d, c: 2 * d * c, [randn(3), randn(3, seed=1)], rng=RNG(0)).diagnosis == "wrong-shape"


def test_fixed_columns_do_not_move():
    def forward(x, rows):                                        # rows (R, 2) = (index, factor): the index is a float that must stay whole
        return x[rows[:, 0].astype(int)] * rows[:, 1], (x, rows)

    def backward(dout, cache):
        x, rows = cache
        dx, drows = np.zeros_like(x), np.zeros_like(rows)
        np.add.at(dx, rows[:, 0].astype(int), dout * rows[:, 1])
        drows[:, 1] = dout * x[rows[:, 0].astype(int)]
        return dx, drows
    args = [randn(4), np.array([[3, 0.5], [1, 2.0], [3, 1.5]])]
    assert gradcheck(forward, backward, args, rng=RNG(0), fixed={"rows": [0]})
    assert not gradcheck(forward, backward, args, rng=RNG(0))


@pytest.mark.parametrize("pack", [
    lambda a, b: (a, b), lambda a, b: [a, b], lambda a, b: {"a": a, "b": b}, lambda a, b: {"levels": [a, (b,)]}, lambda a, b: (a, b, None),
], ids=["tuple", "list", "dict", "nested", "with None"])
def test_outputs_may_be_structures(pack):
    def unpack(dout):
        flat = []

        def walk(d):
            for v in d.values() if isinstance(d, dict) else d if isinstance(d, (list, tuple)) else [None]:
                flat.append(v) if isinstance(v, np.ndarray) else walk(v) if v is not None else None
        walk(dout)
        return flat

    def backward(dout, x):
        da, db = unpack(dout)
        assert type(dout) is type(pack(0, 0))
        return da * 2 * x + db * np.cos(x)
    assert gradcheck(lambda x: (pack(x * x, np.sin(x)), x), backward, [randn(3)], rng=RNG(0))
    assert not gradcheck(lambda x: (pack(x * x, np.sin(x)), x), lambda d, x: unpack(d)[0] * 2 * x, [randn(3)], rng=RNG(0))


@pytest.mark.parametrize("scalar", [float, np.float64, np.asarray], ids=["float", "np.float64", "0-d"])
def test_scalar_output_gets_a_scalar_upstream(scalar):
    def backward(dout, x):
        assert np.ndim(dout) == 0
        return dout * 2 * x
    assert gradcheck(lambda x: (scalar((x * x).sum()), x), backward, [randn(3)], rng=RNG(0))
    assert not gradcheck(lambda x: (scalar((x * x).sum()), x), lambda d, x: 2 * x, [randn(3)], rng=RNG(0))         # forgets the loss weight


def test_upstream_gradient_is_random():
    """All ones would not see that the mean's path is missing: the outputs sum to zero whatever x is."""
    def forward(x):
        return x - x.mean(), None
    assert gradcheck(forward, lambda d, c: d - d.mean(), [randn(5)], rng=RNG(0))
    assert not gradcheck(forward, lambda d, c: np.zeros_like(d), [randn(5)], rng=RNG(0))


def test_float32_is_promoted_and_said_so():
    seen = []

    def forward(x):
        seen.append(x.dtype)
        return x * x, x
    report = gradcheck(forward, lambda d, x: 2 * d * x, [randn(3).astype(np.float32)], rng=RNG(0))
    assert report and report.error < 1e-8 and seen[-1] == np.float32 and set(seen[:-1]) == {np.dtype(np.float64)}
    assert report.notes == ["x came as float32 and was checked in float64"]


def test_a_generator_starts_anew_in_every_forward():
    def forward(x, rng):
        keep = rng.random(x.shape) < 0.5
        return x * keep, keep
    assert gradcheck(forward, lambda d, keep: d * keep, [randn(20)], {"rng": RNG(3)}, rng=RNG(0))


def test_forward_may_write_its_copies_where_that_is_allowed():
    x = randn(3)

    def forward(x):
        y = x * x
        x += 1
        return y, np.sqrt(y) * np.sign(x - 1)
    before = x.copy()
    assert gradcheck(forward, lambda d, r: 2 * d * r, [x], rng=RNG(0), mutates=("x",)) and np.array_equal(x, before)
    assert gradcheck(forward, lambda d, r: 2 * d * r, [x], rng=RNG(0)).diagnosis == "mutates-input" and np.array_equal(x, before)


def test_empty_and_zero_gradients():
    assert gradcheck(lambda x: (x * 2, None), lambda d, c: d * 2, [np.zeros((0, 3))], rng=RNG(0))
    assert gradcheck(lambda x: (x * 0 + 5, None), lambda d, c: d * 0, [randn(4)], rng=RNG(0))
    assert not gradcheck(lambda x: (x * 0 + 5, None), lambda d, c: d * 1e-4, [randn(4)], rng=RNG(0))


def test_same_seed_same_report():
    assert repr(check(scaled_backward)) == repr(check(scaled_backward))


def test_repr_is_a_table():
    lines = repr(check(scaled_backward, title="scaled")).splitlines()
    assert lines[0].startswith("scaled: ok, directional error")
    assert lines[1].split() == ["input", "shape", "rel.", "error", "worst", "at", "backward", "difference", "checked"]
    assert lines[2].split()[:2] == ["x", "3x4"]


# ---- adjoint

def test_adjoint_of_a_matrix_is_its_transpose():
    a = randn(3, 5)
    assert adjoint_check(lambda x: a @ x, lambda y: a.T @ y, (5, 2), (3, 2), rng=RNG(0)) < 1e-14
    assert adjoint_check(lambda x: a @ x, lambda y: a.T @ y * 1.0001, (5, 2), (3, 2), rng=RNG(0)) > 1e-6


def test_adjoint_shapes_are_explained():
    with pytest.raises(ValueError, match="must be the other way round"):
        adjoint_check(lambda x: x[:2], lambda y: y, (3,), (2,), rng=RNG(0))
