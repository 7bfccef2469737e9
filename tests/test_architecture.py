"""The house stands on its floors: what may import what, and what may appear nowhere. Read from the source with `ast`; nothing is run."""
import ast
import pathlib
import subprocess
import sys

import pytest

import numpyvision

ROOT = pathlib.Path(numpyvision.__file__).parent
FLOORS = {
    "backend": 0, "tree": 0, "cache": 0, "plug": 0, "threads": 0,
    "kernels": 1, "check": 1,
    "ops": 2, "boxes": 2,
    "losses": 3, "layers": 3, "proposals": 3, "metrics": 3, "data": 3, "training": 3, "plot": 3,
    "models": 4, "demos": 4,
    "contract": 5, "figures": 5,
    "ahead": 6, "recipes": 6, "places": 6, "runs": 6, "compare": 6,
    "bench": 7,
    "exercises": 7,                                                      # reads contract's recipes, trains with runs
    "data_cli": 8, "exercise_cli": 8, "cli": 8, "__main__": 8,
}
# files, not folders: may read their equals
TOP_FILES = {"__init__", "backend", "tree", "cache", "plug", "threads", "ahead", "recipes", "places", "runs", "compare", "cli", "data_cli",
             "exercise_cli", "__main__"}
# what systems in models/ may share; every other file there is one system
BRANCHES = {"rpn", "roi_heads", "regions", "mask_head", "keypoint_head", "pixels", "images", "targets", "region_proposals", "why"}
MODULES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
RANDOM_ALLOWED = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64", "PCG64DXSM", "Philox"}


def name_of(path):
    """numpyvision/ops/conv.py -> ("ops", "conv")."""
    return path.relative_to(ROOT).with_suffix("").parts


def imports(path, node_types=(ast.Import, ast.ImportFrom)):
    """[(line, parts)] of everything of this package that a module imports, inside functions too: ("ops", "conv")."""
    found = []
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import; write numpyvision. in full, so that the reader sees the origin"
            found += [(node.lineno, f"{node.module}.{a.name}") for a in node.names]
    return [(line, tuple(name.split(".")[1:])) for line, name in found if name.split(".")[0] == "numpyvision"]


def each(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda p: "/".join(name_of(p)))


def occurrences(path, wrong):
    return [f"{path.relative_to(ROOT.parent)}:{node.lineno}" for node in ast.walk(TREES[path]) if wrong(node)]


def test_every_module_has_a_floor():
    assert {name_of(p)[0] for p in MODULES} - {"__init__"} <= set(FLOORS), "a new top-level folder or file needs a place in the house"


@each(MODULES)
def test_imports_only_from_lower_floors_or_its_own_folder(path):
    place = name_of(path)[0]
    mine = FLOORS.get(place, 0)                                          # the package's own __init__ re-exports from floor 0
    for line, parts in imports(path):
        if not parts or parts[0] not in FLOORS:                          # `import numpyvision`, `numpyvision.__version__`
            continue
        other = parts[0]
        files_of_one_floor = FLOORS[other] == mine and {place, other} <= TOP_FILES
        assert FLOORS[other] < mine or other == place or files_of_one_floor, (
            f"{path.relative_to(ROOT.parent)}:{line}: floor {mine} imports numpyvision.{'.'.join(parts)}, on floor {FLOORS[other]}")


@each([p for p in MODULES if name_of(p)[0] == "models" and name_of(p)[1] not in ("__init__", "catalog")])
def test_a_system_imports_branches_never_another_system(path):
    for line, parts in imports(path):
        if parts[:1] == ("models",):
            assert parts[1] in BRANCHES, f"{path.relative_to(ROOT.parent)}:{line}: imports the system models/{parts[1]}.py"


@each([p for p in MODULES if p.name == "__init__.py" and name_of(p)[0] != "kernels"])      # kernels/ loads its modules on first use
def test_init_only_re_exports(path):
    for node in TREES[path].body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and t.id.startswith("__") for t in node.targets)
        own = isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "numpyvision"
        assert docstring or names or own, f"{path.relative_to(ROOT.parent)}:{node.lineno}: an __init__ only re-exports"


@each(MODULES)
def test_nothing_forbidden(path):
    def imports_module(node, name):
        return (isinstance(node, ast.Import) and any(a.name.split(".")[0] == name for a in node.names)) or (
            isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == name)

    def global_random(node):                                             # np.random.rand(...): one seed for everybody, order matters
        return (isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random", "xp.random")
                and node.attr not in RANDOM_ALLOWED)

    def kept_cache(node):                                                # silently wrong as soon as a layer runs twice
        return isinstance(node, ast.Attribute) and ast.unparse(node) in ("self.cache", "self._cache")

    def pickles(node):
        return any(imports_module(node, name) for name in ("pickle", "cloudpickle", "dill", "joblib", "shelve")) or (
            isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", None) is True)

    def names_cupy(node):
        return any(imports_module(node, name) or (isinstance(node, ast.Name) and node.id == name) for name in ("cupy", "cupyx"))
    assert not occurrences(path, global_random), "randomness is an argument (rng), never NumPy's global state"
    assert not occurrences(path, kept_cache), "a layer keeps nothing between forward and backward: return the cache"
    assert not occurrences(path, pickles), "weights are safetensors: loading a pickle runs its code"
    assert name_of(path) == ("backend",) or not occurrences(path, names_cupy), "only backend.py names cupy"


@each([p for p in MODULES if name_of(p)[0] == "kernels"])
def test_parallel_kernels_unpack_at_most_three_at_once(path):
    """A parallel loop that fills a view must not get the view from `a, b, c, view = x.reshape(-1), ..., out.reshape(-1)`.

    Four or more go through a tuple, in which numba 0.68 loses track of what `view` is a view of; it then removes the loop as dead code,
    and `out` is returned unfilled. CPython compiles two or three without a tuple.
    """
    def is_view(node):
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("reshape", "ravel", "transpose")

    def through_a_tuple(node):
        return (isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and len(node.value.elts) > 3
                and any(is_view(e) for e in node.value.elts))
    for function in TREES[path].body:
        if isinstance(function, ast.FunctionDef) and any(getattr(d, "id", "") == "jit_parallel" for d in function.decorator_list):
            lines = [node.lineno for node in ast.walk(function) if through_a_tuple(node)]
            assert not lines, f"{path.relative_to(ROOT.parent)}:{lines}: assign array views one by one"


@pytest.mark.parametrize("statement", ["import numpyvision", "from numpyvision import check, contract, models"])
def test_importing_loads_nothing_heavy(statement):
    heavy = ["numba", "matplotlib", "scipy", "PIL", "safetensors", "tqdm", "torch", "typer", "pandas"]
    script = f"{statement}; import sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    import importlib
    for path in MODULES:
        if path.name == "__init__.py":
            module = importlib.import_module(".".join(("numpyvision", *name_of(path)[:-1])))
            assert all(hasattr(module, name) for name in getattr(module, "__all__", ()))
