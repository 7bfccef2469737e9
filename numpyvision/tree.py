"""Gradients and parameters as trees: nested dicts and lists whose leaves are arrays, named by the dotted path to the leaf.

`{"conv1": {"w": ...}, "blocks": [{"w": ...}]}` has the leaves `conv1.w` and `blocks.0.w`. None is an absent subtree: a gradient of zero.
"""
from numpyvision import backend


def flatten(tree, prefix=""):
    """A flat dict {dotted name: leaf}, in tree order. None contributes nothing."""
    if tree is None:
        return {}
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    else:
        return {prefix: tree}
    flat = {}
    for key, value in items:
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def map(function, tree):
    """The same tree with function(leaf) at every leaf."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {key: map(function, value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [map(function, value) for value in tree]
    return function(tree)


def add(*trees):
    """Leaf by leaf sum. A subtree that one side lacks (None, a missing key, a shorter list) counts as zero.

    This is the copy gate seen from behind: a value that was read in several places receives the sum of their gradients.
    Nothing is written in place, and with one tree given that very tree comes back.
    """
    trees = [t for t in trees if t is not None]
    if not trees:
        return None
    first = trees[0]
    if len(trees) == 1:
        return first
    if isinstance(first, dict):
        keys = dict.fromkeys(k for t in trees for k in t)                  # a dict keeps the order of first appearance
        return {k: add(*(t.get(k) for t in trees)) for k in keys}
    if isinstance(first, (list, tuple)):
        return [add(*(t[i] for t in trees if i < len(t))) for i in range(max(len(t) for t in trees))]
    return sum(trees[1:], first)


def scale(tree, factor):
    """Every leaf times factor."""
    return map(lambda leaf: leaf * factor, tree)


def dot(tree1, tree2):
    """Inner product over all leaves, a Python float. Leaves are matched by name; a leaf that one side lacks counts as zero."""
    flat1, flat2 = flatten(tree1), flatten(tree2)
    return sum(float((flat1[name] * flat2[name]).sum()) for name in flat1 if name in flat2)


def randn_like(tree, rng):
    """Standard normal noise in the shape, dtype and array library of every leaf."""
    def noise(leaf):
        xp = backend.get_array_module(leaf)
        return xp.asarray(rng.standard_normal(leaf.shape).astype(leaf.dtype))
    return map(noise, tree)
