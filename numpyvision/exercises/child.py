"""The process in which a student's code runs. It reads one request (JSON) from stdin and writes one verdict (JSON) to a file opened before.

Started by `runner.py`; everything that it prints is the student's.
"""
import json
import os
import sys
import types
from pathlib import Path

from numpyvision.exercises import catalog, guard
from numpyvision.exercises.judge import Verdict, judge


def main():
    request = json.loads(sys.stdin.readline())
    result = os.open(request["result"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)          # while that is still allowed
    out_of_memory = _encode(Verdict(request["name"], False, "memory-limit", f"It needs more than {request['megabytes']} MB of memory: the "
                                    "inputs are small, so does something grow in a loop, or get the wrong shape by broadcasting?"))
    watch = guard.Guard(request["folder"])
    catalog.find(request["name"]).module()                            # the library's own imports are not the student's memory or doing
    sys.path.append(request["folder"])                                # last: a student's random.py must not replace Python's
    guard.limit(request["seconds"], request["megabytes"])
    watch.install()
    try:
        answer = _encode(_verdict(request, watch))
    except MemoryError:
        answer = out_of_memory
    except BaseException as error:                                    # KeyboardInterrupt, raised by the student's own hand
        answer = _encode(Verdict(request["name"], False, "raises", f"It stops with {type(error).__name__}: {error}"))
    watch.active = False
    os.write(result, answer)
    os._exit(0)                                                       # without waiting for threads that the student may have left


def _verdict(request, watch):
    name = request["name"]
    function = load(name, Path(request["file"]))
    for seed in request["seeds"]:
        verdict = function if isinstance(function, Verdict) else judge(name, function, seed)
        if watch.tried:
            return Verdict(name, False, "forbidden", f"It tried to {watch.tried[0]}: an exercise's function only computes.")
        if not verdict.ok:
            return verdict
    if request["picture"]:
        verdict.details["picture"] = _picture(name, function, request["picture"], watch)
    return verdict


def load(name, path):
    """The student's function, or the Verdict that there is none."""
    wanted = catalog.find(name).function_name
    try:
        code = compile(path.read_bytes(), path.name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:                        # ValueError: bytes that are not UTF-8, or zeros
        line, text = getattr(error, "lineno", None), (getattr(error, "text", None) or "").strip()
        place = f" at line {line}: {text}" if line else ""
        return Verdict(name, False, "syntax-error", f"Python cannot read {path.name}: {getattr(error, 'msg', error)}{place}")
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    _show_lines(path, code)
    try:
        exec(code, vars(module))
    except MemoryError:
        raise
    except BaseException as error:                                    # sys.exit at the top of the file, too
        place = _line_of(error, path.name)
        return Verdict(name, False, "import-error", f"{path.name} stops while it is read: {type(error).__name__}: {error}{place}")
    function = getattr(module, wanted, None)
    if not callable(function):
        return Verdict(name, False, "no-function", f"{path.name} must define a function {wanted}; was it renamed?")
    return function


def _show_lines(path, code):
    """Let tracebacks quote the student's lines, though the file is known by its bare name."""
    import linecache
    text = path.read_bytes().decode("utf-8", "replace")
    linecache.cache[code.co_filename] = (len(text), None, text.splitlines(keepends=True), code.co_filename)


def _line_of(error, file):
    import traceback
    here = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f" at line {here[-1].lineno}: {here[-1].line}" if here else ""


def _picture(name, function, path, watch):
    """Draw what the student's function does; "" if that does not work."""
    with watch.suspended():                                           # matplotlib looks after its own font cache
        import matplotlib.figure  # noqa: F401
        import matplotlib.font_manager  # noqa: F401

        from numpyvision.exercises import pictures
    try:
        pictures.draw(name, path, function)
        return path
    except Exception as error:
        print(f"(no picture: {type(error).__name__}: {error})")
        return ""


def _encode(verdict):
    return json.dumps(verdict.as_dict()).encode()


if __name__ == "__main__":
    main()
