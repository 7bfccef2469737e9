"""A hundred submissions, some of them hostile: every other one is marked right, and nothing outside is touched."""
import csv
import io

import pytest
from exercise_samples import HOSTILE, RIGHT
from test_exercises_runner import snapshot

from numpyvision.exercises import catalog, grade, guard, handout, skeleton


def class_of(count, folder, outside):
    """`count` submissions with a box_iou.py and a conv2d_forward.py -> {student: (diagnosis of box_iou, of conv2d_forward)}."""
    conv, expected, hostile = catalog.find("conv2d_forward"), {}, list(HOSTILE.items())
    good_conv = handout.solution(conv)
    for i in range(count):
        student = f"student{i:03}"
        place = folder / student
        place.mkdir(parents=True)
        text, code, text2, code2 = RIGHT, "ok", good_conv, "ok"
        if i < len(hostile):
            text, code = hostile[i][1]
        elif i % 5 == 1:
            text, code = RIGHT.replace("- w * h\n", "\n"), "wrong-forward"
        elif i % 5 == 2:
            text, code = None, "no-file"
        elif i % 5 == 3:
            text2, code2 = skeleton.skeleton(conv), "not-implemented"
        if text is not None:
            (place / "box_iou.py").write_bytes(text.replace("OUTSIDE", str(outside)).encode() if isinstance(text, str) else text)
        (place / "conv2d_forward.py").write_text(text2)
        expected[student] = code, code2
    return expected


@pytest.mark.slow
@pytest.mark.skipif(guard.resource is None, reason="memory limits need the resource module")
def test_a_hundred_submissions(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    expected = class_of(100, tmp_path / "class", outside)
    before = snapshot(tmp_path)
    students = grade.submissions([tmp_path / "class"])
    marks = grade.grade(students, ["conv2d_forward", "box_iou"], seeds=[0, 123456789], seconds=0, megabytes=200)
    assert snapshot(tmp_path) == before, "a submission touched something"
    got = {(m.student, m.verdict.name): m.verdict.diagnosis for m in marks}
    assert got == {(s, n): c for s, (box, conv) in expected.items() for n, c in (("box_iou", box), ("conv2d_forward", conv))}
    rows = list(csv.DictReader(io.StringIO(grade.as_csv(marks))))
    assert len(rows) == 200 and all(len(row["message"]) < 700 and "\n" not in row["message"] for row in rows)
    assert sum(int(row["passed"]) for row in rows) == sum(c == "ok" for pair in expected.values() for c in pair)
    assert "not-implemented" in grade.class_table(marks) and "time-limit" in grade.class_table(marks, most=50)


def test_submissions_are_found_where_students_leave_them(tmp_path):
    for place in ("class/anna", "class/ben/exercises", "class/carl/handout", "class/.git", "other/anna"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "box_iou.py").write_text("")
    (tmp_path / "class/dora").mkdir()
    found = grade.submissions([tmp_path / "class"])
    assert {s: p.relative_to(tmp_path).as_posix() for s, p in found.items()} == {
        "anna": "class/anna", "ben": "class/ben/exercises", "carl": "class/carl/handout", "dora": "class/dora"}
    assert list(grade.submissions([tmp_path / "class/anna", tmp_path / "other/anna"])) == ["anna", str(tmp_path / "other/anna")]
    assert grade.exercises_of(found) == ["box_iou"]


def test_a_submission_that_trips_the_checker_costs_only_itself(tmp_path, monkeypatch):
    (tmp_path / "anna").mkdir()

    def broken(*args, **kwargs):
        raise OSError("Too many open files")
    monkeypatch.setattr(grade.runner, "check_exercise", broken)
    marks = grade.grade({"anna": tmp_path / "anna"}, ["box_iou"])
    assert marks[0].verdict.diagnosis == "no-file" and "Too many open files" in marks[0].verdict.message


def test_solutions_of_the_answer_pack_are_the_librarys_own_and_stand_alone(tmp_path):
    for name, exercise in catalog.load().items():
        namespace = {}
        exec(handout.solution(exercise), namespace)
        assert callable(namespace[exercise.function_name]), name


def test_a_line_a_student_groups_what_is_wrong():
    def mark(name, code):
        return grade.Mark("anna", grade.Verdict(name, code == "ok", code, ""))
    line = grade.table([mark("nms", "sign"), mark("oks", "ok"), mark("keys", "sign"), mark("relu", "raises")]).splitlines()[1]
    assert line.split(None, 2) == ["anna", "1/4", "sign: nms, keys; raises: relu"]
    assert len(grade.table([mark(f"exercise_{i}", "raises") for i in range(99)]).splitlines()[1]) < 150


def test_class_table_counts_the_commonest_first(tmp_path):
    def mark(student, code):
        return grade.Mark(student, grade.Verdict("box_iou", code == "ok", code, f"said of {code}"))
    lines = grade.class_table([mark("a", "sign"), mark("b", "shifted"), mark("c", "shifted"), mark("d", "ok")]).splitlines()
    assert lines[0] == "1 of 4 right, 4 students" and lines[2].split()[:4] == ["2", "50", "%", "box_iou"] and "said of sign" in lines[3]
