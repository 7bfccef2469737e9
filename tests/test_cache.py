"""cache.py: what forward remembers for backward."""
import numpy as np
import pytest

from numpyvision import cache as caches
from numpyvision.cache import Cache, NoCache, frozen, new_cache


def nested():
    x = np.zeros((2, 3))
    return Cache(x=x, stride=2, conv1=Cache(x=x, w=np.ones(4, np.float32)), levels=[np.ones(1), np.ones(2)])


def test_items_are_attributes():
    c = nested()
    assert c.x is c["x"] and c.conv1.w.shape == (4,)
    c["level", 0] = 5                                            # tuple keys for what a loop remembers
    assert c["level", 0] == 5


def test_a_missing_name_says_what_there_is():
    with pytest.raises(AttributeError, match="nothing named 'y' in this cache, only .*'stride'"):
        nested().y  # noqa: B018
    with pytest.raises(AttributeError, match="train=False"):
        NoCache(x=1).x  # noqa: B018
    assert not hasattr(nested(), "y")


def test_no_cache_forgets():
    c = new_cache(False, x=np.zeros(3))
    c["y"] = 1
    assert isinstance(c, NoCache) and not c
    assert isinstance(new_cache(True, x=1), Cache) and new_cache(True, x=1).x == 1


def test_repr_is_a_tree_of_names_shapes_dtypes_and_sizes():
    text = repr(nested())
    lines = {line.split()[0]: line for line in text.splitlines()[1:]}
    assert text.startswith("Cache: 0.00 MB")
    assert set(lines) == {"x", "stride", "conv1.x", "conv1.w", "levels.0", "levels.1"}
    assert "(4,)" in lines["conv1.w"] and "float32" in lines["conv1.w"] and lines["stride"].endswith("2")
    assert repr(NoCache()).startswith("NoCache")


def test_bytes_count_a_shared_array_once():
    assert caches.nbytes(nested()) == 6 * 8 + 4 * 4 + 8 + 16


def test_frozen_makes_everything_read_only_and_gives_it_back():
    c, kept, dout = nested(), np.zeros(2), np.zeros(1)
    kept.flags.writeable = False
    c["kept"] = kept
    with frozen(c, [dout]):
        for a in (c.x, c.conv1.w, c.levels[1], dout):
            with pytest.raises(ValueError, match="read-only"):
                a[0] = 1
    c.x[0] = dout[0] = 1
    assert not kept.flags.writeable                              # was read-only before, and stays so


def test_frozen_gives_back_after_an_error():
    c = nested()
    with pytest.raises(KeyError), frozen(c):
        raise KeyError
    assert c.x.flags.writeable


def test_frozen_takes_a_bare_array():
    a = np.zeros(2)
    with frozen(a), pytest.raises(ValueError, match="read-only"):
        a[0] = 1
