"""What a training step frees, the next one finds again."""
import subprocess
import sys

import pytest

from numpyvision.training import memory

SCRIPT = """
import resource, sys
import numpy as np
from numpyvision.training import memory
if "keep" in sys.argv:
    memory.keep_freed_memory()
for step in range(6):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(500_000) for _ in range(12)]                       # 48 MB, in pieces of 4 MB
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not memory.keep_freed_memory(), reason="not the C library that can be told so")
def test_no_fresh_pages_for_the_second_step():
    kept, given_back = (int(subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True).stdout)
                        for arguments in (["keep"], []))
    assert kept < 100 < given_back
