"""Keep the memory of one step for the next.

A step asks for a hundred large arrays and gives them all back. The C library then returns them to the system, which hands out fresh pages,
zeroed one by one, in the next step: five thousand page faults a step of FCN, a tenth of its time.
"""
import ctypes
import functools

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3            # names of glibc's settings (malloc.h)
KEEP, LARGE = 1 << 30, 1 << 25                     # up to 1 GB of free memory is kept; arrays up to 32 MB come from it


@functools.cache
def keep_freed_memory():
    """Tell the C library to keep what this process frees -> whether it did. Elsewhere than with glibc (Linux), nothing happens."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):   # no such function: musl, macOS; no such call: Windows
        return False
    return bool(mallopt(TRIM_THRESHOLD, KEEP) and mallopt(MMAP_THRESHOLD, LARGE))
