"""Checkpoints: everything a run needs to go on, in one safetensors file (a header and raw numbers: nothing in it can run).

Tensors are named `params.NAME`, `buffers.NAME`, `optimizer.NAME`; the metadata entry "numpyvision" is JSON: format_version, step, config.
A model is whatever has named_params() and named_buffers(), pairs (dotted name, array).
"""
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from numpyvision import backend

FORMAT_VERSION = 1
SECTIONS = ("params", "buffers", "optimizer")


@dataclass
class Checkpoint:
    """A checkpoint in memory: {name: array} for each section, and what stood in the metadata."""

    step: int
    config: dict
    params: dict = field(default_factory=dict)
    buffers: dict = field(default_factory=dict)
    optimizer: dict = field(default_factory=dict)


def save(path, model, optimizer=None, step=0, config=None, half=False):
    """Write a checkpoint so that `path` holds, at every instant, either the old complete file or the new complete one.

    The new one is written beside it, forced to the disk, and only then given the name: a crash or a full disk costs the new file only.
    The bytes depend on the contents alone, so that two equal runs give equal files. half: floats are stored in 16 bits, and `read` gives
    them back as float32, rounded to 11 binary digits: enough to predict with, not to go on training bit for bit.
    """
    from safetensors.numpy import save as to_bytes
    sections = {"params": dict(model.named_params()), "buffers": dict(model.named_buffers()),
                "optimizer": optimizer.state_dict() if optimizer else {}}
    tensors = {f"{section}.{name}": _as_stored(array, half) for section, part in sections.items() for name, array in part.items()}
    about = {"format_version": FORMAT_VERSION, "step": int(step), "config": config or {}}
    # one metadata entry, because safetensors writes several in random order
    write_atomically(path, to_bytes(tensors, metadata={"numpyvision": json.dumps(about, sort_keys=True)}))


def read(path):
    """The checkpoint at path. FileNotFoundError if there is none; ValueError naming file and field if it is not one of ours or damaged."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no checkpoint there; a run writes one every few steps, so perhaps it never got that far")
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, "np") as file:
            about = _about(path, file.metadata())
            tensors = {name: _tensor(path, file, name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: header: not a complete safetensors file ({error}); it was cut short, or is something else") from None
    checkpoint = Checkpoint(about["step"], about["config"])
    for name, array in tensors.items():
        section, _, key = name.partition(".")
        if section not in SECTIONS or not key:
            raise ValueError(f"{path}: tensor {name}: expected a name that begins with params. or buffers. or optimizer.")
        getattr(checkpoint, section)[key] = array
    return checkpoint


def load(path, model, optimizer=None):
    """Fill model (and optimizer) from the checkpoint at path, in place, and return it.

    Every array keeps its identity: an optimiser that holds the parameters still holds them. Names, shapes and dtypes are all checked
    before the first number is written, so a checkpoint of another model changes nothing.
    """
    checkpoint = read(path)
    fits = [("params", dict(model.named_params()), checkpoint.params), ("buffers", dict(model.named_buffers()), checkpoint.buffers)]
    for section, mine, stored in fits:
        _check_fit(path, section, mine, stored)
    if optimizer is not None:
        try:
            optimizer.load_state_dict(checkpoint.optimizer)
        except ValueError as error:
            raise ValueError(f"{path}: optimizer: {error}") from None
    for _, mine, stored in fits:
        for name, array in mine.items():
            array[...] = backend.get_array_module(array).asarray(stored[name])
    return checkpoint


def write_atomically(path, data):
    """Write bytes (or a string) to path through a temporary file in the same folder. A leftover of a killed run is simply overwritten."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):                                    # the new name itself must reach the disk too
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _as_stored(array, half=False):
    stored = np.ascontiguousarray(backend.to_numpy(array)).reshape(array.shape)    # ascontiguousarray turns () into (1,)
    return stored.astype(np.float16) if half and stored.dtype.kind == "f" else stored


def _about(path, metadata):
    text = (metadata or {}).get("numpyvision")
    if text is None:
        raise ValueError(f"{path}: metadata: no entry 'numpyvision'; the file is safetensors, but not a checkpoint of this library")
    try:
        about = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: metadata.numpyvision: not JSON ({error})") from None
    if not isinstance(about, dict) or about.get("format_version") != FORMAT_VERSION:
        got = about.get("format_version") if isinstance(about, dict) else about
        raise ValueError(f"{path}: metadata.format_version: expected {FORMAT_VERSION}, got {got!r}; another version wrote it")
    for key, kind in (("step", int), ("config", dict)):
        if not isinstance(about.get(key), kind):
            raise ValueError(f"{path}: metadata.{key}: expected {kind.__name__}, got {about.get(key)!r}")
    return about


def _tensor(path, file, name):
    try:
        array = file.get_tensor(name)
        return array.astype(np.float32) if array.dtype == np.float16 else array      # no model computes in 16 bits: they only store
    except Exception as error:                                        # a dtype that NumPy does not have (bfloat16), bad bytes
        raise ValueError(f"{path}: tensor {name}: cannot be read as a NumPy array ({error})") from None


def _check_fit(path, section, mine, stored):
    missing, extra = [n for n in mine if n not in stored], [n for n in stored if n not in mine]
    if missing or extra:
        some = lambda names: ", ".join(names[:5]) + (" ..." if len(names) > 5 else "") or "none"
        raise ValueError(f"{path}: {section}: expected the model's {len(mine)} names, missing {some(missing)}; unknown {some(extra)}; "
                         "usual cause: the checkpoint is of another model or of another configuration of it")
    for name, array in mine.items():
        got = stored[name]
        if got.shape != tuple(array.shape) or got.dtype != array.dtype:
            raise ValueError(f"{path}: {section}.{name}: expected {tuple(array.shape)} {array.dtype}, got {got.shape} {got.dtype}; "
                             "usual cause: another configuration of the model (number of classes, widths, dtype)")
