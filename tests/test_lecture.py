"""The lecture as tests: every row of "Detection + Segmentation" that the package covers so far, its id in the pytest id.

    pytest tests/test_lecture.py -k L16-U03

A row of the slides (T tasks, S slow R-CNN, F Fast R-CNN and its RoI Pool, R Faster R-CNN, M Mask R-CNN, K keypoints, H heads, A RoI
Align, G semantic segmentation, U upsampling, V transposed convolution) is asserted as the slide has it. An erratum (E) is asserted twice:
the slide's claim fails, and the corrected one holds. Everything runs on the compiled and on the readable bodies. The rows themselves are
in the files lecture_*.py beside this one.
"""
import pytest

pytest.register_assert_rewrite("lecture_heads", "lecture_rcnn", "lecture_roi", "lecture_segmentation", "lecture_upsampling",
                               "lecture_transposed")
import lecture_heads  # noqa: E402, F401
import lecture_rcnn  # noqa: E402, F401
import lecture_roi  # noqa: E402, F401
import lecture_segmentation  # noqa: E402, F401
import lecture_transposed  # noqa: E402, F401
import lecture_upsampling  # noqa: E402, F401
from lecture_rows import RULES  # noqa: E402

COVERED = {"T": (1, 3, 4), "R": range(1, 8), "M": range(1, 7), "K": range(1, 4), "H": (1,), "S": range(1, 8), "F": range(1, 8),
           "A": range(1, 8), "G": range(1, 10), "U": range(1, 11), "V": range(1, 14), "E": range(1, 13)}


@pytest.mark.parametrize("rule", [pytest.param(f, id=f"{name}-{f.__name__}") for name, f in sorted(RULES, key=lambda r: r[0])])
def test_lecture(rule, mode):
    rule()


def test_every_row_has_a_test_and_every_test_a_row():
    found, wanted = {name for name, _ in RULES}, {f"L16-{letter}{n:02d}" for letter, numbers in COVERED.items() for n in numbers}
    assert found == wanted, f"missing {sorted(wanted - found)}, not in the list {sorted(found - wanted)}"
