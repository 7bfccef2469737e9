"""Where a run or a picture goes: runs/NAME, runs/NAME-2, ... Nothing that is there is ever overwritten."""
import itertools
import os
from pathlib import Path

PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


def numbered(base):
    """base, base-2, base-3, ..."""
    yield base
    for number in itertools.count(2):
        yield base.with_name(f"{base.stem}-{number}{base.suffix}")


def free_name(path):
    """The first of path, path-2, ... that does not exist: nothing is overwritten."""
    return next(p for p in numbered(path) if not os.path.lexists(p))


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


def folder_at(path):
    """The path, if there is a folder or may be one."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path}: is a file; name a folder")
    return path


def file_at(path, endings=()):
    """The path, if a file can be written there: to be told before the work, not after. endings: those that it may have."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}; make it first, or name another file")
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"{path}: must end in {', '.join(endings)}")
    return path


def picture_at(path):
    """The path, if a picture can be written there."""
    return file_at(path, PICTURES)


def empty_folder(folder):
    """The folder, if a run may begin there."""
    if folder_at(folder).is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: is not empty, and nothing is overwritten; --resume goes on with the run there, or name another --out")
    return folder
