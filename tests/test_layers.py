"""Layers: names, joins and errors. That every layer keeps the law is the contract's to check (test_contract.py)."""
import inspect
import pathlib
import textwrap

import numpy as np
import pytest

from numpyvision import tree
from numpyvision.layers.base import Layer, Sequential
from numpyvision.layers.blocks import BasicBlock, Identity
from numpyvision.layers.conv import Conv2d
from numpyvision.layers.fpn import FPN
from numpyvision.layers.linear import Linear
from numpyvision.layers.norm import BatchNorm2d, make_norm
from numpyvision.layers.resnet import ResNet
from numpyvision.layers.roi import PyramidRoIAlign


def rng():
    return np.random.default_rng(0)


class Pair(Layer):
    def __init__(self):
        self.params = {"own": np.ones(2)}
        self.first = Linear(2, 3, rng=rng())
        self.rest = [BatchNorm2d(4), Sequential(Linear(3, 1, rng=rng()))]
        self.by_name = {"a": Linear(1, 1, rng=rng())}


def test_names_follow_the_attributes():
    assert [name for name, _ in Pair().named_params()] == [
        "own", "first.w", "first.b", "rest.0.gamma", "rest.0.beta", "rest.1.layers.0.w", "rest.1.layers.0.b", "by_name.a.w", "by_name.a.b"]
    assert [name for name, _ in Pair().named_buffers()] == ["rest.0.running_mean", "rest.0.running_var"]


def test_astype_reaches_every_array():
    pair = Pair().astype(np.float64)
    assert {a.dtype for _, a in (*pair.named_params(), *pair.named_buffers())} == {np.dtype(np.float64)}


def test_one_layer_twice_before_its_backwards():
    """What a self.cache would break: the first backward must still see the first input."""
    layer, r = Linear(3, 2, rng=rng(), dtype=np.float64), rng()
    x1, x2, dout = r.standard_normal((4, 3)), r.standard_normal((4, 3)), r.standard_normal((4, 2))
    _, cache1 = layer.forward(x1)
    layer.forward(x2)
    _, grads = layer.backward(dout, cache1)
    np.testing.assert_allclose(grads["w"], x1.T @ dout, atol=1e-12)


def test_he_initialisation_keeps_the_variance():
    """Var(conv(relu(x))) = Var(x) for symmetric x: He et al. 2015, Eq. 10."""
    r = rng()
    h = r.standard_normal((4, 64, 20, 20))
    out, _ = Conv2d(64, 64, 3, rng=r, dtype=np.float64).forward(np.maximum(h, 0))
    assert 0.85 < out.std() < 1.15


def test_a_block_without_its_main_branch_is_its_shortcut():
    block = BasicBlock(8, 8, rng=rng(), dtype=np.float64)
    assert isinstance(block.shortcut, Identity)
    block.conv2.norm.params["gamma"][:] = 0
    x = rng().standard_normal((2, 8, 6, 6))
    out, cache = block.forward(x)
    np.testing.assert_array_equal(out, np.maximum(x, 0))
    dx, _ = block.backward(np.ones_like(x), cache)
    np.testing.assert_array_equal(dx, x > 0)


def test_resnet_gives_a_map_for_each_stage_asked_for():
    net = ResNet((8, 8, 16, 16), (1, 2, 1, 1), out_stages=(2, 4), rng=rng())
    (C2, C4), cache = net.forward(np.zeros((1, 3, 64, 32), np.float32))
    assert net.strides == (4, 16) and C2.shape == (1, 8, 16, 8) and C4.shape == (1, 16, 4, 2)
    _, grads = net.backward((np.ones_like(C2), np.ones_like(C4)), cache)
    assert set(tree.flatten(grads)) == {name for name, _ in net.named_params()}


def test_fpn_top_down_path():
    """With laterals that pass and outputs that pass, P_l is the sum of its own level and all coarser ones, enlarged."""
    fpn = FPN((1, 1, 1), 1, rng=rng(), dtype=np.float64)
    for conv in (*fpn.lateral, *fpn.output):
        conv.params["w"][:] = 0
        conv.params["w"][0, 0, conv.params["w"].shape[2] // 2, conv.params["w"].shape[3] // 2] = 1
    C = [np.full((1, 1, s, s), v) for s, v in ((8, 1.0), (4, 10.0), (2, 100.0))]
    P, cache = fpn.forward(C)
    assert [p.shape[2] for p in P] == [8, 4, 2] and [set(p.ravel()) for p in P] == [{111.0}, {110.0}, {100.0}]
    dC, _ = fpn.backward([np.ones_like(p) for p in P], cache)
    assert [set(d.ravel()) for d in dC] == [{1.0}, {5.0}, {21.0}]              # a coarse cell feeds 1 + 4 + 16 cells below it


def test_fpn_refuses_levels_that_do_not_halve():
    fpn = FPN((1, 1), 1, rng=rng())
    with pytest.raises(ValueError, match="pad the image to a multiple of the coarsest stride"):
        fpn.forward([np.zeros((1, 1, 7, 8), np.float32), np.zeros((1, 1, 4, 4), np.float32)])


def test_regions_are_cut_from_the_level_of_their_size():
    pool = PyramidRoIAlign(2, strides=(4, 8, 16), canonical_size=96, canonical_level=4)
    P = [np.full((1, 1, 32 // 2**l, 32 // 2**l), l, np.float64) for l in range(3)]
    rois = np.array([[0, 0, 0, 20, 20], [0, 0, 0, 60, 60], [0, 0, 0, 110, 110]], np.float64)
    out, cache = pool.forward(P, rois)
    assert out[:, 0, 0, 0].tolist() == [0, 1, 2]
    (dP, drois), _ = pool.backward(np.ones_like(out), cache)
    assert [round(d.sum(), 9) for d in dP] == [4, 4, 4] and drois.shape == (3, 5)
    (dP_alone, nothing), _ = pool.backward(np.ones_like(out), cache, to_rois=False)         # regions that are constants
    assert nothing is None and all(a.tobytes() == b.tobytes() for a, b in zip(dP, dP_alone, strict=True))


def test_unknown_norm():
    with pytest.raises(ValueError, match="norm must be one of batch, frozen, group, got 'layer'"):
        make_norm("layer", 8)


def test_the_block_that_the_readme_shows_is_the_one_in_the_package():
    shown = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert textwrap.dedent(inspect.getsource(BasicBlock.backward)) in shown
