"""What a student's code may not do while it is checked: write elsewhere, start processes, reach the network, eat all memory, run on.

An exercise's function only computes. Python tells an audit hook before it opens, deletes, forks or connects; the hook says no, and the
verdict says what was tried. Limits of the operating system (`resource`, where there is one) bound time, memory and file size. This keeps
accidents and simple tricks from harming anything; against a determined attacker, grade in a container or a virtual machine.
"""
import os
import sys
import threading
from pathlib import Path

try:
    import resource
except ImportError:                                                   # Windows: the parent's clock is the only limit there
    resource = None

MEMORY_EXIT = 87                                                      # the exit code of a child that found itself too big
PROCESSES = {"os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile", "os.startfile/2", "pty.spawn",
             "subprocess.Popen", "os.kill", "os.killpg", "signal.pthread_kill", "ctypes.dlopen", "ctypes.dlsym"}
NETWORK = {"socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "webbrowser.open"}
FILES = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "os.utime": 1, "os.setxattr": 1,
         "os.removexattr": 1, "os.chflags": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "sqlite3.connect": 1}       # paths among args
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Forbidden(PermissionError):
    """Raised into the code that tried."""


class Guard:
    """An audit hook, once installed for good. `tried` collects what was refused; `with guard.suspended():` is for the checker itself."""

    def __init__(self, folder):
        self.folder, self.tried, self.active = os.path.realpath(folder), [], True
        self._null = os.path.realpath(os.devnull)

    def install(self):
        sys.addaudithook(self)

    def suspended(self):
        return _Suspended(self)

    def __call__(self, event, args):
        if not self.active:
            return
        if event == "open":
            path, mode, flags = args
            writes = any(c in mode for c in "wax+") if isinstance(mode, str) else bool((flags or 0) & WRITING)
            if writes and not isinstance(path, int):
                self._require_inside("write", path)
        elif event in FILES:
            for path in args[:FILES[event]]:
                if not isinstance(path, int):
                    self._require_inside(event.partition(".")[2], path, args)
        elif event in PROCESSES:
            self._refuse(f"start or signal a process ({event})")
        elif event in NETWORK:
            self._refuse(f"use the network ({event})")

    def _require_inside(self, what, path, args=()):
        name = os.fsdecode(path)
        place = os.path.realpath(name)
        absolute = os.path.isabs(name) or not any(isinstance(a, int) and a >= 0 for a in args[1:])        # else: relative to a dir_fd
        inside = place == self.folder or place.startswith(self.folder + os.sep)
        if not (inside and absolute) and place != self._null and name != ":memory:":
            self._refuse(f"{what} {name}")

    def _refuse(self, what):
        self.tried.append(what)
        raise Forbidden(f"an exercise's function only computes; this one tried to {what}")


class _Suspended:
    def __init__(self, guard):
        self.guard = guard

    def __enter__(self):
        self.guard.active = False

    def __exit__(self, *exc):
        self.guard.active = True


def limit(seconds, megabytes, file_megabytes=16):
    """Bound this process from here on: CPU time, further memory, size of a file that it writes, no core dumps."""
    if resource is None:
        return
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, file_megabytes << 20)
    _lower(resource.RLIMIT_CPU, int(seconds) + 1, 1)                  # SIGXCPU says why; a second later SIGKILL
    used = _virtual_bytes()
    if used is not None:
        _lower(resource.RLIMIT_AS, used + (megabytes << 20))
    else:                                                             # macOS has the limit, but does not keep it
        threading.Thread(target=_watch, args=(_resident_bytes() + (megabytes << 20),), daemon=True).start()


def _lower(which, value, grace=0):
    """Lower a limit, never raise it; the hard one by `grace` less."""
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value, grace = min(value, hard), min(grace, hard - min(value, hard))
    resource.setrlimit(which, (value, value + grace))


def _virtual_bytes():
    """Address space of this process, on Linux; None elsewhere."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return None


def _resident_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _watch(most):
    while _resident_bytes() < most:
        threading.Event().wait(0.05)
    os._exit(MEMORY_EXIT)
