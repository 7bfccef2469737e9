"""Checks a student's file in a process of its own: `check_exercise(name, path)`. `judge(name, function)` is the same in this process.

The file, with the other .py files beside it, is copied into a temporary folder, and only the copy is run: nothing that it does can reach
the original. Whatever happens to the process (endless loop, no memory, os._exit, a crash), there is a verdict, and it says which.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from numpyvision.exercises import catalog, guard
from numpyvision.exercises.judge import Verdict, judge

__all__ = ["CODES", "Verdict", "check_exercise", "judge", "stop_all"]

# beside check.DIAGNOSES: what can go wrong before any number is compared
CODES = {
    "no-file": "there is no such file, or it is not a plain file of at most 1 MB",
    "no-function": "the file does not define the exercise's function",
    "syntax-error": "Python cannot read the file",
    "import-error": "the file stops while it is read, before the function is called",
    "time-limit": "it ran too long",
    "memory-limit": "it used too much memory",
    "forbidden": "it tried to write elsewhere, to start a process, or to use the network",
    "crashed": "the process ended before there was a verdict",
}
SECONDS, MEGABYTES = 20, 1024                                         # right solutions, loops included, take under 2 s and 50 MB
LARGEST_FILE, MOST_FILES, PRINTED, MESSAGE = 1 << 20, 100, 2000, 600
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT", "APPDATA",
                    "LOCALAPPDATA", "USERPROFILE", "MPLCONFIGDIR")
_running = set()


def check_exercise(name, path, seed=0, *, seeds=None, seconds=SECONDS, megabytes=MEGABYTES, picture=None):
    """The Verdict on a student's file. seeds: several draws of the random cases; picture: a file to draw what the function does into."""
    exercise, path, start = catalog.find(name), Path(path), time.perf_counter()
    if not _is_plain(path):
        return Verdict(name, False, "no-file", f"{path.name} is not there, or is not a plain file of at most {LARGEST_FILE >> 20} MB")
    with tempfile.TemporaryDirectory(prefix="numpyvision-", ignore_cleanup_errors=True) as place:
        place = Path(os.path.realpath(place))
        folder = place / "copy"
        _copy(path, folder, exercise.file_name)
        request = {"name": name, "folder": str(folder), "file": str(folder / exercise.file_name), "result": str(place / "verdict.json"),
                   "seeds": list(seeds) if seeds is not None else [seed], "seconds": seconds, "megabytes": megabytes,
                   "picture": str(folder / "picture.png") if picture else ""}
        verdict = _run(request)
        if picture and verdict.details.get("picture"):
            verdict.details["picture"] = str(_take(folder / "picture.png", Path(picture)))
    verdict.message = plain(verdict.message, MESSAGE)
    verdict.seconds = time.perf_counter() - start
    return verdict


def stop_all():
    """End every child that is still running: after an interrupt."""
    for process in list(_running):
        _kill(process)


def _run(request):
    process = subprocess.Popen(
        [sys.executable, "-P", "-u", "-m", "numpyvision.exercises.child"], cwd=request["folder"], env=_environment(request["folder"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0 if os.name == "posix" else None)
    _running.add(process)
    printed = _Drain(process.stdout)
    try:
        _send(process, request)
        # the operating system counts the CPU seconds; the clock on the wall is for code that sleeps, and must bear with a busy machine
        timed_out = not _ends_within(process, request["seconds"] * (4 if guard.resource else 1) + 10)
    finally:
        _kill(process)
        _running.discard(process)
    verdict = _read(request) or _ended(request, process.returncode, timed_out)
    text = printed.text()
    if text:
        verdict.details["printed"] = text
    return verdict


def _ends_within(process, seconds):
    """Wait for it. Time in which this process itself stood still (a closed laptop, a debugger) does not count."""
    while seconds > 0:
        before = time.monotonic()
        try:
            process.wait(0.5)
            return True
        except subprocess.TimeoutExpired:
            seconds -= min(time.monotonic() - before, 1.0)
    return False


def _read(request):
    """The child's verdict; None if it did not get so far."""
    try:
        fields = json.loads(Path(request["result"]).read_bytes())
        return Verdict(**fields)
    except (OSError, ValueError, TypeError):
        return None


def _ended(request, code, timed_out):
    """A verdict on a process that ended without one."""
    name, seconds, megabytes = request["name"], request["seconds"], request["megabytes"]
    if timed_out or code == -getattr(signal, "SIGXCPU", 1000):
        return Verdict(name, False, "time-limit", f"It ran longer than {seconds} seconds, where plain loops take under one: does a "
                       "while loop ever end?")
    if code == guard.MEMORY_EXIT:
        return Verdict(name, False, "memory-limit", f"It needs more than {megabytes} MB of memory")
    if code < 0:
        return Verdict(name, False, "crashed", f"The process was ended by {_signal_name(-code)}: recursion without "
                       "end, no memory left on this machine, or an extension module that broke?")
    return Verdict(name, False, "crashed", f"The process ended with exit code {code} before there was a verdict: take out os._exit()")


def _signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _send(process, request):
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.close()
    except OSError:
        pass                                                          # it died at once; its exit code tells


def _kill(process):
    """The process and whatever it started, though starting is forbidden."""
    if os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)                    # it leads a group of its number
        except (ProcessLookupError, PermissionError):
            pass
    elif process.poll() is None:
        process.kill()
    process.wait()


class _Drain:
    """Reads all that a process prints, so that it never waits for us, and keeps the beginning."""

    def __init__(self, pipe):
        self.pipe, self.kept, self.count = pipe, b"", 0
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        with self.pipe:
            while chunk := self.pipe.read1(1 << 16):
                self.count += len(chunk)
                self.kept += chunk[:max(0, PRINTED - len(self.kept))]

    def text(self):
        self.thread.join(2)                                           # a process that got away may still hold the pipe
        cut = f"\n[{self.count - len(self.kept)} more bytes left out]" if self.count > len(self.kept) else ""
        return plain(self.kept.decode("utf-8", "replace").rstrip() + cut).strip()


def plain(text, most=None):
    """A student's text made harmless for a terminal and a table: no control characters, and not longer than `most`."""
    text = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
    return text if most is None or len(text) <= most else text[:most] + " ..."


def _environment(folder):
    """As little as Python needs: no keys or tokens of whoever runs this; one thread a process; temporary files inside the copy."""
    kept = {k: os.environ[k] for k in KEPT_ENVIRONMENT if k in os.environ}
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "NUMBA", "VECLIB_MAXIMUM")}
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p)]
    return {**kept, **threads, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8:replace", "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0", "MPLBACKEND": "Agg", "TMPDIR": folder, "TEMP": folder, "TMP": folder}


def _is_plain(path):
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST_FILE


def _copy(path, folder, file_name):
    """The file under the exercise's name, and the other Python files beside it, which it may import."""
    folder.mkdir()
    beside = sorted(p for p in path.parent.glob("*.py") if _is_plain(p))[:MOST_FILES]
    for source in beside:
        shutil.copyfile(source, folder / source.name)
    shutil.copyfile(path, folder / file_name)


def _take(picture, to):
    """Move the picture out of the copy, replacing the one of the last check."""
    to.parent.mkdir(parents=True, exist_ok=True)
    fresh = to.with_name(f".{to.name}.new")
    shutil.copyfile(picture, fresh)
    os.replace(fresh, to)
    return to
