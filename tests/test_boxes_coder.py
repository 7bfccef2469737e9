import numpy as np
import pytest

from numpyvision.boxes import coder, convert


def random_boxes(rng, *shape):
    corner, size = rng.uniform(-100, 100, (*shape, 2)), rng.uniform(0.5, 200, (*shape, 2))
    return np.concatenate([corner, corner + size], axis=-1)


def test_lecture_S05_worked_transform():
    p = convert.box_convert(np.array([[50, 40, 20, 10.0]]), "cxcywh", "xyxy")
    t = np.array([[0.5, -0.2, np.log(2), 0]])
    b = convert.box_convert(coder.decode_boxes(t, p), "xyxy", "cxcywh")
    np.testing.assert_allclose(b, [[60, 38, 40, 10]], rtol=1e-14)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (10, 9, 5, 4)])
def test_lecture_S05_decode_inverts_encode(weights):
    rng = np.random.default_rng(0)
    g, p = random_boxes(rng, 200), random_boxes(rng, 200)
    g[:, 2:] = np.minimum(g[:, 2:], g[:, :2] + 62 * (p[:, 2:] - p[:, :2]))        # below the clip at 1000 / 16 = 62.5
    there_and_back = coder.decode_boxes(coder.encode_boxes(g, p, weights), p, weights)
    assert abs(there_and_back - g).max() <= 1e-12 * abs(g).max()
    deltas = rng.uniform(-3, 3, (200, 4))
    np.testing.assert_allclose(coder.encode_boxes(coder.decode_boxes(deltas, p, weights), p, weights), deltas, rtol=0, atol=1e-10)


def test_weights_multiply():
    rng = np.random.default_rng(1)
    g, p = random_boxes(rng, 5), random_boxes(rng, 5)
    np.testing.assert_allclose(coder.encode_boxes(g, p, (10, 9, 5, 4)), coder.encode_boxes(g, p) * [10, 9, 5, 4], rtol=1e-15)


def test_encode_ignores_a_common_shift_and_scale():
    rng = np.random.default_rng(2)
    g, p = random_boxes(rng, 50), random_boxes(rng, 50)
    np.testing.assert_allclose(coder.encode_boxes(3 * g + 7, 3 * p + 7), coder.encode_boxes(g, p), rtol=0, atol=1e-11)


def test_delta_clip():
    p = np.array([[0, 0, 16, 16.0]])
    grown = coder.decode_boxes(np.array([[0, 0, 50, 1e9]]), p)
    np.testing.assert_allclose(grown, [[-492, -492, 508, 508]], rtol=1e-12)       # 1000 px around (8, 8)
    assert np.isclose(coder.DELTA_CLIP, 4.135166556742356, rtol=1e-15)


def test_one_box_a_class():
    rng = np.random.default_rng(3)
    deltas, p = rng.normal(size=(6, 3, 4)), random_boxes(rng, 6)
    out = coder.decode_boxes(deltas, p[:, None])
    assert out.shape == (6, 3, 4)
    for k in range(3):
        np.testing.assert_array_equal(out[:, k], coder.decode_boxes(deltas[:, k], p))


def test_dtype_and_empty():
    p = np.array([[0, 0, 2, 2]], dtype=np.float32)
    assert coder.encode_boxes(p, p).dtype == np.float32
    assert coder.decode_boxes(np.zeros((1, 4), np.float32), p, (10, 10, 5, 5)).dtype == np.float32
    empty = np.zeros((0, 4))
    assert coder.encode_boxes(empty, empty).shape == (0, 4) and coder.decode_boxes(empty, empty).shape == (0, 4)


def test_complains():
    good, flat = np.array([[0, 0, 1, 1.0]]), np.array([[0, 0, 0, 1.0]])
    with pytest.raises(ValueError, match="references"):
        coder.encode_boxes(good, flat)
    with pytest.raises(ValueError, match="boxes"):
        coder.encode_boxes(flat, good)
    with pytest.raises(ValueError, match="reshape"):
        coder.decode_boxes(np.zeros((1, 8)), good)
