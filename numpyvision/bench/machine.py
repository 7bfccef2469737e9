"""What this machine can do at most, and what is installed on it: the yardsticks beside which the numbers of a bench stand."""
import importlib.metadata
import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from numpyvision import threads

LIBRARIES = ("numpyvision", "numpy", "numba", "llvmlite", "torch", "torchvision", "onnxruntime")
SIDE, COPIED = 2048, 128 << 20          # of the matrix product; bytes of an array that no cache holds


def describe():
    """{"processor", "threads", "sgemm_gflops", "copy_gbs", "versions"}: a dict that JSON can hold. About a second."""
    return {"processor": processor(), "cores": os.cpu_count(), "threads": threads.get_num_threads(), "python": platform.python_version(),
            "versions": versions(), "sgemm_gflops": round(sgemm(), 1), "copy_gbs": round(copy_bandwidth(), 1)}


def processor():
    """The name that the system gives the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions():
    """{library: version} of those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def sgemm(side=SIDE, runs=7):
    """GFLOP/s of NumPy's float32 matrix product, the best of some runs: what arithmetic can reach here."""
    a, b = np.ones((side, side), np.float32), np.ones((side, side), np.float32)
    out = np.empty((side, side), np.float32)
    return 2 * side ** 3 / _fastest(lambda: np.matmul(a, b, out=out), runs) / 1e9


def copy_bandwidth(size=COPIED, runs=7):
    """GB/s of copying an array that no cache holds, reading and writing counted, on all threads: what a streaming loop can reach here."""
    count = threads.get_num_threads()
    source, target = (np.ones(size // 4, np.float32) for _ in range(2))
    parts = np.linspace(0, len(source), count + 1).astype(int)
    with ThreadPoolExecutor(count) as pool:                              # np.copyto lets other threads run meanwhile
        def copy():
            list(pool.map(lambda i: np.copyto(target[parts[i]:parts[i + 1]], source[parts[i]:parts[i + 1]]), range(count)))
        return 2 * source.nbytes / _fastest(copy, runs) / 1e9


def _fastest(function, runs):
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(sorted(seconds)[:3])
