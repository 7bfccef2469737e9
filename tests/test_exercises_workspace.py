"""The student's folder: progress survives what happens to files, and nothing that a student wrote is overwritten."""
import json
import os

import pytest

from numpyvision.exercises import workspace
from numpyvision.exercises.workspace import Workspace


def test_progress_is_kept_and_read_again(tmp_path):
    Workspace(tmp_path).update("box_iou", started="then", checks=2)
    Workspace(tmp_path).update("box_iou", last="sign")
    state = Workspace(tmp_path).states()["box_iou"]
    assert (state.started, state.checks, state.last, state.word) == ("then", 2, "sign", "sign")


def test_a_failed_write_leaves_the_old_progress(tmp_path, monkeypatch):
    place = Workspace(tmp_path)
    place.update("box_iou", started="then")

    def full(*args):
        raise OSError("No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        place.update("box_iou", checks=5)
    assert Workspace(tmp_path).states()["box_iou"].checks == 0
    assert [p.name for p in tmp_path.iterdir()] == ["progress.json"]


@pytest.mark.parametrize("text", ["{half", "[]", '{"exercises": {"box_iou": {"no_such_field": 1}}}', "\0", '{"exercises": 5}'])
def test_unreadable_progress_is_put_aside_not_deleted(text, tmp_path):
    (tmp_path / "progress.json").write_text(text)
    place = Workspace(tmp_path)
    assert not place.states()["box_iou"].started and "could not be read" in place.note
    assert (tmp_path / "progress-unreadable.json").read_text() == text
    place.update("box_iou", started="now")
    assert Workspace(tmp_path).states()["box_iou"].started == "now"


def test_progress_of_an_exercise_that_is_no_more_does_no_harm(tmp_path):
    (tmp_path / "progress.json").write_text(json.dumps({"version": 1, "exercises": {"gone": {"started": "x"}, "box_iou": {"passed": "y"}}}))
    assert Workspace(tmp_path).states()["box_iou"].passed == "y"


def test_new_files_never_replace(tmp_path):
    workspace.write_new(tmp_path / "a.py", "mine")
    with pytest.raises(FileExistsError):
        workspace.write_new(tmp_path / "a.py", "yours")
    assert (tmp_path / "a.py").read_text() == "mine"
    (tmp_path / "link.py").symlink_to(tmp_path / "nowhere")             # dangling: a look for the file finds nothing
    with pytest.raises(FileExistsError):
        workspace.write_new(tmp_path / "link.py", "yours")


def test_put_aside_finds_a_free_name(tmp_path):
    for text in ("one", "two", "three"):
        (tmp_path / "a.py").write_text(text)
        workspace.put_aside(tmp_path / "a.py", tmp_path / "earlier")
    assert {p.name: p.read_text() for p in (tmp_path / "earlier").iterdir()} == {"a.py": "one", "a-2.py": "two", "a-3.py": "three"}


def test_next_is_what_was_begun_else_the_first_open(tmp_path):
    place = Workspace(tmp_path)
    first = place.next()
    place.update("box_iou", started="now")
    assert place.next() == "box_iou"
    place.update("box_iou", passed="now")
    assert place.next() == first
    for name in place.states():
        place.update(name, passed="now", started="now")
    assert place.next() is None


def test_a_file_without_progress_counts_as_begun(tmp_path):
    assert not Workspace(tmp_path).is_one()
    (tmp_path / "box_iou.py").write_text("")
    assert Workspace(tmp_path).is_one() and Workspace(tmp_path).states()["box_iou"].started
