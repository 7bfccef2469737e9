"""A grid of boxes: counted by hand, inside the image, close enough to each other."""
import numpy as np
import pytest

from numpyvision.proposals.sliding_window import sliding_window


def test_counted_by_hand():
    """Windows of 8 in 16 x 24, half overlapping: starts 0 4 8 down, 0 4 8 12 16 across."""
    boxes = sliding_window((16, 24), sizes=(8,), aspect_ratios=(1.0,))
    assert len(boxes) == 3 * 5 and boxes[0].tolist() == [0, 0, 8, 8] and boxes[1].tolist() == [4, 0, 12, 8]
    assert boxes[-1].tolist() == [16, 8, 24, 16]


def test_inside_and_largest_first():
    boxes = sliding_window((100, 130), dtype=np.float64)
    assert boxes.min() >= 0 and boxes[:, 2].max() == pytest.approx(130) and boxes[:, 3].max() == pytest.approx(100)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    assert (np.diff(area) <= 1e-6).all() and sliding_window((100, 130)).dtype == np.float32


def test_neighbours_share_what_was_asked():
    boxes = sliding_window((100, 100), sizes=(30,), aspect_ratios=(1.0,), overlap=0.75, dtype=np.float64)
    starts = np.unique(boxes[:, 0])
    assert np.diff(starts).max() <= 7.5 + 1e-9 and starts[-1] == 70


def test_no_window_fits():
    assert sliding_window((8, 8), sizes=(16,)).shape == (0, 4)


def test_errors():
    for arguments, message in ((dict(image_size=(0, 5)), "image_size"), (dict(image_size=8, overlap=1), "overlap")):
        with pytest.raises(ValueError, match=message):
            sliding_window(**arguments)
