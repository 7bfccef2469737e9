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
