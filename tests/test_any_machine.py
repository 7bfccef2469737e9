"""The same kernels, right on any machine: old processors, other numbers of threads, forked and spawned children, and BLAS beside them.

Each test is a fresh Python that computes the operations below with compiled kernels and compares them with the readable bodies.
(Without compilation, and with nowhere to keep what was compiled: tests/test_kernels_jit.py.)
"""
import ast
import os
import pathlib
import subprocess
import sys

import pytest

import numpyvision

ROOT = pathlib.Path(numpyvision.__file__).parent.parent

# ---- what a child runs: `results(dtype)` are outputs and gradients, `worst(dtype)` their largest relative difference from readable ones
PREAMBLE = """
import hashlib, os, sys
import numpy as np
import numpyvision
from numpyvision.boxes import nms
from numpyvision.losses import classification
from numpyvision.ops import activation, conv, norm, roi

FEW = False                                  # only what has code of its own for a kind of processor: convolution, and e^x

def results(dtype):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 16, 19, 22)).astype(dtype), rng.standard_normal((20, 16, 3, 3)).astype(dtype)
    rois = np.array([[0, 1.3, 2.2, 30.1, 35.7], [1, 4.1, 0.3, 39.5, 20.9]], dtype)
    boxes = np.sort(rng.uniform(0, 40, (60, 2, 2)), 1).reshape(60, 4).astype(dtype)
    scores, labels = rng.random(60).astype(dtype), rng.integers(0, 16, (2, 19, 22))
    found = [nms.nms(boxes, scores, 0.3)]
    def both(forward, backward, *arrays, **settings):
        out, cache = forward(*arrays, **settings)
        grads = backward(np.sin(np.arange(out.size, dtype=dtype)).reshape(out.shape) if out.shape else dtype(1), cache)
        found.extend([np.asarray(out), *(g for g in (grads if isinstance(grads, tuple) else (grads,)) if g is not None)])
    both(conv.conv2d_forward, conv.conv2d_backward, x, w, padding=1)
    both(conv.conv2d_forward, conv.conv2d_backward, x, w, stride=2, padding=1)
    both(classification.softmax_cross_entropy_forward, classification.softmax_cross_entropy_backward, x, labels)
    if FEW:
        return found
    both(norm.group_norm_forward, norm.group_norm_backward, x, np.ones(16, dtype), np.zeros(16, dtype), num_groups=4)
    both(activation.relu_forward, activation.relu_backward, x)
    both(roi.roi_align_forward, roi.roi_align_backward, x, rois, output_size=3, spatial_scale=0.5)
    return found

def bits(dtype):
    return hashlib.md5(b"".join(np.ascontiguousarray(a).tobytes() for a in results(dtype))).hexdigest()

def worst(dtype):
    with numpyvision.use("numpy"):
        expected = results(np.float64)
    got = results(dtype)
    assert len(got) == len(expected) and np.array_equal(got[0], expected[0])
    return max(abs(a - b).max() / abs(b).max() for a, b in zip(got, expected, strict=True))
"""


def run(script, **environment):
    """What a fresh Python prints that runs PREAMBLE and the script."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "OMP_", "OPENBLAS_"))}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, "-c", PREAMBLE + script], env={**kept, "PYTHONPATH": path, **environment}, capture_output=True,
                          text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


# ---- processors
@pytest.mark.parametrize("processor", [
    pytest.param({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, id="generic"),
    pytest.param({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,-avx512f"}, id="AVX2"),
])
def test_code_for_an_old_processor_is_right(processor, tmp_path):
    [error] = run("FEW = True; print(worst(np.float32))", NUMBA_CACHE_DIR=str(tmp_path), NUMBA_NUM_THREADS="2", **processor)
    assert float(error) < 2e-5


# ---- threads
def test_every_number_of_threads_is_right_and_repeats_its_bits():
    lines = run("""
for n in (1, 2, 3):
    numpyvision.set_num_threads(n)
    assert numpyvision.get_num_threads() == n
    print(bits(np.float32) == bits(np.float32), worst(np.float32), worst(np.float64))
""", NUMBA_NUM_THREADS="3")
    for repeated, single, double in zip(*[iter(lines)] * 3, strict=True):
        assert repeated == "True" and float(single) < 2e-5 and float(double) < 1e-11


def test_the_same_number_of_threads_gives_the_same_bits_in_every_process():
    script = "numpyvision.set_num_threads(2); print(bits(np.float32), bits(np.float64))"
    assert run(script, NUMBA_NUM_THREADS="2") == run(script, NUMBA_NUM_THREADS="3")


# ---- children
def test_a_forked_child_is_right():
    """OpenMP's threads stay behind: a child that asks for them is ended by numba. It computes alone, and the parent goes on undisturbed."""
    ours, child, again = run("""
FEW = True
before = worst(np.float32)
child = os.fork()
if child == 0:
    error = worst(np.float32)
    print(error, flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, f"the child ended with status {status}"
print(before, worst(np.float32))
""", NUMBA_NUM_THREADS="2", PYTHONUNBUFFERED="1")
    assert all(float(error) < 2e-5 for error in (ours, child, again))


def test_a_child_forked_before_the_first_loop_and_a_spawned_one_are_right(tmp_path):
    """A spawned child imports this file's script anew, so that it must stand in a file."""
    (tmp_path / "work.py").write_text(PREAMBLE)
    lines = run(f"""
import multiprocessing
sys.path.insert(0, {str(tmp_path)!r})
import work
for method in ("fork", "spawn"):
    with multiprocessing.get_context(method).Pool(2) as pool:
        print(*pool.map(work.worst, [np.float32, np.float32]))
""", NUMBA_NUM_THREADS="2", PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    assert len(lines) == 4 and all(float(error) < 2e-5 for error in lines)


# ---- BLAS
def test_kernels_and_blas_do_not_start_threads_inside_threads():
    """No kernel calls BLAS, so that its threads never multiply with OpenMP's: n + n of them, of which n wait."""
    for path in sorted((ROOT / "numpyvision" / "kernels").glob("*.py")):
        for function in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(function, ast.FunctionDef) and any("jit" in ast.unparse(d) for d in function.decorator_list):
                calls = [ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
                products = [node for node in ast.walk(function) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)]
                assert not products and not {"np.dot", "np.matmul", "np.linalg", "np.einsum"} & set(calls), f"{path.name}: {function.name}"
    if not pathlib.Path("/proc/self/task").exists():
        pytest.skip("counts threads in /proc")
    most = run("""
import threading
pool = numpyvision.get_num_threads()
for _ in range(3):
    results(np.float32)
    np.ones((300, 300)) @ np.ones((300, 300))
print(len(os.listdir("/proc/self/task")) - threading.active_count() + 1 <= 2 * pool)
""", NUMBA_NUM_THREADS="2", OPENBLAS_NUM_THREADS="2")
    assert most == ["True"]


def test_the_number_of_threads_reaches_blas_too():
    pytest.importorskip("threadpoolctl")
    lines = run("""
import threadpoolctl
numpyvision.set_num_threads(1)
print(*{library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"})
""")
    assert lines == ["1"]
