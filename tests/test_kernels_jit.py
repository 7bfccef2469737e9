"""kernels/jit.py: compiled code is kept, a place without anywhere to write still works, and the kernels run uncompiled for a debugger."""
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import numba
import numpy as np
import pytest

import numpyvision
from numpyvision import kernels
from numpyvision.kernels import linking
from numpyvision.kernels.jit import jit, jit_inner, jit_parallel
from numpyvision.ops import activation

PACKAGE = pathlib.Path(numpyvision.__file__).parent
SCRIPT = """
import numpy as np
from numpyvision.kernels import boxes, elementwise
from numpyvision.ops import activation
x = np.array([[-1.0, 2.0], [3.0, np.nan]])
assert np.array_equal(activation.relu_forward(x)[0], [[0, 2], [3, np.nan]], equal_nan=True)
two = np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]])
assert np.allclose(boxes.box_iou(two, two), [[1, 1 / 3], [1 / 3, 1]])
functions = [f for m in (boxes, elementwise) for f in vars(m).values()]
functions += [f.__wrapped__ for f in functions if hasattr(f, "__wrapped__")]                # alone_below(...) wraps a compiled function
compiled = [f for f in functions if hasattr(f, "signatures") and f.signatures]
"""


def run(script, folder, **environment):
    """Run a script in a fresh Python that imports the package from `folder`; its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env={**kept, "PYTHONPATH": str(folder), **environment},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_compilation_is_kept_between_processes(tmp_path):
    count = "print(sum(sum(f.stats.cache_hits.values()) for f in compiled), sum(sum(f.stats.cache_misses.values()) for f in compiled))"
    hits, misses = map(int, run(SCRIPT + count, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path)).split())
    assert hits == 0 and misses >= 2
    hits, misses = map(int, run(SCRIPT + count, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path)).split())
    assert hits >= 2 and misses == 0


def test_code_of_other_kernel_files_is_not_used(tmp_path):
    """A kernel's callee in another file has changed, or the types of an older release's arguments are gone: numba looks at neither."""
    kernels_folder, kept = tmp_path / "numpyvision" / "kernels", tmp_path / "kept"
    shutil.copytree(PACKAGE, tmp_path / "numpyvision", ignore=shutil.ignore_patterns("__pycache__"))
    count = "print(sum(sum(f.stats.cache_hits.values()) for f in compiled))"
    run(SCRIPT, tmp_path, NUMBA_CACHE_DIR=str(kept))
    assert int(run(SCRIPT + count, tmp_path, NUMBA_CACHE_DIR=str(kept))) >= 2
    with open(kernels_folder / "vector.py", "a") as file:
        file.write("# another release\n")
    assert int(run(SCRIPT + count, tmp_path, NUMBA_CACHE_DIR=str(kept))) == 0
    for index in kept.rglob("*.nbi"):
        index.write_bytes(pickle.dumps(numba.__version__) + b"types that cannot be read any more")
    assert int(run(SCRIPT + count, tmp_path, NUMBA_CACHE_DIR=str(kept))) == 0


@pytest.mark.parametrize("moment", ["_load_index", "_save_index", "_save_data"])
def test_two_processes_that_compile_at_once_keep_their_code_apart(tmp_path, moment):
    """One keeps float32 and, after one of its steps, another process keeps float64. At no time does a signature find the other's code."""
    reader, ours, other = indexes = [jit(lambda x: x)._cache._cache_file for _ in range(3)]
    for index in indexes:
        index._cache_path = str(tmp_path)
    found = []

    def watch(index, name, meanwhile=lambda: None):
        step = getattr(index, name)

        def watched(*args):
            done = step(*args)
            found.append({key: reader.load(key) for key in ("float32", "float64")})
            if name == moment:
                meanwhile()
            return done
        setattr(index, name, watched)

    for name in ("_load_index", "_save_index", "_save_data"):
        watch(other, name)
        watch(ours, name, lambda: other.save("float64", "float64"))
    ours.save("float32", "float32")
    assert all(code in (None, key) for codes in found for key, code in codes.items()), found
    assert any(found[-1].values())


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 0.5], ids=["empty", "half"])
def test_a_file_of_code_that_was_cut_short_is_made_again(tmp_path, kind, left):
    script = SCRIPT + "print(sum(sum(f.stats.cache_hits.values()) for f in compiled))"
    assert int(run(script, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path))) == 0
    for file in tmp_path.rglob(f"*.{kind}"):
        code = file.read_bytes()
        file.write_bytes(code[:int(left * len(code))])
    assert int(run(script, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path))) == 0           # none was found, all were made
    assert int(run(script, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path))) >= 2


def test_nowhere_to_write(tmp_path):
    """A read-only install folder and a read-only home. Permissions do not stop root, so files stand where the folders would be made."""
    shutil.copytree(PACKAGE, tmp_path / "numpyvision", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "numpyvision" / "kernels" / "__pycache__").write_text("a file, not a folder")
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file" / "cache")
    script = SCRIPT + "from numpyvision import ahead; assert ahead.record() is None\n"
    script += "print(boxes.__file__); print({type(f._cache).__name__ for f in compiled})"
    places = dict.fromkeys(["HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"], nowhere)
    location, caches = run(script, tmp_path, **places, PYTHONDONTWRITEBYTECODE="1").splitlines()
    assert location.startswith(str(tmp_path)) and caches == "{'NullCache'}"


def test_kernels_run_uncompiled_and_agree(tmp_path):
    """NUMBA_DISABLE_JIT=1 lets a debugger step through the very same loops; every operation's kernels give the readable body's numbers."""
    script = """
from numba import config
from numpyvision import ahead, contract, use
from numpyvision.check.operation import differs, upstream
assert config.DISABLE_JIT and ahead.record() is None
def run(case):
    forward, backward = case.functions()
    out, cache = forward(*case.arrays(), **case.statics())
    grads = backward(upstream(out), cache)
    return out, [g for g in (grads if isinstance(grads, tuple) else (grads,)) if g is not None]
names = []
for case in contract.select():
    if isinstance(case, contract.OpCase) and case.name not in names:
        names.append(case.name)
        with use("numpy"):
            readable = run(case)
        with use("compiled"):
            looped = run(case)
        problem = differs(looped, readable, 1e-10, case.id)
        assert not problem, problem
print(len(names))
"""
    assert int(run(script, PACKAGE.parent, NUMBA_DISABLE_JIT="1")) >= 14


def test_an_unknown_kernel_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no kernel module 'convolution'"):
        kernels.convolution  # noqa: B018


def test_infinities_and_nan_survive_fast_math():
    """FASTMATH leaves out nnan and ninf: a NaN must reach the check that stops the training."""
    @jit
    def is_ordinary(x):
        return x == x and x - x == 0
    assert [is_ordinary(x) for x in (np.nan, np.inf, -np.inf, -1.0)] == [False, False, False, True]
    x = np.array([np.nan, np.inf, -np.inf, -1.0, 1.0])
    assert np.array_equal(activation.relu_forward(x)[0], [np.nan, np.inf, 0, 0, 1], equal_nan=True)


def test_machine_code_is_made_of_what_python_calls_and_of_nothing_else(monkeypatch):
    """A third of the time to compile: an inner function and the four pieces of a parallel loop each had code of their own."""
    translated = []
    finish = linking.Library._translate
    monkeypatch.setattr(linking.Library, "_translate", lambda library: translated.append(library.name) or finish(library))

    @jit_inner
    def halve(row):
        row[:] = row / 2

    @jit_parallel
    def halve_rows(rows):
        for i in numba.prange(len(rows)):
            halve(rows[i])

    rows = np.ones((3, 4))
    halve_rows(rows)
    assert (rows == 0.5).all()
    assert [name.split(".")[-1] for name in translated] == ["halve_rows"]
    halve(rows)                                                # from Python: uncompiled
    assert (rows == 0.25).all() and len(translated) == 1


def test_an_inner_function_finds_the_words_of_its_errors():
    """They are kept apart from the code, in a place that is filled in once the code has an address."""
    @jit_inner
    def copy(row, out):
        out[:] = row

    @jit
    def copy_first(rows, out):
        copy(rows[0], out)

    for _ in range(2):
        with pytest.raises(ValueError, match="cannot assign slice"):
            copy_first(np.ones((1, 2)), np.ones(3))


def test_a_numba_that_was_never_tried_compiles_in_its_own_way(tmp_path):
    newer = "import numba; numba.__version__ = '0.69.0dev0'\n"
    libraries = "print({type(code.library).__name__ for f in compiled for code in f.overloads.values()})"
    assert run(newer + SCRIPT + libraries, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path)) == "{'JITCodeLibrary'}"
    assert linking.pipeline("0.68.1") is linking.pipeline("0.60.0rc1") is linking.Compiler is not linking.pipeline("1.0")


def test_functions_of_other_people_compile_as_ever():
    @jit_inner
    def twice(x):
        return 2 * x

    @numba.njit
    def theirs(x):
        return twice(x) + 1

    assert theirs(3) == 7
    assert not isinstance(theirs.overloads[theirs.signatures[0]].library, linking.Library)


def test_parallel_kernels_give_the_same_bits_every_time():
    from numpyvision.ops import conv
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 8, 17, 19)).astype(np.float32), rng.standard_normal((8, 8, 3, 3)).astype(np.float32)
    runs = []
    for _ in range(3):
        out, cache = conv.conv2d_forward(x, w, padding=1)
        runs.append((out, *conv.conv2d_backward(out, cache)[:2]))
    assert all(np.array_equal(a, b) for other in runs[1:] for a, b in zip(runs[0], other, strict=True))
