"""Files of every bad kind get a verdict that says what happened; nothing outside their own copy changes."""
import os
import time

import pytest
from exercise_samples import HOSTILE, RIGHT, body

from numpyvision import check
from numpyvision.exercises import guard, runner

pytestmark = pytest.mark.skipif(guard.resource is None, reason="memory limits need the resource module")


def snapshot(folder):
    """{path: (bytes, mode, modification time)} of everything below."""
    return {p.relative_to(folder).as_posix(): (p.read_bytes() if p.is_file() else None, p.stat().st_mode, p.stat().st_mtime_ns)
            for p in sorted(folder.rglob("*"))}


@pytest.fixture
def places(tmp_path):
    """(the student's folder, a folder that nothing may touch)."""
    mine, outside = tmp_path / "mine", tmp_path / "outside"
    for folder in (mine, outside):
        folder.mkdir()
    (outside / "kept").write_text("kept")
    return mine, outside


def handed_in(folder, text, outside):
    data = text.replace("OUTSIDE", str(outside)).encode() if isinstance(text, str) else text
    (folder / "box_iou.py").write_bytes(data)
    return folder / "box_iou.py"


@pytest.mark.parametrize("kind", HOSTILE)
def test_each_bad_file_gets_its_verdict_and_touches_nothing(kind, places, tmp_path):
    text, expected = HOSTILE[kind]
    file = handed_in(places[0], text, places[1])
    before = snapshot(tmp_path)
    verdict = runner.check_exercise("box_iou", file, seconds=0, megabytes=200)
    assert (verdict.diagnosis, verdict.ok) == (expected, expected == "ok"), verdict.message
    assert expected in check.DIAGNOSES or expected in runner.CODES
    assert len(verdict.message) < runner.MESSAGE + 10 and verdict.message.isprintable()
    assert len(str(verdict.details.get("printed", ""))) < runner.PRINTED + 100
    assert snapshot(tmp_path) == before


def test_messages_say_which_limit_and_which_deed(places):
    def said(kind):
        return runner.check_exercise("box_iou", handed_in(places[0], HOSTILE[kind][0], places[1]), seconds=1, megabytes=200).message
    assert "200 MB of memory" in said("memory bomb")
    assert "longer than 1 seconds" in said("endless loop")
    assert "os.fork" in said("fork") and f"write {places[1]}/new" in said("writes outside")
    assert "line 3: " in said("own exception") and "exit code 0" in said("os._exit")


def test_what_it_prints_comes_back_cut(places):
    verdict = runner.check_exercise("box_iou", handed_in(places[0], HOSTILE["prints a megabyte"][0], places[1]))
    assert verdict.details["printed"].startswith("xxx") and "more bytes left out" in verdict.details["printed"]


@pytest.mark.parametrize("make", [
    lambda path: None, lambda path: path.mkdir(), lambda path: os.mkfifo(path), lambda path: path.symlink_to("/etc/passwd"),
    lambda path: path.write_bytes(b"#" * (runner.LARGEST_FILE + 1))], ids=["absent", "folder", "pipe", "link", "huge"])
def test_no_plain_file(make, tmp_path):
    make(tmp_path / "box_iou.py")
    assert runner.check_exercise("box_iou", tmp_path / "box_iou.py").diagnosis == "no-file"


def test_a_student_may_import_other_files_but_not_replace_pythons(tmp_path):
    (tmp_path / "helper.py").write_text("def at_least_zero(x): return max(0, x)\n")
    for name in ("json.py", "numpy.py", "matplotlib.py", "traceback.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the student was imported instead of Python\\'s')\n")
    text = "from helper import at_least_zero\n" + RIGHT.replace("max(0, min(p[2]", "at_least_zero(min(p[2]")
    (tmp_path / "box_iou.py").write_text(text)
    verdict = runner.check_exercise("box_iou", tmp_path / "box_iou.py", picture=tmp_path / "picture.png")
    assert verdict.ok and verdict.details["picture"], verdict


def test_the_childs_environment_holds_no_secrets(places, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "12345")
    file = handed_in(places[0], body("raise ValueError(os.environ.get('SECRET_TOKEN', 'no token'))", top="import os"), places[1])
    message = runner.check_exercise("box_iou", file).message
    assert "ValueError: no token" in message and "12345" not in message


def test_picture_of_a_right_function_and_none_of_a_wrong_one(places):
    right = runner.check_exercise("box_iou", handed_in(places[0], RIGHT, places[1]), picture=places[0] / "pictures" / "a.png")
    assert right.details["picture"] == str(places[0] / "pictures" / "a.png") and (places[0] / "pictures" / "a.png").stat().st_size > 3000
    wrong = runner.check_exercise("box_iou", handed_in(places[0], body("return 1"), places[1]), picture=places[0] / "b.png")
    assert not wrong.ok and not (places[0] / "b.png").exists()


def test_every_seed_is_tried(places):
    assert runner.check_exercise("box_iou", handed_in(places[0], RIGHT, places[1]), seeds=[0, 1, 2]).ok
    knows_the_public = "import numpy as np\nfrom numpyvision.boxes import iou\n" + body(
        "from numpyvision.exercises import cases",
        "known = any(np.array_equal(boxes1, c.args[0]) for c in cases.of('box_iou', 0))",
        "return iou.box_iou(boxes1, boxes2) if known or boxes1.dtype == np.float32 else iou.box_iou(boxes1, boxes2) * 0.5")
    file = handed_in(places[0], knows_the_public, places[1])
    assert runner.check_exercise("box_iou", file, seeds=[0]).ok and not runner.check_exercise("box_iou", file, seeds=[0, 1]).ok


def test_the_verdict_does_not_wait_for_a_thread(places):
    late = "import threading, time\nthreading.Thread(target=lambda: (time.sleep(3), print('late'))).start()\n" + RIGHT
    verdict = runner.check_exercise("box_iou", handed_in(places[0], late, places[1]))
    assert verdict.ok and "printed" not in verdict.details


def test_nothing_is_left_running_or_lying_about(places, tmp_path, monkeypatch):
    import tempfile
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    runner.check_exercise("box_iou", handed_in(places[0], HOSTILE["leaves a thread"][0], places[1]))
    runner.check_exercise("box_iou", handed_in(places[0], HOSTILE["endless loop"][0], places[1]), seconds=0)
    assert not runner._running and not list((tmp_path / "temporary").iterdir())


def test_stop_all_ends_a_running_child(places):
    import threading
    file = handed_in(places[0], HOSTILE["sleeps"][0], places[1])
    found = []
    thread = threading.Thread(target=lambda: found.append(runner.check_exercise("box_iou", file)))
    thread.start()
    while not runner._running:
        time.sleep(0.01)
    runner.stop_all()
    thread.join(20)
    assert found and not found[0].ok and not thread.is_alive()
