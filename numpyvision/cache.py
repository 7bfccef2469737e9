"""What forward remembers for backward: a dict with attribute access that can be printed, frozen and forgotten."""
import contextlib

import numpy as np


class Cache(dict):
    """A dict whose items are also attributes: `cache.x` is `cache["x"]`. `print(cache)` shows the tree of names, shapes, dtypes, MB."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            hint = " (forward ran with train=False: a NoCache keeps nothing)" if isinstance(self, NoCache) else ""
            raise AttributeError(f"nothing named {name!r} in this cache, only {sorted(map(str, self))}{hint}") from None

    def __repr__(self):
        rows = [(name, _describe(leaf)) for name, leaf in leaves(self)]
        width = max((len(name) for name, _ in rows), default=0)
        total = f"{type(self).__name__}: {nbytes(self) / 2**20:.2f} MB"
        return "\n".join([total] + [f"  {name:<{width}}  {text}" for name, text in rows])


class NoCache(Cache):
    """Forgets what is put in it: forward with train=False runs the same code, and memory stays flat."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __setitem__(self, key, value):
        pass


def new_cache(train, **items):
    """A Cache to train with, a NoCache to predict with. A layer's forward begins with this line."""
    return Cache(items) if train else NoCache()


def leaves(cache, prefix=""):
    """(dotted name, value) for everything in a cache that is not itself a dict or a list of arrays or caches."""
    items = cache.items() if isinstance(cache, dict) else enumerate(cache)
    for key, value in items:
        key = ".".join(map(str, key)) if isinstance(key, tuple) else key
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict) or (isinstance(value, (list, tuple)) and any(isinstance(v, (dict, list, np.ndarray)) for v in value)):
            yield from leaves(value, name)
        else:
            yield name, value


def nbytes(cache):
    """Bytes of all arrays in the cache, an array that several entries share counted once."""
    arrays = {id(v): v.nbytes for _, v in leaves(cache) if hasattr(v, "nbytes")}
    return sum(arrays.values())


@contextlib.contextmanager
def frozen(*trees):
    """Make every NumPy array in these caches (dicts, lists, arrays) read-only inside the `with`: a backward that writes raises."""
    arrays = [v for t in trees for _, v in leaves([t]) if isinstance(v, np.ndarray) and v.flags.writeable]
    for a in arrays:
        a.flags.writeable = False
    try:
        yield
    finally:
        for a in arrays:
            a.flags.writeable = True


def _describe(leaf):
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return f"{tuple(leaf.shape)!s:<22} {leaf.dtype!s:<8} {leaf.nbytes / 2**20:9.3f} MB"
    text = repr(leaf)
    return text if len(text) <= 60 else text[:57] + "..."
