"""backend.py: which library an array belongs to, and which arrays a kernel may have."""
import numpy as np
import pytest
import strict_array

import numpyvision
from numpyvision import backend

F64, F32 = np.zeros(3), np.zeros(3, np.float32)


def test_array_module_of_numpy_lists_scalars_and_nothing():
    assert all(backend.get_array_module(a) is np for a in (F64, np.float32(1), 2.0, [1, 2], None))
    assert backend.get_array_module() is np


def test_array_module_is_the_first_foreign_arrays():
    s = strict_array.module.asarray(F64)
    assert backend.get_array_module(None, s) is strict_array.module


def test_array_module_of_cupy_is_recognised_by_its_name(monkeypatch):
    """No GPU here: a module that calls itself cupy, and an array type that says it comes from there."""
    import sys
    import types
    fake = types.ModuleType("cupy")
    array_type = type("ndarray", (), {"__module__": "cupy"})
    monkeypatch.setitem(sys.modules, "cupy", fake)
    assert backend.get_array_module(F64, array_type()) is fake


def test_compiled_wants_numpy_arrays_of_one_floating_dtype():
    with numpyvision.use("compiled"):
        assert backend.compiled(F64) and backend.compiled(F32, F32, None)
        assert not backend.compiled(F64, F32)
        assert not backend.compiled(F64.astype(np.float16))
        assert not backend.compiled(F64.astype(int))
        assert not backend.compiled(F64, strict_array.module.asarray(F64))
        assert not backend.compiled(None)
    with numpyvision.use("numpy"):
        assert not backend.compiled(F64)


def test_use_takes_effect_at_once_and_puts_the_earlier_choice_back():
    numpyvision.use("numpy")
    assert backend.mode() == "numpy"
    with pytest.raises(KeyError), numpyvision.use("compiled"):
        with numpyvision.use("numpy"):
            assert backend.mode() == "numpy"
        assert backend.mode() == "compiled"
        raise KeyError
    assert backend.mode() == "numpy"


def test_use_refuses_other_words():
    numpyvision.use("compiled")
    with pytest.raises(ValueError, match="got 'fast'"):
        numpyvision.use("fast")
    assert backend.mode() == "compiled"


def test_to_numpy():
    assert backend.to_numpy(F64) is F64
    assert backend.to_numpy([1, 2]).tolist() == [1, 2]
    assert isinstance(backend.to_numpy(strict_array.module.asarray(F64)), np.ndarray)


def test_scatter_add_counts_a_repeated_index_every_time():
    target = np.zeros(4)
    backend.scatter_add(target, np.array([1, 1, 3]), np.array([1.0, 2.0, 5.0]))
    assert target.tolist() == [0, 3, 0, 5]                   # plain += would give 2 at place 1


def test_scatter_add_takes_a_tuple_of_indices_and_none_at_all():
    target = np.zeros((2, 2))
    backend.scatter_add(target, (np.array([0, 0]), np.array([1, 1])), np.ones(2))
    backend.scatter_add(target, (np.zeros(0, int), np.zeros(0, int)), np.zeros(0))
    assert target.tolist() == [[0, 2], [0, 0]]
