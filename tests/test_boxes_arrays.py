"""boxes/ computes with the library of the arrays it is given: the same numbers from a strict stand-in for CuPy as from NumPy."""
import numpy as np
import pytest
import strict_array

from numpyvision.boxes import coder, convert, iou, levels, matching, nms, sampling

RNG = np.random.default_rng(0)
CORNER, SIZE = RNG.uniform(0, 40, (30, 2)), RNG.uniform(5, 90, (30, 2))
BOXES = np.concatenate([CORNER, CORNER + SIZE], axis=1)
SCORES, GROUPS = RNG.random(30), RNG.integers(0, 3, 30)
LABELS = RNG.integers(-1, 2, 30)
OVERLAP = iou.box_iou(BOXES[:4], BOXES)

CALLS = {
    "box_convert": (lambda b: convert.box_convert(b, "xyxy", "cxcywh"), [BOXES]),
    "box_area": (convert.box_area, [BOXES]),
    "clip_boxes": (lambda b: convert.clip_boxes(b, (50, 60)), [BOXES]),
    "remove_small": (lambda b: convert.remove_small(b, 30), [BOXES]),
    "boxes_to_rois": (lambda b, c: convert.boxes_to_rois([b, c]), [BOXES, BOXES[:3]]),
    "box_iou": (iou.box_iou, [BOXES, BOXES[:7]]),
    "box_ioa": (iou.box_ioa, [BOXES, BOXES[:7]]),
    "encode_boxes": (lambda b, c: coder.encode_boxes(b, c, (10, 10, 5, 5)), [BOXES, BOXES[::-1].copy()]),
    "decode_boxes": (lambda d, b: coder.decode_boxes(d, b, (10, 10, 5, 5)), [RNG.normal(size=(30, 4)), BOXES]),
    "nms": (lambda b, s: nms.nms(b, s, 0.3), [BOXES, SCORES]),
    "nms of nothing": (lambda b, s: nms.nms(b, s, 0.3), [BOXES[:0], SCORES[:0]]),
    "batched_nms": (lambda b, s, g: nms.batched_nms(b, s, g, 0.3), [BOXES, SCORES, GROUPS]),
    "match_boxes": (lambda v: matching.match_boxes(v, 0.6, 0.3, True), [OVERLAP]),
    "match_boxes without truth": (lambda v: matching.match_boxes(v, 0.6, 0.3, True), [OVERLAP[:0]]),
    "ignore_inside": (matching.ignore_inside, [LABELS, BOXES, BOXES[:2]]),
    "sample_labels": (lambda labels: sampling.sample_labels(labels, 12, 0.25, np.random.default_rng(1)), [LABELS]),
    "assign_levels": (lambda b: levels.assign_levels(b, 2, 5, canonical_size=40), [BOXES]),
}


@pytest.mark.parametrize("name", CALLS)
def test_runs_on_another_library(name):
    function, arrays = CALLS[name]
    expected, got = function(*arrays), function(*[strict_array.module.asarray(a) for a in arrays])
    for e, g in zip(*((v if isinstance(v, tuple) else (v,)) for v in (expected, got)), strict=True):
        assert isinstance(g, strict_array.StrictArray) and g.dtype == e.dtype
        np.testing.assert_allclose(g.get(), e, rtol=1e-14)
