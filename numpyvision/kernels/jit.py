"""`@jit`, `@jit_parallel` and `@jit_inner`: numba's compiler with this project's settings, in one place.

The compiled code is kept on disk, so that only the first run on a machine waits for it. Where no folder can be written to (a read-only
install and a read-only home), numba refuses to decorate at all; then the kernel is compiled anew in every process instead.
Every kernel runs without the global interpreter lock, so that a background thread can prepare the next batch meanwhile.
Division is NumPy's (x / 0 is inf or nan): Python's would test every divisor for zero, and that branch keeps LLVM from vectorising the loop.
"""
import functools
import hashlib
import os
from pathlib import Path

# A thread that waits for its next loop spins for a few microseconds, then sleeps. Spinning for long (OpenMP's default) keeps other programs
# off the processor, and if one of them holds the processor of the thread that is waited for, a step takes thirty times as long;
# sleeping at once ("passive") costs a fifth of a step in wake-ups. OpenMP reads this when its threads start, which is after this line.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numba  # noqa: E402
from numba.core import caching, registry  # noqa: E402
from numba.np.ufunc import parallel  # noqa: E402

from numpyvision import threads  # noqa: E402
from numpyvision.kernels import linking  # noqa: E402

threads.apply()                                         # what set_num_threads was told before numba was loaded

# fastmath without "nnan" and "ninf": a NaN or an infinity must stay one, so that the training loop can find where it came from.
# Without "reassoc" too. By itself (without linking.py) numba optimises a parallel kernel twice: the process that compiles it runs the first
# result, every later process loads the second from disk. Free to regroup a sum, LLVM regroups it differently each time: the first run on a
# machine would train other weights than the second, and a run that was killed and resumed other weights than one that was not. Sum in lanes
# (elementwise.py: `add_up`).
FASTMATH = {"contract", "nsz", "arcp", "afn"}

# Of numba's ways to find parallel loops, only the one that is asked for: the others turn every `row[:] = 0` into one more loop to compile.
ONLY_PRANGE = dict.fromkeys(("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion"), False)
ONLY_PRANGE["prange"] = True


SETTINGS = {"nogil": True, "error_model": "numpy", "pipeline_class": linking.pipeline(),
            "no_cfunc_wrapper": True}           # no code for calls from C, which nobody makes: a twentieth of the time to compile

_parallel = []                                          # every function that jit_parallel has compiled


def _njit(function, **options):
    try:
        return _stamped(numba.njit(cache=True, **SETTINGS, **options)(function))
    except RuntimeError:                     # "cannot cache function: no locator available": nowhere to write
        return numba.njit(**SETTINGS, **options)(function)


def _stamped(compiled):
    """Let all kernel files count as numba's version, which it compares before it reads what it kept; and see `_Index`.

    By itself numba looks at the one file that a kernel stands in. It would go on using a kernel whose callee in another file has changed,
    and stop with an AttributeError where the types of an older release's arguments are gone.
    """
    index = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if hasattr(index, "_version"):
        index._version = f"{index._version} {sources()}"
        index.__class__ = _Index
    return compiled


class _Index(caching.IndexDataCacheFile):
    """numba's list of one kernel's signatures and of the files that hold their code, safe between processes.

    numba counts those files, 1, 2, ..., and lists one before it is written. Two processes that compile float32 and float64 at once may both
    take number 1: one then loads the other's code, and its calls are TypeErrors. Here the signature itself gives the number, and the code
    is written before it is listed. If two list at once, one entry may be lost; that signature is compiled again. So is one whose file, or
    the list itself, was cut short by a crash or a full disk: numba would end in an EOFError, in every run until somebody deletes it.
    """

    def _load_index(self):
        try:
            return super()._load_index()
        except Exception:                                     # half a pickle may raise anything
            return {}

    def _load_data(self, name):
        try:
            return super()._load_data(name)
        except Exception as error:
            raise OSError(f"{self._data_path(name)} cannot be read") from error           # numba compiles what cannot be read

    def save(self, key, data):
        number = int(hashlib.sha256(repr((key, self._version)).encode()).hexdigest()[:12], 16)
        self._save_data(self._data_name(number), data)
        self._save_index({**self._load_index(), key: self._data_name(number)})


@functools.cache
def sources():
    """A digest of all kernel files."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder():
    """Where the compiled code is kept; None if it is kept nowhere: no folder can be written to, or NUMBA_DISABLE_JIT=1."""
    return getattr(getattr(jit(cache_folder), "stats", None), "cache_path", None)


def jit(function):
    """Compile for one thread."""
    return _njit(function, fastmath=FASTMATH)


def jit_inner(function):
    """For what other kernels call and Python does not: it becomes a part of each of them, without code of its own (linking.py)."""
    compiled = numba.njit(fastmath=FASTMATH, no_cpython_wrapper=True, **SETTINGS)(function)
    if not numba.config.DISABLE_JIT:
        compiled.__class__ = _Inner
    return compiled


class _Inner(registry.CPUDispatcher):
    def __call__(self, *args):               # a test, a reader: as plain Python. There is no compiled code that Python could call
        return self.py_func(*args)


def jit_parallel(function):
    """Compile with `prange` on all threads. Only independent outputs may be spread over threads: results are then bit-equal.

    A view that is written to needs an assignment of its own: `result = out.reshape(-1)`. Four or more values unpacked at once
    (`a, b, c, result = ...`) go through a tuple, where numba 0.68 forgets what `result` belongs to and drops its writes as dead code.
    """
    _parallel.append(function)
    return _njit(function, parallel=ONLY_PRANGE, fastmath=FASTMATH)


def num_threads():
    """numba.get_num_threads without its two locks, which take longer than a small loop."""
    return getattr(parallel, "_get_num_threads", numba.get_num_threads)()             # it is there once the threads have been started


def alone(loop):
    """`alone(loop)(...)`: a `@jit_parallel` loop, but the calling thread goes through it by itself.

    Waking a second thread takes 5 microseconds, but milliseconds where another program holds its processor: on a busy machine the
    gradient of 1024 numbers took 250 microseconds on two threads, 2 on one.
    """
    def call(*args):
        threads = num_threads()
        if threads == 1:
            return loop(*args)
        use = getattr(parallel, "_set_num_threads", numba.set_num_threads)
        use(1)
        try:
            return loop(*args)
        finally:
            use(threads)
    return call


def alone_below(size):
    """Above `@jit_parallel`: `alone` where the first argument has fewer numbers than `size`."""
    def decorate(loop):
        @functools.wraps(loop, updated=())
        def call(x, *others):
            return (loop if x.size >= size else alone(loop))(x, *others)
        return call
    return decorate


def jit_sum(function):
    """Compile for one thread and let LLVM regroup sums. Only for kernels that Python calls, never another kernel: see FASTMATH."""
    return _njit(function, fastmath=FASTMATH | {"reassoc"})


def jit_exact(function):
    """Compile for one thread without fast-math: bit-equal to NumPy. For loops that end in a decision, such as IoU > threshold."""
    return _njit(function)


def _one_thread_after_fork():
    """In a forked child, turn every parallel loop into a plain one, compiled when it is called and not kept.

    GNU OpenMP's threads do not come along into the child, and numba ends a child that calls for them. numba's folder on disk must not be
    asked either: it does not tell the two kinds of loop apart. A child that was forked before the first loop has threads of its own.
    """
    try:
        started = numba.threading_layer()
    except ValueError:
        return
    if started == "omp":
        for function in _parallel:
            function.__globals__[function.__name__] = numba.njit(fastmath=FASTMATH, **SETTINGS)(function)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread_after_fork)
