"""Gradient descent through RoI Align alone brings a box from IoU 0.3 to over 0.9."""
import numpy as np
import pytest

from numpyvision import check
from numpyvision.demos import box_descent


@pytest.mark.parametrize("index", range(8))
def test_a_box_finds_its_object_through_the_crop_alone(index):                                            # L16-A05
    _, true_box, descent = box_descent.descend_in_scene(index)
    assert descent.ious[0] == pytest.approx(0.3, abs=1e-6)
    assert descent.ious[-1] > 0.9, f"scene {index}: {descent.ious[-1]:.3f}"
    assert descent.boxes.shape == (121, 4) and descent.losses.shape == descent.ious.shape == (121,)


def test_the_gradient_to_the_deltas():
    rng = np.random.default_rng(0)
    picture, start = box_descent.blur(rng.random((2, 30, 40)), 2.0)[None], np.array([9.3, 7.1, 24.2, 22.6])
    template, _ = box_descent.crop(picture, (10.2, 6.1, 27.3, 21.9), 5)

    def forward(t):
        loss, dbox = box_descent.crop_loss(picture, template, box_descent.decode(t, start))
        return loss, (dbox, t)
    report = check.gradcheck(forward, lambda dloss, cache: dloss * box_descent.decode_backward(*cache, start),
                             [np.array([0.05, -0.08, 0.11, -0.2])], rng=rng, keeps_dtype=False)     # its picture and its start are float64
    assert report.ok, report


def test_without_the_gradient_to_the_box_nothing_moves(monkeypatch):
    """RoI Pool's zero gradient (L16-F05) would leave the box where it was."""
    monkeypatch.setattr(box_descent.roi, "roi_align_backward", lambda dout, cache: (None, np.zeros((1, 5))))
    _, _, descent = box_descent.descend_in_scene(2)
    assert np.ptp(descent.boxes, axis=0).max() < 1e-9 and descent.ious[-1] == pytest.approx(0.3, abs=1e-6)
