"""set_num_threads: before and after numba is loaded, and never with a number that means nothing."""
import os
import pathlib
import subprocess
import sys

import pytest

import numpyvision

ROOT = pathlib.Path(numpyvision.__file__).parent.parent


def run(script, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run([sys.executable, "-c", script], env={**kept, "PYTHONPATH": str(ROOT), **environment},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_before_numba_is_loaded_it_is_remembered():
    assert run("""
import sys
import numpyvision
numpyvision.set_num_threads(1)
print(numpyvision.get_num_threads(), "numba" in sys.modules, "torch" in sys.modules)
from numpyvision import kernels
kernels.elementwise
import numba
print(numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
numpyvision.set_num_threads(2)                                       # one thread was chosen, not one for ever
print(numba.get_num_threads(), numpyvision.get_num_threads())
""", NUMBA_NUM_THREADS="2") == ["1", "False", "False", "1", "2", "2", "2"]


def test_without_being_told_it_is_what_the_machine_has():
    assert run("import numpyvision; print(numpyvision.get_num_threads())", NUMBA_NUM_THREADS="3") == ["3"]
    assert run("import numpyvision; print(numpyvision.get_num_threads())") == [str(len(os.sched_getaffinity(0)))]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", None, True, 10_000])
def test_nonsense_is_refused(wrong):
    before = numpyvision.get_num_threads()
    with pytest.raises(ValueError, match="whole number from 1 to"):
        numpyvision.set_num_threads(wrong)
    assert numpyvision.get_num_threads() == before


def test_small_work_wakes_no_other_thread_and_large_work_does():
    assert run("""
import numpy as np
import numpyvision
from numpyvision.kernels import conv, elementwise, jit, product, product_dw
small, large = ([np.ones((2, 16, side, side), np.float32), np.ones((16, 16, 1, 1), np.float32)] for side in (4, 64))
once = (1, 1), (0, 0), (1, 1), 1
conv.conv2d(*small, None, *once)                                     # starts the threads
seen = []
def watched(loop):
    def call(*args):
        seen.append(jit.num_threads())
        if args[0] is None:
            raise ValueError
        return loop(*args)
    return call
product._sums_loop, product_dw._products_loop = watched(product._sums_loop), watched(product_dw._products_loop)
for x, w in (small, large):
    conv.conv2d(x, w, None, *once)
    conv.conv2d_dw(x, x, w.shape, *once)
try:
    jit.alone(watched(None))(None)
except ValueError:
    seen.append(jit.num_threads())                                   # given back all the same
print(*seen)
""", NUMBA_NUM_THREADS="2") == ["1", "1", "2", "2", "1", "2"]
