"""Your function inside a real model: call by call beside the library's, and when all agree, training on it.

    numpyvision exercise run roi_align_forward --in mask_rcnn

First the model runs forward, backward and in prediction on a batch, once with the library's function and once with yours, in float64
(`trace.py`). The first number that differs ends it, and is shown: which function, which layer, which RoI, bin and channel. Then the model
trains on your code for a time, and on the library's for as many steps. Loops in Python are slow; so the comparison uses a narrow model on
small scenes, and training the largest setting that leaves a reasonable number of steps (`two_trainings.py`). Which one it is, is said.
"""
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from numpyvision import plug, runs
from numpyvision.check.calls import Stopped
from numpyvision.data import batches
from numpyvision.data.scenes import Scenes
from numpyvision.exercises import trace, two_trainings
from numpyvision.exercises.divergence import Divergence

TRIED = ("mask_rcnn", "fcn", "deconvnet", "faster_rcnn", "keypoint_rcnn")      # where to look for a model that uses a function


@dataclass
class Outcome:
    """What came out: ok, a text, the first Divergence if there was one, and what training gave."""

    ok: bool
    message: str
    divergence: Divergence | None = None
    training: dict | None = None


def run(name, function, model="mask_rcnn", seconds=120, print=print, progress=True):
    """Put a function (or the one of that name in a file) into a model, compare, train -> Outcome. Everything is printed on the way.

    name: as for `plugged`. seconds: of training; 0 compares only. ValueError: a mistake in the arguments, not in the function.
    """
    original = plug.find(name)
    function = function if callable(function) else load(function, original.__name__)
    plug.check_signature(function, original)
    runs.check_name(model)
    try:
        calls, spent = compare(name, function, model, print, progress)
    except Divergence as divergence:
        message = describe(divergence, original)
        print(message)
        return Outcome(False, message, divergence)
    message = f"{original.__name__}: all {calls} calls agree with the library's in {model}, forward, backward and in prediction"
    print(f"{message} ({spent:.1f} s in your code).")
    if not seconds:
        return Outcome(True, message)
    try:
        training = two_trainings.train_both(name, function, model, seconds, print, progress)
    except Stopped as stopped:
        text = f"in training, on other images, {stopped.message}"
        print(text)
        return Outcome(False, text)
    return Outcome(True, f"{message}\n{training['table']}", training=training)


def load(path, name):
    """The function of this name in a Python file, run as a module of its own."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; `numpyvision exercise start {name}` makes one")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, name, None)):
        raise ValueError(f"{path} defines no function {name}; was it renamed?")
    return getattr(module, name)


# ---------------------------------------------------------------------------------------------------------------- comparing
def compare(name, function, model, print=print, progress=True):
    """-> (calls of the function, seconds spent in it) of one comparison in a narrow model. Raises Divergence."""
    from tqdm.auto import tqdm
    network, data = compared(model)
    calls = trace.record(network, data, [name])
    own = plug.find(name).__name__
    count = sum(call.op == own for call in calls)
    if count == 0:
        raise ValueError(f"{model} never calls {own}; {elsewhere(name, model)}")
    layers = len({call.layer for call in calls if call.op == own})
    print(f"{own} in {model}: {count} calls from {layers} layer{'s' * (layers > 1)}, a narrow model on 2 scenes of 64 x 48 pixels and "
          f"on 1 of 32 x 64 without an object, float64")
    with tqdm(total=count, unit="call", desc="comparing", disable=not progress, dynamic_ncols=True, leave=False) as bar:
        return trace.follow(network, data, {name: function}, calls, bar.update)


def compared(model):
    """The narrow model in float64, its weights moved off the round values where they start, and the batches to compare on."""
    config = two_trainings.configure(model, two_trainings.SETTINGS[0], Scenes(1), attached=True)
    network, rng = runs.build(config).astype(np.float64), np.random.default_rng(1)
    for array in dict(network.named_params()).values():                # a bias of 0 or a gamma of 1 would hide that it was forgotten
        array += 0.1 * rng.standard_normal(array.shape)
    for array in dict(network.named_buffers()).values():               # running statistics; a variance stays positive
        array += 0.1 * rng.random(array.shape)
    prepare = runs.Prepare(None, config["recipe"]["extra"].get("truth", ()))
    some = runs.seen_by(network, Scenes(2, seed=3, size=(64, 48)))     # padded to 64 x 64: height is not width, and pixels are ignored
    none = prepare(runs.seen_by(network, Scenes(1, seed=3, size=(32, 64)))[0])
    truth = {key: getattr(none, key) for key in ("boxes", "labels", "masks", "keypoints", "areas")}
    none = replace(none, **{key: value[:0] for key, value in truth.items() if value is not None})
    return network, [batches.collate([prepare(some[0]), prepare(some[1])], dtype=np.float64), batches.collate([none], dtype=np.float64)]


def elsewhere(name, model):
    """Which models do call it: a sentence."""
    own, found = plug.find(name).__name__, []
    for other in TRIED:
        if other != model and any(call.op == own for call in trace.record(*compared(other), [name])):
            found.append(other)
    return f"{' and '.join(found)} {'do' if len(found) > 1 else 'does'}: try --in {found[0]}" if found else "nor does any other model here"


def describe(divergence, original):
    """A Divergence as a page."""
    call = divergence.call
    mine = call.op == original.__name__
    layer = f"in layer {call.layer}" if call.layer else "in the model itself"
    lines = [f"{call.op} differs {layer}" if mine else f"{original.__name__}: what it returned agrees, but then {call.op} differs {layer}",
             f"  {divergence.message}",
             f"  call {call.number} of {call.op} in this layer, {PHASES[call.phase]}; called at {call.line}",
             f"  [{divergence.code}] all {divergence.before} calls of operations before it agree" if divergence.before else
             f"  [{divergence.code}] it is the first call of all"]
    lines.append(f"  next: numpyvision exercise check {original.__name__} looks at small inputs and names more mistakes than this can")
    return "\n".join(lines)


PHASES = {"forward": "going forward", "backward": "going backward", "predict": "in prediction"}
