"""Where a run or a picture goes: runs/NAME, runs/NAME-2, ... Nothing that is there is ever overwritten."""
import itertools
from pathlib import Path


def numbered(base):
    """base, base-2, base-3, ..."""
    yield base
    for number in itertools.count(2):
        yield base.with_name(f"{base.stem}-{number}{base.suffix}")


def free_name(path):
    """The first of path, path-2, ... that does not exist: nothing is overwritten."""
    return next(p for p in numbered(path) if not p.exists())


def new_folder(name):
    """The first of runs/NAME, runs/NAME-2, ... that does not exist, made."""
    for folder in numbered(Path("runs") / name):
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue


def latest(name):
    """The last of runs/NAME, runs/NAME-2, ... that is there."""
    found = list(itertools.takewhile(Path.is_dir, numbered(Path("runs") / name)))
    if not found:
        raise FileNotFoundError(f"{Path('runs') / name}: no such run to resume; name its folder with --out")
    return found[-1]


def empty_folder(folder):
    """The folder, if a run may begin there."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; --out names a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: is not empty, and nothing is overwritten; --resume goes on with the run there, or name another --out")
    return folder
