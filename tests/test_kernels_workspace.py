"""kernels/workspace.py: scratch memory is kept, begins on a cache line, and can be given back."""
import weakref

import numpy as np

from numpyvision.kernels import workspace


def test_the_same_memory_until_more_is_needed():
    first = workspace.workspace("test", 100)
    assert workspace.workspace("test", 50) is first and len(first) >= 100
    assert first.ctypes.data % workspace.LINE == 0 and first.dtype == np.float32
    assert not np.shares_memory(workspace.workspace("test", 100, np.float64), first)
    assert not np.shares_memory(workspace.workspace("test", 1000), first)


def test_it_can_be_given_back():
    held = weakref.ref(workspace.workspace("test", 100).base)
    assert held() is not None
    workspace.give_back()
    assert held() is None
