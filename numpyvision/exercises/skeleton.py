"""The file that a student starts from: derived from the library's own function, so that nothing is copied and nothing goes stale.

Kept of the reference: the imports that its body needs, its signature, its docstring. Lost: the body. Added: the exercise's statement, and
for one half of an operation what its cache holds, because the other half is the library's.
"""
import ast
import inspect
import textwrap

import numpy as np

from numpyvision import backend
from numpyvision.exercises import cases

WIDTH = 110
UNBROKEN = "\N{NO-BREAK SPACE}"                                     # where no line may end: inside a name and its shape


def skeleton(exercise):
    """The source text of an exercise's file."""
    tree = ast.parse(inspect.getsource(exercise.module()))
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == exercise.function_name)
    message = f"write {exercise.function_name}, then: numpyvision exercise check {exercise.name}"
    parts = [f'"""{_heading(exercise)}"""', *_imports(exercise, tree, function), "", "",
             signature(exercise), *_cache_comment(exercise), f'    raise NotImplementedError("{message}")', ""]
    return "\n".join(parts)


def signature(exercise):
    """The reference's source through its docstring."""
    lines, _ = inspect.getsourcelines(exercise.reference())
    node = ast.parse(textwrap.dedent("".join(lines))).body[0]
    if ast.get_docstring(node) is None:
        raise ValueError(f"exercise {exercise.name!r}: {exercise.target} has no docstring, and it is the specification")
    return "".join(lines[:node.body[0].end_lineno]).rstrip()


def _heading(exercise):
    paragraphs = filled(exercise.statement, WIDTH).replace("\\", "\\\\").replace('"""', "'''")
    needs = f"\nIt leans on: {', '.join(exercise.needs)}." if exercise.needs else ""
    return f"{exercise.title} (lecture {exercise.row})\n\n{paragraphs}\n{needs}\nCheck: numpyvision exercise check {exercise.name}\n"


def filled(text, width):
    """Text in lines of this width: lines that were broken because they were full are joined; short and indented ones stay as they are."""
    joined = []
    for line in text.splitlines():
        runs_on = joined and len(joined[-1]) > 100 and line.strip() and not line.startswith(" ")
        joined[-1:] = [f"{joined[-1]} {line}"] if runs_on else [*joined[-1:], line]
    lines = []
    for line in joined:
        indent = line[:len(line) - len(line.lstrip())]
        lines += textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(lines)


def _imports(exercise, tree, function):
    """Import lines: NumPy; what the body takes from other modules; constants, given helpers and earlier exercises from its own module."""
    body = [n for n in function.body if not (_is_a_test(n) or _runs_compiled(n))]
    used = {n.id for part in [function.args, *body] for n in ast.walk(part) if isinstance(n, ast.Name)} - _only_for_dispatch(function)
    lines = []
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            kept = [a for a in node.names if (a.asname or a.name).split(".")[0] in used and a.name != "numpy"]
            lines += [_import_line(node, kept)] if kept else []
    own = [name for name in own_names(tree) if name in used and (name.isupper() or name in exercise.needs)]
    own = sorted({*own, *exercise.given})
    lines += [f"from {exercise.module_name} import {', '.join(own)}"] if own else []
    return ["import numpy as np", *(["", *sorted(lines)] if lines else [])]


def _is_a_test(statement):
    """`check.require(...)`, `check_conv2d(...)`: a call whose result nobody takes tests arguments, which is not what is to be learnt."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)


def _runs_compiled(statement):
    """`if backend.compiled(...): return kernels. ...`: the compiled loop, for which a student has no use."""
    return isinstance(statement, ast.If) and not statement.orelse and "compiled(" in ast.unparse(statement.test)


def _only_for_dispatch(function):
    """Names that serve only to choose between NumPy, CuPy and compiled loops: a student writes NumPy."""
    unneeded = {"kernels", "get_array_module"}
    attributes = {n.attr for n in ast.walk(function) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
                  and n.value.id == "backend"}
    return unneeded | ({"backend"} if attributes <= {"compiled", "get_array_module", "to_numpy"} else set())


def own_names(tree):
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))


def _import_line(node, names):
    listed = ", ".join(f"{a.name} as {a.asname}" if a.asname else a.name for a in names)
    return f"from {node.module} import {listed}" if isinstance(node, ast.ImportFrom) else f"import {listed}"


def _cache_comment(exercise):
    """What the cache holds, seen on the worked example: forward must put it in, backward finds it there."""
    if exercise.kind == "function":
        return []
    args, kwargs = cases.of(exercise.name)[0]
    with backend.use("numpy"):
        _, cache = exercise.pair()[0](*args, **kwargs)
    items = ", ".join(f"{name}{UNBROKEN}{_describe(value)}" for name, value in cache.items())
    made = f"Cache({', '.join(f'{name}=...' for name in cache)})"
    text = (f"Return out, cache; the library's backward needs cache = {made}. " if exercise.kind == "forward" else
            "cache holds what forward was given or made; write cache.NAME. ") + f"In the worked example: {items}."
    lines = textwrap.wrap(text, WIDTH, initial_indent="    # ", subsequent_indent="    # ", break_long_words=False)
    return [line.replace(UNBROKEN, " ") for line in lines]


def _describe(value):
    if isinstance(value, np.ndarray) and value.ndim:
        return str(tuple(value.shape)).replace(" ", UNBROKEN) + f"{UNBROKEN}{value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else type(value).__name__
