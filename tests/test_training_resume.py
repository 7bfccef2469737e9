"""kill -9 at random moments, then resume: the last checkpoint equals, byte for byte, that of a run that nobody disturbed."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
STEPS = 120


def start(folder, *more):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, HERE / "tiny_training.py", folder, str(STEPS), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def kill_at(process, step):
    """Wait until the program has said that `step` is done, then kill -9, in whatever it does at that moment."""
    for line in process.stdout:
        if int(line) >= step:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def finish(process):
    process.communicate()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder))
    return (folder / "checkpoint.safetensors").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX word")
@pytest.mark.parametrize("trial", range(2))
def test_kill_9_and_resume_is_bit_exact(tmp_path, undisturbed, trial):
    rng = np.random.default_rng(trial)
    first, second = sorted(int(s) for s in rng.integers(0, STEPS - 10, 2))
    kill_at(start(tmp_path), first)
    kill_at(start(tmp_path, "resume"), second)
    finish(start(tmp_path, "resume"))
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == undisturbed
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == ["checkpoint.safetensors", "log.jsonl"]
