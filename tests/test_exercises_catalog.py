"""The catalogue: faults of an entry are named; every exercise has its skeleton, cases, mistakes and picture."""
import copy

import numpy as np
import pytest

from numpyvision.exercises import cases, cases_boxes, catalog, judge, mutants, mutants_boxes, mutants_ops, pictures, skeleton

ENTRY = {"name": "box_iou", "lesson": 1, "title": "t", "target": "numpyvision.boxes.iou:box_iou", "row": "L16-S05", "kind": "function",
         "statement": "s", "hints": ["a", "b", "c"], "picture": "box_iou"}
EXERCISES = list(catalog.load())


def parse(*changes):
    return catalog.parse({"file.toml": {"exercise": [{**ENTRY, **change} for change in changes]}})


def test_a_good_catalogue_is_sorted_by_lesson():
    found = parse({"lesson": 5}, {"name": "first", "lesson": 2}, {"name": "last", "lesson": 9, "needs": ["first"]})
    assert list(found) == ["first", "box_iou", "last"] and found["last"].needs == ("first",)


@pytest.mark.parametrize("change, said", [
    ({"hints": ["one"]}, "hints must be three"), ({"row": "S05"}, "row must be"), ({"kind": "test"}, "kind must be one of"),
    ({"kind": "forward"}, "kind must be"), ({"lesson": "4"}, "lesson must be an integer"), ({"title": " "}, "title must be a text"),
    ({"target": "numpyvision.boxes.iou.box_iou"}, "target must be like"), ({"needs": ["nothing"]}, "needs must be names"),
    ({"hint": "x"}, "hint must be one of"), ({"name": "Box IoU"}, "name must be"), ({"needs": "box_iou"}, "needs must be a list")])
def test_a_bad_entry_is_named_with_its_field(change, said):
    with pytest.raises(ValueError, match=said) as error:
        parse(change)
    assert change.get("name", "box_iou") in str(error.value)


def test_a_missing_field_a_double_name_a_double_lesson_and_a_later_need_are_refused():
    short = {k: v for k, v in ENTRY.items() if k != "row"}
    with pytest.raises(ValueError, match=r"file.toml, \[\[exercise\]\] 1, box_iou: row must be there"):
        catalog.parse({"file.toml": {"exercise": [short]}})
    with pytest.raises(ValueError, match="name must be unique"):
        parse({}, {"lesson": 2})
    with pytest.raises(ValueError, match="lesson must be unique"):
        parse({}, {"name": "other"})
    with pytest.raises(ValueError, match="smaller lessons, got 'other of lesson 2'"):
        parse({"needs": ["other"]}, {"name": "other", "lesson": 2})


def test_an_unknown_name_gets_the_nearest_ones():
    with pytest.raises(ValueError, match="did you mean box_iou"):
        catalog.find("box_ion")


def test_a_target_that_is_gone_is_told():
    with pytest.raises(ValueError, match="there is no box_uoi in numpyvision.boxes.iou"):
        parse({"target": "numpyvision.boxes.iou:box_uoi"})["box_iou"].reference()


def test_nothing_belongs_to_no_exercise():
    for table in (cases.CASES, cases.OPTIONS, cases.CHECKS, mutants.MISTAKES):
        assert set(table) <= set(EXERCISES)


# ---- every exercise

def test_the_content_tests_leave_none_out():
    """test_exercises_content_boxes.py and ..._ops.py run reference, mistakes and other solutions of these."""
    assert set(cases_boxes.CASES) | set(mutants_ops.MISTAKES) == set(EXERCISES)
    assert set(mutants_boxes.MISTAKES) | set(mutants_ops.MISTAKES) == set(EXERCISES)


@pytest.mark.parametrize("name", EXERCISES)
def test_skeleton_is_not_implemented(name):
    exercise, namespace = catalog.find(name), {}
    text = skeleton.skeleton(exercise)
    exec(compile(text, exercise.file_name, "exec"), namespace)
    verdict = judge.judge(name, namespace[exercise.function_name])
    assert not verdict.ok and verdict.diagnosis == "not-implemented" and "still to be written" in verdict.message
    assert namespace[exercise.function_name].__doc__ == exercise.reference().__doc__
    assert all(len(line) <= 140 for line in text.splitlines()), "a line of the statement is too long"


@pytest.mark.parametrize("name", EXERCISES)
def test_cases_come_anew_from_each_seed_and_the_same_from_one(name):
    first, again, other = cases.of(name), cases.of(name), cases.of(name, 1)
    assert len(first) == len(other) >= 2
    texts = [str([(a.shape, a.tolist()) if isinstance(a, np.ndarray) else a for case in found for a in (*case.args, *case.kwargs.items())
                  if not isinstance(a, np.random.Generator)]) for found in (first, again, other)]
    assert texts[0] == texts[1] != texts[2]
    copy.deepcopy(first)                                                # the judge copies them for every call


@pytest.mark.parametrize("name", EXERCISES)
def test_at_least_three_mistakes_are_known(name):
    assert len(mutants.MISTAKES.get(name, ())) >= 3


@pytest.mark.parametrize("name", [n for n in EXERCISES if n not in mutants_ops.MISTAKES])
def test_picture_is_drawn(name, tmp_path):
    pictures.draw(name, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 3000
