"""What the first run costs: import, the first step on a machine that has never compiled it, the first step when it has, peak memory.

Everything happens in processes of its own, with a fresh folder for numba's cache.
"""
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAIN = [sys.executable, "-m", "numpyvision", "train", "mask_rcnn", "--out"]
FIRST_STEP = re.compile(rb"[ |][1-9]\d*/\d+ \[")  # tqdm's bar after a step; the bar of compiling counts "1 of 13"
MEMORY = """
from numpyvision.bench import first_run, steps
def ready(batch, side):
    model, recipe, batch = steps.prepare("mask_rcnn", batch, side, 0)
    return steps.training(model, recipe, batch) if {ours} else steps.twin_training(model, recipe, batch)[1]
ready(1, 64)()                                      # one small step: the code is loaded or compiled, which is not part of a step's memory
step = ready({batch}, {side})
before = first_run.reset_peak()
for _ in range(3):
    step()
print(before, first_run.peak())
"""


PARTS = ("import", "compilation", "memory")


def measure(names=(), quick=False):
    """Rows, one by one: {"group": "first run", "name": what, "direction": unit, "value": number, "unit": "s" or "MB"}.

    names: of PARTS, all where none is given. quick leaves compilation out.
    """
    chosen = [part for part in PARTS if not names or part in names]
    if "import" in chosen:
        yield _row("python -c pass", _process_seconds("pass"), "s")
        yield _row("import numpyvision", _process_seconds("import numpyvision"), "s")
    if "compilation" in chosen and not quick:
        with tempfile.TemporaryDirectory() as folder:
            yield _row("train mask_rcnn: first step shown, never compiled", first_step(folder, "cold"), "s")
            yield _row("the same, compiled before", min(first_step(folder, f"warm{i}") for i in range(3)), "s")
    if "memory" in chosen:
        yield from memory()


def _row(name, value, unit):
    return {"group": "first run", "name": name, "direction": unit, "value": round(value, 3), "unit": unit}


def text(rows):
    """The rows as lines."""
    return "\n".join(f"{r['name']:<52} {r['value']:9.2f} {r['unit']}" for r in rows)


def _process_seconds(statement, runs=7):
    def once():
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, env=environment())
        return time.perf_counter() - start
    once()
    return sorted(once() for _ in range(runs))[runs // 2]


def environment(**more):
    """This process's environment, and this package on the path."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])), **more}


def first_step(cache, out):
    """Seconds from starting `numpyvision train mask_rcnn` until its bar shows the first step; the run is stopped then."""
    start = time.perf_counter()
    process = subprocess.Popen([*TRAIN, str(Path(cache) / out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=environment(NUMBA_CACHE_DIR=str(Path(cache) / "numba"), PYTHONUNBUFFERED="1"))
    try:
        seen = b""
        while not FIRST_STEP.search(seen):
            piece = os.read(process.stderr.fileno(), 4096)
            if not piece:
                raise RuntimeError(f"training ended before its first step: {seen.decode(errors='replace')[-500:]}")
            seen += piece
        return time.perf_counter() - start
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def memory(batch=4, side=128):
    """Rows: how much memory three training steps of Mask R-CNN need at most, beyond what was in use before them, and the process's peak."""
    for name, ours in (("ours", True), ("torch", False)):
        if Path("/proc/self/clear_refs").exists() and (ours or importlib.util.find_spec("torch")):
            done = subprocess.run([sys.executable, "-c", MEMORY.format(batch=batch, side=side, ours=ours)], capture_output=True, text=True,
                                  env=environment(), check=True)
            before, peak = map(float, done.stdout.split()[-2:])
            yield _row(f"Mask R-CNN step, peak above the start, {name}", peak - before, "MB")
            yield _row(f"Mask R-CNN step, peak of the process, {name}", peak, "MB")


def reset_peak():
    """Forget the peak so far (Linux) -> MB in use now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak():
    """The most MB in use since reset_peak."""
    return _status("VmHWM")


def _status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
