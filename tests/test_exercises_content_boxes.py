"""Every exercise about boxes, losses and metrics, both ways: right answers of any making pass, every planted mistake fails by its name."""
import importlib.util
import math

import numpy as np
import pytest
import solutions_boxes
import solutions_losses
import solutions_targets

from numpyvision.exercises import cases, cases_boxes, catalog, judge, mutants, mutants_boxes, skeleton

SOLUTIONS = solutions_boxes.SOLUTIONS | solutions_losses.SOLUTIONS | solutions_targets.SOLUTIONS
NAMES = sorted(cases_boxes.CASES)
T, F = True, False
EYES = np.zeros((1, 17, 3))
EYES[0, :3] = [50, 10, 2], [54, 9, 1], [46, 8, 2]
# the answer to the first case of each, as the statement works it out by hand (upstream gradient 1; of decode_boxes, 1 to x1 alone)
WORKED = {
    "box_convert": [[20, 40, 20, 40]],
    "clip_boxes": [[0, 10, 60, 40]],
    "box_iou": [[4 / 28, 0, 0.5]],
    "nms": [3, 0, 2],
    "batched_nms": [3, 0, 2],
    "match_voc": [1, 0, 1],
    "precision_recall": ([1, 1, 2 / 3, 2 / 4, 3 / 5], [1 / 3, 2 / 3, 2 / 3, 2 / 3, 1]),
    "average_precision": 0.866667,
    "match_boxes": ([0, 1, 0, 0, 0], [1, -1, 0, 0, -1]),
    "encode_boxes": [[0.5, -0.2, 0.693147, 0]],
    "decode_boxes": [[40, 33, 80, 43]],
    "decode_boxes_backward": ([[20, 0, -20, 0]], [[1, 0, 0, 0]]),
    "smooth_l1_forward": 0.227847,
    "smooth_l1_backward": [0.225, 0.5],
    "cell_anchors": [[-2, -2, 2, 2], [-1, -4, 1, 4]],
    "grid_anchors": [[x + dx, y + dy, x + ex, y + ey] for y in (4, 12) for x in (4, 12, 20)
                     for dx, dy, ex, ey in ((-4, -2, 4, 2), (-3, -3, 3, 3))],
    "sigmoid_bce_forward": 1.410038,
    "sigmoid_bce_backward": [-0.25, 0.440399],
    "rpn_losses_forward": (math.log(2), 0.227847),
    "rpn_losses_backward": ([[0.25, -0.25, 0]], [[[0] * 4, [0.5, 0, 0, 0.225], [0] * 4]], None, None, None, None),
    "sigmoid_focal_loss_forward": 0.233268,
    "sigmoid_focal_loss_backward": [-0.000362, -0.137752],
    "assign_levels": [4, 3, 4, 2],
    "softmax_cross_entropy_forward": 0.895880,
    "softmax_cross_entropy_backward": [[1 / 6, -2 / 6, 1 / 6], [0.1, 0.15, -0.25]],
    "confusion_counts": [[1, 1, 0], [0, 2, 0], [0, 1, 0]],
    "mean_iou": 1 / 3,
    "crop_masks": [[[1 / 3, 1], [1 / 3, 1]]],
    "paste_masks": [[[F] * 7, *[[F, F, F, T, T, F, F]] * 4, [F] * 7]],
    "keypoint_cells": [[1596]],
    "flip_keypoints": EYES,
    "oks": [[1], [0.6299]],
}


def from_skeleton(name, tmp_path):
    """The function in the file that a student starts from."""
    path = tmp_path / f"{name}.py"
    path.write_text(skeleton.skeleton(catalog.find(name)), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"skeleton_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, catalog.find(name).function_name)


def test_every_exercise_has_all_that_belongs_to_it():
    assert len(NAMES) >= 28
    assert set(NAMES) <= set(catalog.load())
    assert set(NAMES) == set(mutants_boxes.MISTAKES) == set(SOLUTIONS)
    assert set(NAMES) - set(WORKED) == {"sample_labels"}               # of which many answers are right
    assert all(len(bugs) >= 3 for bugs in mutants_boxes.MISTAKES.values())
    assert all(len(solutions) >= 2 for solutions in SOLUTIONS.values())


@pytest.mark.parametrize("name", sorted(WORKED))
def test_the_worked_example_is_the_first_case_and_its_numbers_are_right(name):
    exercise, (args, kwargs) = catalog.find(name), cases.of(name)[0]
    if exercise.kind == "backward":
        forward, backward = exercise.pair()
        out, cache = forward(*args, **kwargs)
        answer = backward({"decode_boxes_backward": np.array([[1., 0, 0, 0]]), "rpn_losses_backward": (1., 1.)}.get(name, 1.), cache)
    else:
        answer = exercise.reference()(*args, **kwargs)
        answer = answer[0] if exercise.kind == "forward" else answer
    expected = WORKED[name]
    for got, wanted in zip(answer, expected, strict=True) if isinstance(expected, tuple) else [(answer, expected)]:
        assert (got is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_passes_and_the_skeleton_is_still_to_be_written(name, tmp_path):
    for seed in (0, 1, 2):
        verdict = judge.judge(name, catalog.find(name).reference(), seed)
        assert verdict.ok, (seed, verdict.message, verdict.details)
    verdict = judge.judge(name, from_skeleton(name, tmp_path))
    assert (verdict.ok, verdict.diagnosis) == (False, "not-implemented")


@pytest.mark.parametrize("solution", [s for name in NAMES for s in SOLUTIONS[name]], ids=lambda s: s.__name__)
def test_other_right_answers_pass(solution):
    name = next(n for n, several in SOLUTIONS.items() if solution in several)
    for seed in (0, 1, 2):
        verdict = judge.judge(name, solution, seed)
        assert verdict.ok, (seed, verdict.message, verdict.details)


@pytest.mark.parametrize("name, number", [(n, i) for n, bugs in mutants_boxes.MISTAKES.items() for i in range(len(bugs))])
def test_a_planted_mistake_is_named(name, number):
    bug, wrong = mutants.functions(name)[number]
    for seed in (0, 1):
        verdict = judge.judge(name, wrong, seed)
        assert not verdict.ok, "nobody notices this mistake: is there a case that shows it?"
        assert bug.why[1:] in verdict.message, (seed, verdict.message)
        assert verdict.diagnosis == bug.code
