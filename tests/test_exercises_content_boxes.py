"""Every exercise about boxes, losses and metrics, both ways: right answers of any making pass, every planted mistake fails by its name."""
import importlib.util

import pytest
import solutions_boxes
import solutions_losses
import solutions_targets

from numpyvision.exercises import cases_boxes, catalog, judge, mutants, mutants_boxes, skeleton

SOLUTIONS = solutions_boxes.SOLUTIONS | solutions_losses.SOLUTIONS | solutions_targets.SOLUTIONS
NAMES = sorted(cases_boxes.CASES)


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
    assert all(len(bugs) >= 3 for bugs in mutants_boxes.MISTAKES.values())
    assert all(len(solutions) >= 2 for solutions in SOLUTIONS.values())


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
