"""RLE and polygons on pictures that can be checked by hand; the COCO API itself is the oracle in tests/oracle."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from numpyvision.boxes import masks

PICTURE = np.array([[0, 1, 1],
                    [0, 1, 0]], dtype=bool)                            # the one in the module's docstring
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


def test_counts_run_down_the_columns_and_begin_with_zeros():
    assert masks.mask_to_counts(PICTURE).tolist() == [2, 3, 1]
    assert masks.mask_to_counts(~PICTURE).tolist() == [0, 2, 3, 1]
    assert masks.mask_to_counts(np.zeros((0, 5), bool)).tolist() == [0]
    assert masks.encode_mask(PICTURE) == {"size": [2, 3], "counts": "231"}


@settings(deadline=None, max_examples=60)
@given(MASKS)
def test_decode_inverts_encode_in_every_form(mask):
    counts = masks.mask_to_counts(mask)
    size = list(mask.shape)
    text = masks.counts_to_string(counts)
    for form in (counts.tolist(), text, text.encode()):
        assert np.array_equal(masks.decode_mask({"size": size, "counts": form}), mask)
    assert masks.rle_area({"size": size, "counts": text}) == mask.sum()


def test_text_of_large_and_of_falling_counts():
    for counts in ([1_000_000, 5, 7, 900_000, 3, 1, 2], [0, 31, 32, 33, 15, 16, 17, 2**40], [0], []):
        assert masks.counts_from_string(masks.counts_to_string(counts)).tolist() == counts


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_merge_and_iou_equal_the_dense_arithmetic(data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))
    stack = data.draw(st.lists(hnp.arrays(bool, shape), min_size=1, max_size=4))
    rles = [masks.encode_mask(m) for m in stack]
    assert np.array_equal(masks.decode_mask(masks.merge_rles(rles)), np.any(stack, axis=0))
    assert np.array_equal(masks.decode_mask(masks.merge_rles(rles, intersect=True)), np.all(stack, axis=0))
    flat = np.reshape(stack, (len(stack), -1)).astype(float)
    inter = flat @ flat.T
    union = flat.sum(1)[:, None] + flat.sum(1)[None] - inter
    assert np.array_equal(masks.rle_iou(rles, rles), np.where(inter > 0, inter / np.maximum(union, 1), 0))


def test_iou_with_a_crowd_divides_by_the_detection():
    small, large = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    small[:2, :2] = True
    rles = [masks.encode_mask(small)], [masks.encode_mask(large)]
    assert masks.rle_iou(*rles).tolist() == [[0.25]] and masks.rle_iou(*rles, iscrowd=[True]).tolist() == [[1.0]]
    assert masks.rle_iou([], rles[1]).shape == (0, 1) and masks.rle_iou(rles[0], []).shape == (1, 0)


def test_a_rectangle_of_whole_pixels_is_filled_exactly():
    mask = masks.polygons_to_mask([[1, 2, 4, 2, 4, 5, 1, 5]], (6, 7))
    expected = np.zeros((6, 7), bool)
    expected[2:5, 1:4] = True                                          # half-open: x in [1, 4), y in [2, 5)
    assert np.array_equal(mask, expected)


def test_polygons_of_one_object_are_united_and_a_crossing_makes_a_hole():
    left, right = [0, 0, 2, 0, 2, 2, 0, 2], [1, 0, 4, 0, 4, 2, 1, 2]
    assert masks.polygons_to_mask([left, right], (2, 5)).tolist() == [[True] * 4 + [False]] * 2
    twice_around = [0, 0, 6, 0, 6, 6, 0, 6, 0, 0, 2, 2, 4, 2, 4, 4, 2, 4, 2, 2]
    ring = masks.polygons_to_mask([twice_around], (6, 6))
    assert not ring[2:4, 2:4].any() and ring.sum() == 32


def test_a_polygon_is_clipped_at_the_image_and_may_be_empty():
    assert masks.polygons_to_mask([[-50, -50, 90, -50, 90, 90, -50, 90]], (3, 4)).all()
    assert not masks.polygons_to_mask([[2, 2, 2, 2, 2, 2]], (3, 4)).any()
    assert masks.polygons_to_mask([], (3, 4)).shape == (3, 4)


def test_mask_to_box_is_half_open_and_keeps_the_stack():
    assert masks.mask_to_box(PICTURE).tolist() == [1, 0, 3, 2]
    assert masks.mask_to_box(np.stack([PICTURE, np.zeros_like(PICTURE)])).tolist() == [[1, 0, 3, 2], [0, 0, 0, 0]]
    assert masks.mask_to_box(np.zeros((0, 5, 5), bool)).shape == (0, 4)


@pytest.mark.parametrize("rle, words", [
    ({"size": [2, 3], "counts": [2, 3]}, "sum to 6, got 5"),
    ({"size": [2, 3], "counts": [9, -3]}, "negative"),
    ({"size": [2, 3], "counts": "2~"}, "not a compressed RLE"),
    ({"size": [2, 3], "counts": "2ü"}, "not a compressed RLE"),
    ({"size": [2, 3], "counts": "2S"}, "not a compressed RLE"),        # the text ends inside a number
    ({"size": [2, 3], "counts": "o" * 14 + "1"}, "does not fit"),
    ({"counts": [6]}, "an RLE is"),
    ([[1, 2, 3]], "an RLE is"),
])
def test_a_broken_rle_is_refused_with_the_cause(rle, words):
    with pytest.raises(ValueError, match=words):
        masks.decode_mask(rle)


@pytest.mark.parametrize("polygon", [[1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, np.nan]])
def test_a_broken_polygon_is_refused(polygon):
    with pytest.raises(ValueError, match="at least 3 finite points"):
        masks.polygons_to_mask([polygon], (4, 4))


def test_masks_of_different_sizes_are_not_compared():
    rles = [masks.encode_mask(np.ones((2, 3), bool)), masks.encode_mask(np.ones((3, 2), bool))]
    with pytest.raises(ValueError, match="one size"):
        masks.merge_rles(rles)
    with pytest.raises(ValueError, match="one size"):
        masks.rle_iou(rles[:1], rles[1:])
