"""What the bench times in torch is the same work: the same numbers come out, of every line and of whole models."""
import numpy as np
import pytest

from numpyvision import contract, tree
from numpyvision.bench import operations, peers, steps

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

from numpyvision.bench import twins  # noqa: E402

# the op has no counterpart in torch, or only in torchvision; torch's bicubic and ours agree, but for the border (see test_upsampling_torch)
WITHOUT = {"extract_patches", "bed_of_nails", "roi_pool"}


def smallest(op):
    return min((c for c in operations.CASES if c.op == op), key=lambda c: sum(a.size for a in c.draw().values()))


@pytest.mark.parametrize("op", sorted({c.op for c in operations.CASES} - WITHOUT))
def test_torch_computes_what_we_compute(op):
    line, (forward, backward) = smallest(op), contract.operations()[op]
    arrays = line.draw()
    out, cache = forward(*arrays.values(), **line.statics)
    dout = np.float32(1) if np.ndim(out) == 0 else np.random.default_rng(1).standard_normal(out.shape, np.float32)
    theirs = peers.torch_peer()(line, arrays, dout)
    np.testing.assert_allclose(theirs["forward"]().detach().numpy(), out, rtol=1e-3, atol=1e-4 * abs(out).max())
    names = [n for n, a in arrays.items() if a.dtype == np.float32 and n not in ("rois", "target", "targets", *line.constants)]
    grads = backward(dout, cache)
    grads = dict(zip(arrays, grads, strict=False)) if isinstance(grads, tuple) else {names[0]: grads}
    for name, t in zip(names, theirs["backward"](), strict=True):
        np.testing.assert_allclose(t.numpy(), grads[name], rtol=1e-3, atol=2e-4 * abs(grads[name]).max(), err_msg=name)


@pytest.mark.parametrize("name", steps.MODELS)
def test_a_twin_has_the_same_losses_gradients_and_predictions(name):
    model, _, batch = steps.prepare(name, 2, 64, 0)
    model.astype(np.float64)                                             # in float32 a ReLU near its kink may fall on either side
    batch.images = batch.images.astype(np.float64)
    twin = twins.make_twin(model)
    twin.to_pixels = True
    losses, cache = model.forward(batch.images, batch.targets, batch.sizes, rng=np.random.default_rng(7))
    dimages, grads = model.backward(dict.fromkeys(losses, 1.0), cache)
    theirs = twin.losses(batch.images, batch.targets, batch.sizes, np.random.default_rng(7))
    assert {k: float(v) for k, v in losses.items()} == pytest.approx({k: v.item() for k, v in theirs.items()}, rel=1e-10)
    sum(theirs.values()).backward()
    tensors = {"images": twin.pixels, **twin.p}
    for key, grad in {"images": dimages, **tree.flatten(grads)}.items():
        expected = tensors[key].grad.numpy()
        np.testing.assert_allclose(grad, expected, rtol=0, atol=1e-8 * max(abs(expected).max(), 1), err_msg=key)
    twin.to_pixels = False
    for ours, found in zip(model.predict(batch.images, batch.sizes), twin.predict(batch.images, batch.sizes), strict=True):
        if name == "fcn":
            np.testing.assert_array_equal(ours, found)
        else:
            assert len(ours) == len(found)
            np.testing.assert_allclose(ours.boxes, found.boxes, atol=1e-6)
            np.testing.assert_array_equal(ours.labels, found.labels)


@pytest.mark.parametrize("name, weights", [("fcn", {"loss_semantic": 2.0}), ("faster_rcnn", {"loss_objectness": 0.0, "loss_box_reg": 3.0})])
def test_a_twin_learns_as_we_do(name, weights):
    from numpyvision import runs
    from numpyvision.training import loop
    model, recipe, batch = steps.prepare(name, 2, 64, 0)
    twin = twins.make_twin(model)
    ours, theirs, rows = runs.make_optimizer(model, recipe), twin.optimizer(recipe), []
    for s in range(4):
        losses, norm = loop.train_step(model, batch, ours, recipe["lr"] * 0.1, [0, s], weights, 1e6)
        found = twin.step(batch, theirs, recipe["lr"] * 0.1, np.random.default_rng([0, s]), 1e6, weights)
        their_norm = sum(float((p.grad**2).sum()) for p in twin.p.values()) ** 0.5
        rows.append((sum(losses.values()), sum(found.values()), norm, their_norm))
    ours, theirs, norm, their_norm = zip(*rows, strict=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-2)
    np.testing.assert_allclose(norm, their_norm, rtol=2e-2)
    assert ours[-1] < ours[0]
