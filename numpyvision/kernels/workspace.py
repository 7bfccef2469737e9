"""Scratch memory for kernels, kept from call to call: large fresh arrays cost as much as the work in them, page by page.

It grows to what the largest call needed, some hundred MB for a convolution of photographs, and stays: who goes on with small pictures
in the same process may say `workspace.give_back()`.
"""
import threading

import numpy as np

LINE = 64                                         # bytes in a line of the cache
_memory = threading.local()


def workspace(name, size, dtype=np.float32):
    """At least `size` numbers, whatever they hold: the same memory at each call with this name, for each thread that calls. Never a result.

    They begin on a cache line, and so does every register that is stored in them: across two lines a store costs twice as much.
    """
    dtype = np.dtype(dtype)
    key = name + dtype.char
    held = vars(_memory)
    if key not in held or len(held[key]) < size:
        line = LINE // dtype.itemsize
        array = np.zeros(size + line, dtype)      # not empty: what others left there reads as numbers near 1e-40, a hundred times as slow
        start = -(array.ctypes.data // dtype.itemsize) % line
        held[key] = array[start:start + size]
    return held[key]


def give_back():
    """Forget all of it, in the thread that calls. The next kernel asks for what it needs."""
    vars(_memory).clear()
