"""Encode, decode and clip, and their gradients, against the same formulas under torch's autograd."""
import math

import numpy as np
import pytest

from numpyvision.boxes import coder, convert
from numpyvision.ops import box_transform

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle
WEIGHTS = (10.0, 9.0, 5.0, 4.0)


def random_boxes(rng, n=200):
    corner, size = rng.uniform(-40, 80, (n, 2)), rng.uniform(0.5, 90, (n, 2))
    return np.concatenate([corner, corner + size], axis=1)


def split(boxes):
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def encode(boxes, references):
    (b, b_size), (p, p_size) = split(boxes), split(references)
    return torch.cat([(b - p) / p_size, torch.log(b_size / p_size)], 1) * torch.tensor(WEIGHTS, dtype=boxes.dtype)


def decode(deltas, references):
    (p, size), deltas = split(references), deltas / torch.tensor(WEIGHTS, dtype=deltas.dtype)
    centre, half = p + size * deltas[:, :2], size * torch.exp(deltas[:, 2:].clamp(max=math.log(1000 / 16))) / 2
    return torch.cat([centre - half, centre + half], 1)


def clip(boxes):
    return torch.stack([boxes[:, 0].clamp(0, 64), boxes[:, 1].clamp(0, 48), boxes[:, 2].clamp(0, 64), boxes[:, 3].clamp(0, 48)], 1)


def compare(outcome, backward, twin, arrays, rng):
    out, cache = outcome
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    expected, dout = twin(*tensors), rng.standard_normal(out.shape)
    grads = backward(dout, cache)
    theirs = torch.autograd.grad(expected, tensors, torch.tensor(dout))
    for ours, t in zip((out, *(grads if isinstance(grads, tuple) else (grads,))), (expected, *theirs), strict=True):
        np.testing.assert_allclose(ours, t.detach().numpy(), rtol=1e-11, atol=1e-11)


def test_encode():
    rng = np.random.default_rng(0)
    boxes, references = random_boxes(rng), random_boxes(rng)
    outcome = box_transform.encode_boxes_forward(boxes, references, WEIGHTS)
    np.testing.assert_array_equal(outcome[0], coder.encode_boxes(boxes, references, WEIGHTS))
    compare(outcome, box_transform.encode_boxes_backward, encode, (boxes, references), rng)


def test_decode_some_of_them_beyond_the_clip():
    rng = np.random.default_rng(1)
    deltas, references = rng.normal(0, 12, (200, 4)), random_boxes(rng)
    assert 0 < (deltas[:, 2] / 5 > math.log(1000 / 16)).sum() < 100
    outcome = box_transform.decode_boxes_forward(deltas, references, WEIGHTS)
    np.testing.assert_array_equal(outcome[0], coder.decode_boxes(deltas, references, WEIGHTS))
    compare(outcome, box_transform.decode_boxes_backward, decode, (deltas, references), rng)


def test_clip():
    rng = np.random.default_rng(2)
    boxes = random_boxes(rng)
    outcome = box_transform.clip_boxes_forward(boxes, (48, 64))
    np.testing.assert_array_equal(outcome[0], convert.clip_boxes(boxes, (48, 64)))
    compare(outcome, box_transform.clip_boxes_backward, clip, (boxes,), rng)
