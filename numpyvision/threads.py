"""How many threads the compiled loops and NumPy's matrix products may use: `numpyvision.set_num_threads(n)`.

Nothing is loaded to find out: before the first kernel the number is only remembered, and numba takes it over when it is loaded
(`kernels/jit.py` asks for it). Results are bit-equal for the same number of threads.
"""
import importlib.util
import numbers
import os
import sys

_wanted = None


def set_num_threads(n):
    """Use n threads from now on, in the compiled loops and, where threadpoolctl is installed, in BLAS.

    n: 1 up to the number of processors, or up to NUMBA_NUM_THREADS where that environment variable was set before Python started.
    As everywhere in numba, the number belongs to the thread that calls this. ValueError for any other n.
    """
    global _wanted
    most = max_threads()
    if not isinstance(n, numbers.Integral) or isinstance(n, bool) or not 1 <= n <= most:
        raise ValueError(f"set_num_threads takes a whole number from 1 to {most}, the processors that this process may use, got {n!r}; "
                         "for more threads than processors set NUMBA_NUM_THREADS before Python starts")
    _wanted = int(n)
    _limit_blas(_wanted)
    apply()


def get_num_threads():
    """How many threads the compiled loops use, or will when they are loaded."""
    if "numba" in sys.modules:
        return sys.modules["numba"].get_num_threads()
    return _wanted or max_threads()


def max_threads():
    """The most that set_num_threads takes: numba's pool, whose size is fixed when numba is loaded."""
    if "numba" in sys.modules:
        return sys.modules["numba"].config.NUMBA_NUM_THREADS
    given = os.environ.get("NUMBA_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def apply():
    """Hand the number to numba, if it is loaded and a number was set."""
    if _wanted is not None and "numba" in sys.modules:
        sys.modules["numba"].set_num_threads(_wanted)


def _limit_blas(n):
    if importlib.util.find_spec("threadpoolctl") is not None:
        import threadpoolctl
        threadpoolctl.threadpool_limits(n, user_api="blas")
