"""tree.py: nested dicts and lists of arrays, named by dotted paths."""
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numpyvision import tree

LEAVES = st.builds(lambda v: np.array([float(v)]), st.integers(-5, 5))
DEEPER = lambda t: st.dictionaries(st.sampled_from("abc"), t, max_size=3) | st.lists(t, max_size=3)
TREES = st.recursive(LEAVES | st.none(), DEEPER, max_leaves=6)


def values(t):
    return {name: leaf.tolist() for name, leaf in tree.flatten(t).items()}


def test_names_are_dotted_paths_in_tree_order():
    t = {"conv1": {"w": 1, "b": 2}, "blocks": [{"w": 3}, None, (4, 5)]}
    assert tree.flatten(t) == {"conv1.w": 1, "conv1.b": 2, "blocks.0.w": 3, "blocks.2.0": 4, "blocks.2.1": 5}
    assert tree.flatten(None) == {} and tree.flatten(t, "net")["net.conv1.w"] == 1


def test_map_keeps_the_shape_of_the_tree():
    assert tree.map(lambda v: -v, {"a": [1, (2, None)]}) == {"a": [-1, [-2, None]]}


def test_add_treats_what_is_missing_as_zero():
    one, two = {"a": np.ones(2), "l": [np.ones(1)]}, {"a": np.ones(2), "b": np.full(1, 7.0), "l": [np.ones(1), np.ones(1)]}
    assert values(tree.add(one, None, two)) == {"a": [2, 2], "l.0": [2], "l.1": [1], "b": [7]}
    assert tree.add(None, None) is None and tree.add() is None and tree.add(one) is one
    assert values(tree.add({"a": None}, {"a": np.ones(1)})) == {"a": [1]}


def test_add_writes_nowhere():
    one, two = {"a": np.ones(2)}, {"a": np.ones(2)}
    tree.add(one, two)["a"][:] = 9
    assert values(one) == values(two) == {"a": [1, 1]}


@given(st.dictionaries(st.sampled_from("abcd"), LEAVES | st.none()), st.dictionaries(st.sampled_from("abcd"), LEAVES | st.none()))
def test_add_is_commutative_and_dot_is_bilinear(a, b):
    assert values(tree.add(a, b)) == values(tree.add(b, a)) or set(a) | set(b) == set()
    assert tree.dot(tree.add(a, b), a) == tree.dot(a, a) + tree.dot(b, a)
    assert tree.dot(tree.scale(a, 3), b) == 3 * tree.dot(a, b) == 3 * tree.dot(b, a)


@given(TREES)
def test_map_identity_changes_nothing(t):
    assert values(tree.map(lambda leaf: leaf, t)) == values(t)


def test_dot_sums_over_matching_leaves():
    assert tree.dot({"a": np.array([1.0, 2]), "b": np.ones(1)}, {"a": np.array([3.0, 4])}) == 11
    assert isinstance(tree.dot({"a": np.ones(1, np.float32)}, {"a": np.ones(1, np.float32)}), float)


def test_randn_like_has_shapes_dtypes_and_a_seed():
    t = {"a": np.zeros((2, 3), np.float32), "l": [np.zeros(0)]}
    noise, again = (tree.randn_like(t, np.random.default_rng(0)) for _ in range(2))
    assert noise["a"].shape == (2, 3) and noise["a"].dtype == np.float32 and noise["l"][0].shape == (0,)
    assert values(noise) == values(again)
