"""Your own function in place of one of the library's: in every layer and model, for as long as a `with` lasts.

    with numpyvision.plugged("roi_align_forward", mine):
        losses, cache = model.forward(...)                       # cut its regions with your code

The package holds a function under many names: in its module, in modules that imported it, in tables of functions. All of them are found
and exchanged, and put back on exit. Two more things make that true of every call: a compiled loop that does several functions' work at
once (NMS, which computes IoUs itself) gives way to the readable body that calls them one by one; and what you plug in sees the library's
function, not itself, under that name.
"""
import functools
import importlib
import inspect
import pkgutil
import sys
import threading
import types

from numpyvision import backend

FOLDERS = ("ops", "boxes", "losses", "layers", "metrics", "proposals", "models")     # where functions that can be exchanged live
_stacks = {}        # {the library's function: the stand-ins that took its place, the last one on top}


class plugged:
    """`with plugged(name, function): ...`: the library calls `function` instead of its own of that name.

    name: "nms"; "roi.axis_weights" where two modules have a function of that name; or as the exercises' catalogue writes it,
    "numpyvision.ops.roi:axis_weights". function takes the same arguments: same names, same order, same defaults.
    Enters as the function that stood there before. ValueError for a name that is not there, or a function that takes other arguments.
    """

    def __init__(self, name, function):
        self.original = find(name)
        check_signature(function, self.original)
        self.function, self.stand_in = function, None

    def __enter__(self):
        if self.stand_in is not None:
            raise ValueError(f"this plugged({self.original.__name__!r}, ...) is in use already; make another one")
        stack = _stacks.setdefault(self.original, [])
        before = stack[-1] if stack else self.original
        self.stand_in = stand_in(self.function, before)
        stack.append(self.stand_in)
        replace({before: self.stand_in})
        _route()
        return before

    def __exit__(self, *exc):
        stack, mine, self.stand_in = _stacks[self.original], self.stand_in, None
        stack.remove(mine)
        before = stack[-1] if stack else self.original
        if not stack:
            del _stacks[self.original]
        replace({mine: before})                                    # where a later stand-in took its place, there is nothing to replace
        _route()


def stand_in(function, before):
    """What takes the place of `before`: calls `function`, and `before` when that calls the very function that it replaces."""
    inside = threading.local()

    @functools.wraps(before, updated=())
    def plugged_function(*args, **kwargs):
        if getattr(inside, "yes", False):                          # mine calls what it replaces: the library's, or this would never end
            return before(*args, **kwargs)
        inside.yes = True
        try:
            return function(*args, **kwargs)
        finally:
            inside.yes = False
    plugged_function.plugged = function
    return plugged_function


# ---- names

def functions():
    """{name: [the library's functions of that name]}, everything that can be plugged."""
    found = {}
    for module in modules():
        for name, value in vars(importlib.import_module(module)).items():
            if isinstance(value, types.FunctionType) and value.__module__ == module and not name.startswith("_"):
                found.setdefault(name, []).append(unplugged(value))
    return found


@functools.cache
def modules():
    """The full names of all modules in FOLDERS."""
    packages = [importlib.import_module(f"numpyvision.{folder}") for folder in FOLDERS]
    return [info.name for package in packages for info in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]


def find(name):
    """The library's function of this name, whether or not something is plugged in its place."""
    known = functions()
    *module, last = str(name).replace(":", ".").split(".")
    matches = known.get(last, [])
    if module:
        path = ".".join(module)
        matches = [f for f in matches if f.__module__ == path or f.__module__.endswith("." + path)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        full = ", ".join(repr(f"{f.__module__.rpartition('.')[2]}.{last}") for f in matches)
        raise ValueError(f"{name!r} is the name of {len(matches)} functions; which one: {full}?")
    import difflib
    close = difflib.get_close_matches(last, known, 3, 0.6)
    if last in known:
        where = known[last][0].__module__
        raise ValueError(f"there is no {last!r} in {'.'.join(module)}; the one there is lives in {where}")
    hint = f"did you mean {' or '.join(close)}?" if close else "the functions of ops/, boxes/ and losses/ are, roi_align_forward for one"
    raise ValueError(f"no function that can be plugged is called {name!r}; {hint}")


def unplugged(function):
    """The library's own function behind a stand-in; any other function as it is."""
    while hasattr(function, "plugged"):
        function = function.__wrapped__
    return function


def current(function):
    """What stands now in the place of the library's `function`: a stand-in, or itself."""
    return _stacks[function][-1] if function in _stacks else function


def check_signature(function, original):
    """ValueError unless every call that suits `original` suits `function` too."""
    name = original.__name__
    if not callable(function):
        raise ValueError(f"plugged({name!r}, ...) takes the function that is to stand in, got {function!r}; give it without ()")
    try:
        mine = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return                                                     # C code without a signature: it will have to do
    theirs = list(inspect.signature(original).parameters.values())
    wanted = f"{name}{inspect.signature(original)}"
    kinds = {p.kind for p in mine}
    gathers, keywords = inspect.Parameter.VAR_POSITIONAL in kinds, inspect.Parameter.VAR_KEYWORD in kinds
    named = [p for p in mine if p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)]
    for i, want in enumerate(theirs):
        got = named[i] if i < len(named) else None
        if got is None or (got.name != want.name and gathers and keywords):
            _require(gathers or keywords, f"your function lacks the argument {want.name!r}", wanted)
            break                                                  # *args, **kwargs take the rest
        _require(got.name == want.name, f"argument {i + 1} of your function is {got.name!r}, expected {want.name!r}", wanted)
        _require(want.default is want.empty or got.default is not got.empty,
                 f"the argument {want.name!r} of your function has no default, expected {want.default!r}", wanted)
        _require(want.default is want.empty or _equal(got.default, want.default),
                 f"the default of {want.name!r} in your function is {got.default!r}, expected {want.default!r}", wanted)
    for extra in named[len(theirs):]:
        _require(extra.default is not extra.empty, f"nobody gives your function its argument {extra.name!r}", wanted)


def _require(condition, message, wanted):
    if not condition:
        raise ValueError(f"{message}: the library calls {wanted}")


def _equal(a, b):
    return a is b or (isinstance(a, (int, float, str, tuple)) and a == b)


# ---- places

def replace(changes):
    """{old: new}: put each new one wherever the package holds the old: modules, classes, tables of functions, defaults of arguments.

    Values that functions remember (functools.cache) may hold it too, and are forgotten. What a user's own variables hold stays.
    """
    changes = {id(old): new for old, new in changes.items()}
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType) and _readable(module):
            _replace_in(module, name, changes)


def _replace_in(holder, module, changes):
    for name, value in list(vars(holder).items()):
        if id(value) in changes:
            setattr(holder, name, changes[id(value)])
        elif isinstance(value, types.FunctionType):
            for held in ("__defaults__", "__kwdefaults__"):
                if getattr(value, held):
                    setattr(value, held, _changed(getattr(value, held), changes))
        elif isinstance(value, type) and value.__module__ == module:
            _replace_in(value, module, changes)
        elif isinstance(value, (dict, list, tuple)) and not name.startswith("__"):
            changed = _changed(value, changes)
            if changed is not value:
                setattr(holder, name, changed)
        elif hasattr(value, "cache_clear") and getattr(value, "__module__", None) == module != __name__:
            value.cache_clear()


def _changed(value, changes):
    """A table with the exchange made: dicts and lists are the same objects as before (others may hold them), tuples new ones."""
    if id(value) in changes:
        return changes[id(value)]
    if isinstance(value, functools.partial) and id(value.func) in changes:
        return functools.partial(changes[id(value.func)], *value.args, **value.keywords)
    if type(value) in (dict, list):
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            changed = _changed(item, changes)
            if changed is not item:
                value[key] = changed
    elif type(value) is tuple:
        changed = tuple(_changed(item, changes) for item in value)
        return changed if any(a is not b for a, b in zip(changed, value, strict=True)) else value
    return value


# ---- compiled loops that would go round a stand-in

def _route():
    """While something is plugged, no compiled loop may do its work unseen."""
    backend.compiled = _compiled_if_faithful if _stacks else _compiled
    _reaches.cache_clear()


_compiled = backend.compiled


def _compiled_if_faithful(*arrays):
    """backend.compiled, but False for a function whose readable body calls a plugged one, be it through others.

    A helper may ask in a function's place (`_runs_compiled`), so the functions of the same file that called it are looked at too.
    """
    frame = asking = sys._getframe(1)
    while frame is not None and frame.f_globals is asking.f_globals:
        if _reaches(frame.f_code, id(frame.f_globals), Globals(frame.f_globals)):
            return False
        frame = frame.f_back
    return _compiled(*arrays)


class Globals:
    """A module's names as an argument that functools.cache takes: all are equal, for the id beside it tells them apart."""

    def __init__(self, names):
        self.names = names

    __eq__ = lambda self, other: True
    __hash__ = lambda self: 0


@functools.cache
def _reaches(code, _key, names):
    """Whether code, with these global names, may call a stand-in: directly, or through functions of the package."""
    folder = names.names["__name__"].split(".")[1:2]
    if code.co_varnames[:code.co_argcount][:1] == ("self",) and folder and folder[0] in FOLDERS:
        return True                                                # a layer's method calls what its sub-layers call: who knows what
    seen, waiting = set(), [(code, names.names)]
    while waiting:
        code, names = waiting.pop()
        if code in seen:
            continue
        seen.add(code)
        for function in _called(code, names):
            if hasattr(function, "plugged"):
                return True
            while hasattr(function, "__wrapped__"):
                function = function.__wrapped__
            if isinstance(function, types.FunctionType) and function.__module__.startswith("numpyvision."):
                waiting.append((function.__code__, function.__globals__))
    return False


def _called(code, names):
    """The functions that code names: `box_iou`, or `iou.box_iou` of a module `iou` of the package; in its inner functions too."""
    modules = [names[n] for n in code.co_names if isinstance(names.get(n), types.ModuleType) and _readable(names[n])]
    for name in code.co_names:
        for value in (names.get(name), *(vars(m).get(name) for m in modules)):
            if callable(value) and not isinstance(value, type):
                yield value
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _called(constant, names)


def _readable(module):
    """Whether a module of the package holds functions that can be plugged, not compiled loops or this machinery."""
    package, _, rest = module.__name__.partition(".")
    return package == "numpyvision" and not rest.startswith("kernels") and rest != "plug"
