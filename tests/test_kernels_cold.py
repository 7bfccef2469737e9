"""The first run on a machine, which compiles the kernels, computes the very bits of every later one, which loads them from disk."""
import os
import pathlib
import subprocess
import sys

import pytest

import numpyvision

SCRIPT = """
import hashlib
import numpy as np
from numpyvision import models, tree
from numpyvision.data.sample import Sample
rng = np.random.default_rng(0)
model = models.build("faster_rcnn", {"classes": ["background", "cat"]}, rng=rng)
targets = [Sample(None, np.array([[9, 8, 40, 50]], np.float32), np.array([1])) for _ in range(2)]
losses, cache = model.forward(rng.random((2, 3, 64, 64), np.float32), targets, np.full((2, 2), 64), rng=rng)
_, grads = model.backward({name: 1.0 for name in losses}, cache)
for name, array in tree.flatten(grads).items():
    print(name, hashlib.md5(array.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_compiled_now_and_loaded_from_disk_are_bit_equal(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(pathlib.Path(numpyvision.__file__).parent.parent)}
    cold, warm = (subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True).stdout for _ in "ab")
    assert cold.count("\n") > 50 and cold.splitlines() == warm.splitlines()
