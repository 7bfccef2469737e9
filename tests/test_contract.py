"""Every line of the contract table: on both paths, on the strict stand-in array, on a GPU where there is one; and no operation left out."""
import ast
import inspect
import pathlib

import numpy as np
import pytest
import strict_array

import numpyvision
from numpyvision import backend, contract, layers
from numpyvision.check import difference
from numpyvision.check.operation import differs, upstream
from numpyvision.layers.base import Layer

ROOT = pathlib.Path(numpyvision.__file__).parent
TABLE = contract.select()
OPS = [c for c in TABLE if isinstance(c, contract.OpCase)]


@pytest.mark.parametrize("case", TABLE, ids=lambda c: c.id)
def test_keeps_the_contract(case, mode):
    outcome = case.check()
    assert outcome, f"\n{outcome}\n{outcome.gradients}"


def test_ids_are_distinct():
    ids = [c.id for c in TABLE]
    assert len(set(ids)) == len(ids), [i for i in ids if ids.count(i) > 1]


def test_a_case_draws_the_same_numbers_every_time():
    first, second = (contract.select(["conv2d"])[0].arrays() for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean max_pool2d"):
        contract.select(["maxpool2d"])


@pytest.mark.parametrize("folder", ["ops", "losses"])
def test_every_operation_has_a_case(folder):
    written = [node.name.removesuffix("_forward") for path in sorted((ROOT / folder).glob("*.py"))
               for node in ast.parse(path.read_text()).body
               if isinstance(node, ast.FunctionDef) and node.name.endswith("_forward") and not node.name.startswith("_")]
    assert written, f"found no operation in {folder}/"
    assert set(written) <= {c.name for c in OPS}, "add a line to CASES in numpyvision/contract.py"


def test_every_layer_has_a_case():
    written = {node.name for path in sorted((ROOT / "layers").glob("*.py")) for node in ast.parse(path.read_text()).body
               if isinstance(node, ast.ClassDef) and node.name != "Layer"}
    assert written <= {c.name for c in TABLE}, "add a line to LAYERS in numpyvision/contract.py"
    assert all(inspect.isclass(c) and issubclass(c, Layer) for c in all_layers()), "only layers live in layers/"


def all_layers():
    return [value for path in sorted((ROOT / "layers").glob("[!_]*.py"))
            for value in vars(__import__(f"{layers.__name__}.{path.stem}", fromlist=["_"])).values()
            if inspect.isclass(value) and value.__module__.startswith(layers.__name__)]


# ---- array neutrality: the same results from arrays that are not NumPy's

def run(case, convert):
    """(out, grads) as NumPy, computed on arrays that `convert` made."""
    forward, backward = case.functions()
    out, cache = forward(*(convert(a) if isinstance(a, np.ndarray) else a for a in case.arrays()), **case.statics())
    assert_all_of(type(convert(np.zeros(1))), out)
    grads = backward(to(convert, upstream(to(backend.to_numpy, out))), cache)
    assert_all_of(type(convert(np.zeros(1))), grads)
    return to(backend.to_numpy, out), to(backend.to_numpy, grads if isinstance(grads, tuple) else (grads,))


def to(convert, value):
    if isinstance(value, (tuple, list)):
        return type(value)(to(convert, v) for v in value)
    return value if value is None or isinstance(value, (float, int)) else convert(value)


def assert_all_of(cls, value):
    for name, leaf in difference.leaves(value):
        assert isinstance(leaf, (cls, float)), f"{name} came back as {type(leaf).__name__}"


def assert_equal(case, convert, tolerance):
    with numpyvision.use("numpy"):
        expected_out, expected_grads = run(case, np.array)
        out, grads = run(case, convert)
    assert differs(out, expected_out, tolerance, "the output") is None
    assert differs(grads, expected_grads, tolerance, "gradient") is None


@pytest.mark.parametrize("case", OPS, ids=lambda c: c.id)
def test_runs_on_the_strict_array(case):
    assert_equal(case, strict_array.module.asarray, 1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("case", OPS, ids=lambda c: c.id)
def test_runs_on_the_gpu(case):
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device")
    assert_equal(case, cupy.asarray, 1e-10)


# ---- the stand-in itself is strict

MIXES = {
    "strict + numpy": lambda s, a: s + a,
    "numpy + strict": lambda s, a: a + s,
    "in place": lambda s, a: s.__iadd__(a),
    "numpy function": lambda s, a: np.exp(s),
    "np.asarray": lambda s, a: np.asarray(s),
    "np.concatenate": lambda s, a: np.concatenate([s, s]),
    "numpy index": lambda s, a: s[a.astype(int)],
    "numpy value": lambda s, a: s.__setitem__(slice(0, 1), a[0:1]),
    "xp.maximum": lambda s, a: strict_array.module.maximum(s, a),
    "xp.where": lambda s, a: strict_array.module.where(s > 0, s, a),
    "xp.concatenate": lambda s, a: strict_array.module.concatenate([s, a]),
    "xp.add.at": lambda s, a: strict_array.module.add.at(s, a.astype(int), 1.0),
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_strict_array_refuses_numpy(mix):
    a = np.arange(3.0)
    with pytest.raises(TypeError):
        mix(strict_array.module.asarray(a), a)


def test_strict_array_takes_its_own_and_scalars():
    xp, s = strict_array.module, strict_array.module.asarray(np.arange(3.0))
    assert backend.get_array_module(s) is xp
    assert backend.to_numpy(np.float64(2) * s + s / 2 - 1).tolist() == [-1, 1.5, 4]
    backend.scatter_add(s, xp.asarray(np.array([0, 0, 2])), xp.asarray(np.ones(3)))
    assert s.get().tolist() == [2, 1, 3]
