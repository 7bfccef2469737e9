"""The box transform that has a gradient equals the one that has none, and the gradients of a move that is easy to see."""
import numpy as np
import pytest

from numpyvision.boxes import coder, convert
from numpyvision.ops import box_transform


def random_boxes(rng, n=50):
    corner, size = rng.uniform(-40, 80, (n, 2)), rng.uniform(0.5, 90, (n, 2))
    return np.concatenate([corner, corner + size], axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_transform_of_constants_to_the_last_bit(dtype):
    rng = np.random.default_rng(0)
    boxes, references = random_boxes(rng).astype(dtype), random_boxes(rng).astype(dtype)
    weights = (10.0, 9.0, 5.0, 4.0)
    deltas, _ = box_transform.encode_boxes_forward(boxes, references, weights)
    np.testing.assert_array_equal(deltas, coder.encode_boxes(boxes, references, weights))
    np.testing.assert_array_equal(box_transform.decode_boxes_forward(deltas, references, weights)[0],
                                  coder.decode_boxes(deltas, references, weights))
    np.testing.assert_array_equal(box_transform.clip_boxes_forward(boxes, (30, 40))[0], convert.clip_boxes(boxes, (30, 40)))
    assert box_transform.DELTA_CLIP == coder.DELTA_CLIP


def test_a_move_to_the_right_moves_both_sides_and_a_growth_moves_them_apart():
    anchor = np.array([[10, 20, 30, 60.0]])                                        # 20 x 40
    _, cache = box_transform.decode_boxes_forward(np.zeros((1, 4)), anchor)
    for side, expected in enumerate([[20, 0, -10, 0], [0, 40, 0, -20], [20, 0, 10, 0], [0, 40, 0, 20]]):
        np.testing.assert_array_equal(box_transform.decode_boxes_backward(np.eye(4)[[side]], cache)[0], [expected])


def test_a_side_that_was_cut_has_no_gradient():
    _, cache = box_transform.clip_boxes_forward(np.array([[-1, 2, 50, 29.0]]), (30, 40))
    np.testing.assert_array_equal(box_transform.clip_boxes_backward(np.ones((1, 4)), cache), [[0, 1, 0, 1]])


def test_clipping_keeps_nan_and_takes_any_layout(mode):
    boxes = np.array([[-1, 2, 50, 29], [np.nan, -np.inf, np.inf, np.nan], [3, 4, 5, 6.0]]).T.copy().T          # not contiguous
    expected = [[0, 2, 40, 29], [np.nan, 0, 40, np.nan], [3, 4, 5, 6]]
    np.testing.assert_array_equal(box_transform.clip_boxes_forward(boxes, (30, 40))[0], expected)


def test_complains():
    box = np.array([[0, 0, 1, 1.0]])
    with pytest.raises(ValueError, match="one reference a box"):
        box_transform.encode_boxes_forward(box, np.concatenate([box, box]))
    with pytest.raises(ValueError, match="positive width"):
        box_transform.encode_boxes_forward(box * 0, box)
