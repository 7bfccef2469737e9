"""The commands, as a student types them, in a fresh folder."""
import json
import sys

import pytest
from exercise_samples import RIGHT, body

from numpyvision import cli
from numpyvision.exercises import catalog


@pytest.fixture
def student(tmp_path, monkeypatch, capsys):
    """type("exercise list") -> (exit code, stdout, stderr), in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NUMPYVISION_EXERCISES", raising=False)

    def types(line):
        capsys.readouterr()
        code = cli.run(["exercise", *line.split()])
        return code, *capsys.readouterr()
    return types


def test_from_the_list_to_the_first_green_check(student, tmp_path):
    code, out, _ = student("list")
    assert code == 0 and "0 of" in out and f"Next: numpyvision exercise start {next(iter(catalog.load()))}" in out
    assert all(name in out for name in catalog.load()) and not list(tmp_path.iterdir()), "to look leaves nothing behind"
    code, out, _ = student("start box_iou")
    assert code == 0 and "exercises/box_iou.py" in out and "0.142857" in out and "exercise check box_iou" in out
    assert (tmp_path / "exercises/pictures/box_iou.png").stat().st_size > 3000
    code, out, _ = student("check box_iou")
    assert code == 1 and "not-implemented" in out and "hint box_iou" in out
    (tmp_path / "exercises/box_iou.py").write_text(RIGHT.replace("- w * h\n", "\n"))
    code, out, _ = student("check box_iou")
    assert code == 1 and "wrong-forward" in out and "counts the shared part twice" in " ".join(out.split()) and "worked example" in out
    assert "(wrong-forward)" in student("list")[1]
    (tmp_path / "exercises/box_iou.py").write_text(RIGHT)
    code, out, _ = student("check box_iou")
    assert code == 0 and "box_iou: right" in out and "box_iou-yours.png" in out and "solution box_iou" in out
    code, out, _ = student("list")
    assert "[x] box_iou" in out and "1 of" in out


def test_start_never_overwrites(student, tmp_path):
    student("start box_iou --no-picture")
    (tmp_path / "exercises/box_iou.py").write_text("mine")
    code, _, err = student("start box_iou")
    assert code == 2 and "stays as it is" in err and "reset box_iou" in err
    assert (tmp_path / "exercises/box_iou.py").read_text() == "mine"


def test_reset_keeps_what_it_replaces(student, tmp_path):
    student("start box_iou --no-picture")
    fresh = (tmp_path / "exercises/box_iou.py").read_text()
    for text in ("first", "second"):
        (tmp_path / "exercises/box_iou.py").write_text(text)
        assert student("reset box_iou")[0] == 0
    assert (tmp_path / "exercises/box_iou.py").read_text() == fresh
    assert {p.read_text() for p in (tmp_path / "exercises/earlier").iterdir()} == {"first", "second"}
    assert student("reset conv2d_forward")[0] == 2


def test_hints_come_one_by_one(student):
    assert student("hint box_iou")[0] == 2, "begin first"
    student("start box_iou --no-picture")
    for count in (1, 2, 3):
        out = student("hint box_iou")[1]
        assert [f"Hint {i} of 3" in out for i in (1, 2, 3)] == [i <= count for i in (1, 2, 3)]
        assert "That was all" not in out
    assert "That was all" in student("hint")[1], "without a name: the one that is begun"


def test_the_solution_opens_after_passing(student, tmp_path):
    student("start box_iou --no-picture")
    code, out, err = student("solution box_iou")
    assert code == 2 and "opens when" in err and not out
    (tmp_path / "exercises/box_iou.py").write_text(RIGHT)
    student("check box_iou")
    (tmp_path / "exercises/box_iou.py").write_text("now it is broken")
    assert student("check box_iou")[0] == 1
    assert "def box_iou" in student("solution box_iou")[1], "what has passed has passed"


def test_check_all_that_is_begun(student, tmp_path):
    code, _, err = student("check")
    assert code == 2 and "exercise start" in err
    student("start box_iou --no-picture")
    student("start conv2d_forward --no-picture")
    (tmp_path / "exercises/box_iou.py").write_text(RIGHT)
    code, out, _ = student("check")
    assert code == 1 and "not-implemented      conv2d_forward" in out and "right                box_iou" in out
    assert "Go on with: numpyvision exercise check conv2d_forward" in out


def test_what_the_function_prints_is_shown(student, tmp_path):
    student("start box_iou --no-picture")
    (tmp_path / "exercises/box_iou.py").write_text(body("print('my shapes', boxes1.shape)", "return 0"))
    out = student("check box_iou")[1]
    assert "It printed:" in out and "my shapes (1, 4)" in out


def test_unknown_names_and_another_folder(student, tmp_path, monkeypatch):
    code, _, err = student("start box_io")
    assert code == 2 and "did you mean box_iou" in err
    assert student("start box_iou --no-picture --folder other/place")[0] == 0 and (tmp_path / "other/place/box_iou.py").exists()
    monkeypatch.chdir(tmp_path / "other/place")
    assert "[.] box_iou" in student("list")[1], "inside the folder, no option is needed"


def test_export_and_grade(student, tmp_path):
    assert student("export --to hw box_iou conv2d_forward --no-picture")[0] == 0
    assert student("export --to hw box_iou")[0] == 2, "an answer pack is never replaced"
    seeds = json.loads((tmp_path / "hw/answers/seeds.json").read_text())
    assert len(set(seeds["seeds"])) == 4 and seeds["exercises"] == ["conv2d_forward", "box_iou"]
    handout = "".join(p.read_text() for p in (tmp_path / "hw/handout").rglob("*") if p.is_file())
    assert not any(str(seed) in handout for seed in seeds["seeds"][1:]), "no hidden seed in the hand-out"
    (tmp_path / "class").mkdir()
    (tmp_path / "hw/handout").rename(tmp_path / "class/anna")
    (tmp_path / "hw/answers/solutions").rename(tmp_path / "class/ben")
    (tmp_path / "class/=cmd").mkdir()
    code, out, err = student("grade class --answers hw/answers --csv --out marks.csv")
    lines = out.splitlines()
    assert code == 0 and lines[0].startswith("student,exercise,passed,diagnosis") and len(lines) == 7
    assert "anna,box_iou,0,not-implemented" in out and "ben,conv2d_forward,1,ok" in out and "'=cmd,box_iou,0,no-file" in out
    assert "2 of 6 right, 3 students" in err and (tmp_path / "marks.csv").read_text() == out
    code, out, _ = student("grade class/ben --exercise box_iou")
    assert code == 0 and "ben      1/1" in out
    assert student("grade hw/answers/seeds.json")[0] == 2 and student("grade hw")[0] == 2


def test_the_hand_out_checks_itself(student, tmp_path):
    import os
    import subprocess

    import numpyvision
    student("export --to hw box_iou --no-picture")
    package = os.path.dirname(os.path.dirname(numpyvision.__file__))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=tmp_path / "hw/handout", text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": package})
    assert "1 failed" in done.stdout and "not-implemented" in done.stdout


def test_run_hands_the_file_to_the_model(student, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from numpyvision.exercises import side_by_side
    calls = []
    monkeypatch.setattr(side_by_side, "run", lambda *args: calls.append(args) or SimpleNamespace(ok=len(calls) == 1))
    assert student("run box_iou --in faster_rcnn")[0] == 2 and not calls, "there is no file yet"
    student("start box_iou --no-picture")
    assert student("run box_iou --in faster_rcnn --seconds 5")[0] == 0
    assert [str(a) for a in calls[0]] == ["numpyvision.boxes.iou:box_iou", "exercises/box_iou.py", "faster_rcnn", "5"]
    assert student("run box_iou")[0] == 1 and str(calls[1][2]) == "mask_rcnn"


def test_every_help_has_examples(student):
    from numpyvision import exercise_cli
    names = [c.name or c.callback.__name__ for c in exercise_cli.app.registered_commands]
    assert len(names) >= 9
    for name in names:
        code, out, _ = student(f"{name} --help")
        assert code == 0 and "Examples:" in out and f"numpyvision exercise {name}" in out


def test_the_list_loads_nothing_heavy(tmp_path):
    import os
    import subprocess

    import numpyvision
    code = ("import sys; from numpyvision import cli; assert cli.run(['exercise', 'list']) == 0;"
            "print('loaded', {'numba', 'scipy', 'matplotlib', 'PIL', 'tqdm', 'numpyvision.contract'} & set(sys.modules))")
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(numpyvision.__file__))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "loaded set()", done.stderr
