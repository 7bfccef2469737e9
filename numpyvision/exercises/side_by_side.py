"""Your function inside a real model: call by call beside the library's, and when all agree, training on it.

    numpyvision exercise run roi_align_forward --in mask_rcnn

First the model runs forward, backward and in prediction on a batch, once with the library's function and once with yours, in float64
(`trace.py`). The first number that differs ends it, and is shown: which function, which layer, which RoI, bin and channel. Then the model
trains on your code for a time, and on the library's for as many steps. Loops in Python are slow; so the comparison uses a narrow model on
small scenes, and training the largest setting that leaves a reasonable number of steps (`SETTINGS`). Which one it is, is said.
"""
import contextlib
import functools
import importlib.util
import inspect
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from numpyvision import plug, recipes, runs
from numpyvision.check.calls import Stopped, guarded
from numpyvision.data import batches
from numpyvision.data.open import HELD_OUT_SEED
from numpyvision.data.scenes import Scenes
from numpyvision.exercises import trace
from numpyvision.exercises.divergence import Divergence
from numpyvision.training import loop, schedule

MIN_STEPS = 20             # of training, below which a smaller setting is taken
HELD_OUT = 100             # scenes to score on, at most
DETECTOR = dict(widths=[8, 8, 8, 8], blocks=[1, 1, 1, 1], channels=8, hidden=16, rpn_samples=16, roi_samples=8, pre_nms=24, post_nms=8)
DETECTOR_2015 = {key: DETECTOR[key] for key in ("widths", "blocks", "channels", "hidden", "roi_samples")} | {"num_proposals": 30}
NARROW = {"faster_rcnn": DETECTOR,                                # group norm has 8 groups: no fewer channels
          "mask_rcnn": DETECTOR | dict(mask_size=6, mask_convs=1, head_channels=4),
          "keypoint_rcnn": DETECTOR | dict(keypoint_size=8, keypoint_convs=1, head_channels=4),
          "joint_rcnn": DETECTOR | dict(mask_size=6, mask_convs=1, keypoint_size=8, keypoint_convs=1, head_channels=4),
          "fast_rcnn": DETECTOR_2015, "slow_rcnn": DETECTOR_2015 | dict(crop_size=16, num_proposals=10),
          "classifier": dict(widths=[8, 8, 8, 8], blocks=[1, 1, 1, 1]),
          "sliding_window": dict(widths=[4, 4, 4], hidden=8, patches_per_image=8),
          "fcn": dict(widths=[4, 4, 4, 4, 4], convs=[1, 1, 1, 1, 1]),
          "deconvnet": dict(widths=[4, 4, 4], convs=[1, 1, 1], fc_channels=4, fc_size=3)}
# In most detectors the proposals are constants, and these are never called: then a gradient is let through to them.
THROUGH_PROPOSALS = ("encode_boxes_backward", "decode_boxes_backward", "clip_boxes_backward")
TRIED = ("mask_rcnn", "fcn", "deconvnet", "faster_rcnn", "keypoint_rcnn")      # where to look for a model that uses a function


@dataclass(frozen=True)
class Setting:
    """How large a model, its images and its batch are; `times`: at most so many times the work of the setting before it."""

    text: str
    narrow: bool
    side: int
    batch_size: int
    times: int


SETTINGS = (Setting("a narrow model, one scene of 64 pixels a step", True, 64, 1, 1),
            Setting("the small setting, one scene of 64 pixels a step", False, 64, 1, 40),
            Setting("the small setting, two scenes of 128 pixels a step", False, 128, 2, 8),
            Setting("the recipe: the small setting, eight scenes of 128 pixels a step", False, 128, 8, 4))


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
        training = train_both(name, function, model, seconds, print, progress)
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
    print(f"{own} in {model}: {count} calls from {layers} layer{'s' * (layers > 1)}, a narrow model on 2 scenes of 64 pixels and on 1 "
          f"without an object, float64")
    with tqdm(total=count, unit="call", desc="comparing", disable=not progress, dynamic_ncols=True, leave=False) as bar:
        return trace.follow(network, data, {name: function}, calls, bar.update)


def compared(model):
    """The narrow model in float64, its weights moved off the round values where they start, and the batches to compare on."""
    config = configure(model, SETTINGS[0], Scenes(1), attached=True)
    network, rng = runs.build(config).astype(np.float64), np.random.default_rng(1)
    for array in dict(network.named_params()).values():                # a bias of 0 or a gamma of 1 would hide that it was forgotten
        array += 0.1 * rng.standard_normal(array.shape)
    for array in dict(network.named_buffers()).values():               # running statistics; a variance stays positive
        array += 0.1 * rng.random(array.shape)
    prepare = runs.Prepare(None, config["recipe"]["extra"].get("truth", ()))        # and no variance falls below 0
    scenes = runs.seen_by(network, Scenes(2, seed=3, size=(64, 64)))
    samples = [prepare(scenes[i]) for i in range(2)]
    empty = samples[0]
    if len(empty.boxes):
        nothing = {key: getattr(empty, key)[:0] for key in ("boxes", "labels", "masks", "keypoints", "areas") if
                   getattr(empty, key) is not None}
        empty = replace(empty, **nothing)
    return network, [batches.collate(samples, dtype=np.float64), batches.collate([empty], dtype=np.float64)]


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


# ---------------------------------------------------------------------------------------------------------------- training
def configure(model, setting, dataset, steps=None, attached=False):
    """A run's config for a setting. The learning rate shrinks with the batch. attached: let a gradient through to the proposals."""
    recipe = recipes.RECIPES[model](runs.seen_by(runs.models.model_class(model), dataset).classes, "scenes")
    arguments = dict(NARROW.get(model, {}) if setting.narrow else {})
    if attached and "detach_proposals" in inspect.signature(runs.models.model_class(model)).parameters:
        arguments["detach_proposals"] = False
    return runs.make_config(model, "scenes", dataset, steps=steps, batch_size=setting.batch_size, model=arguments,
                            lr=recipe.lr * min(1.0, setting.batch_size / recipe.batch_size))


def train_both(name, function, model, seconds, print=print, progress=True):
    """Train on the function for `seconds`, then on the library's for as many steps, both from the same weights on the same scenes.

    -> {"steps", "setting", "images", "mine", "reference", "table"}; of each side the "rows" of its log, "numbers" and "seconds".
    """
    learn = functools.partial(train, model, attached=plug.find(name).__name__ in THROUGH_PROPOSALS)
    setting, step_seconds = choose(name, function, learn, seconds)
    steps = max(2, int(seconds / step_seconds))
    print(f"Training {model} on your code: {setting.text}. {step_seconds:.2g} s a step, so {steps} steps in {seconds:g} s.")
    results = {"setting": setting}
    for who, mine in (("mine", function), ("reference", None)):
        with plugged_if(name, mine):
            began = time.perf_counter()
            if mine:
                network, rows = learn(setting, steps, progress, limit=1.5 * seconds)
                results["steps"], trained = len(rows), time.perf_counter() - began
                results["images"] = affordable(network, setting, seconds / 4)
            else:
                network, rows = learn(setting, steps, progress, exactly=results["steps"])
                trained = time.perf_counter() - began
            numbers, _ = runs.evaluate(network, held_out(setting, results["images"]), progress=progress)
        results[who] = {"rows": rows, "numbers": numbers, "seconds": trained}
    results["table"] = table(results)
    print(results["table"])
    return results


def choose(name, function, learn, seconds):
    """The largest setting in which `seconds` are enough for MIN_STEPS -> (Setting, seconds a step there).

    Each is tried for two steps, after two with the library's function, so that nothing is left to compile; unless the function was so slow
    in the setting before that a step might take a tenth of all the time.
    """
    best, spent = None, 0.0
    for setting in SETTINGS:
        if best is not None and spent * setting.times > seconds / 10:
            break
        learn(setting, 2, progress=False)
        with plugged_if(name, function) as clock:
            _, rows = learn(setting, 2, progress=False)
        step_seconds, spent = rows[-1]["seconds"], clock.seconds / 2
        if best is not None and step_seconds * MIN_STEPS > seconds:
            break
        best = setting, step_seconds
    return best


class _TimeIsUp(Exception):
    pass


def train(model, setting, steps, progress, limit=None, exactly=None, attached=False):
    """-> (model, rows of the log). limit: stop after so many seconds; exactly: stop after so many steps, of a schedule of `steps`."""
    scenes = Scenes(4000, seed=0, size=(setting.side, setting.side))
    config = configure(model, setting, scenes, steps, attached)
    recipe, network = config["recipe"], runs.build(config)
    prepare = runs.Prepare(None, recipe["extra"].get("truth", ()))
    stream = batches.BatchStream(batches.cached(runs.seen_by(network, scenes), prepare, limit=runs.CACHE_BYTES), recipe["batch_size"], 0,
                                 runs.augmentation(recipe))
    rows, began = [], time.perf_counter()

    def on_step(row):
        rows.append(row)
        if (limit and time.perf_counter() - began > limit) or len(rows) == exactly:
            raise _TimeIsUp
    with contextlib.suppress(_TimeIsUp):
        loop.train(network, stream, optimizer=runs.make_optimizer(network, recipe), steps=steps, progress=progress, clip=recipe["clip"],
                   batches=lambda start, stop: batches.prefetch(stream, start, stop),
                   schedule=schedule.warmup_cosine(recipe["lr"], steps, min(recipe["warmup_steps"], steps // 4)), on_step=on_step)
    return network, rows


class Clock:
    """A student's function with a clock, its exceptions told in words for a student."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *args, **kwargs):
        began = time.perf_counter()
        result = guarded("your function", self.function, *args, **kwargs)
        self.seconds += time.perf_counter() - began
        return result


@contextlib.contextmanager
def plugged_if(name, function):
    """`plugged(name, function)` with a Clock, which it enters as; nothing where there is no function."""
    clock = function and Clock(function)
    with plug.plugged(name, clock) if clock else contextlib.nullcontext():
        yield clock


def held_out(setting, count):
    return Scenes(count, seed=HELD_OUT_SEED, size=(setting.side, setting.side))


def affordable(network, setting, seconds):
    """How many held-out scenes can be scored in that time: 8 at least."""
    sample = runs.seen_by(network, held_out(setting, 1))[0]
    began = time.perf_counter()
    runs.predict(network, [sample])
    return int(np.clip(seconds / (time.perf_counter() - began), 8, HELD_OUT))


def table(results):
    """Both runs side by side: losses at the start and at the end, the score, the time."""
    mine, theirs = results["mine"], results["reference"]
    lines = [f"{results['steps']} steps each, then {results['images']} held-out scenes     {'yours':>12} {'the library':>12}"]
    rows = mine["rows"], theirs["rows"]
    last = max(1, results["steps"] // 10)
    lines.append(line("loss of the first step", *(r[0]["loss"] for r in rows)))
    apart = max(abs(a["loss"] - b["loss"]) / max(abs(b["loss"]), 1e-12) for a, b in zip(*rows, strict=True))
    lines.append(line(f"loss, mean of the last {last}", *(float(np.mean([row["loss"] for row in r[-last:]])) for r in rows)))
    for key, text in (("AP", "AP (boxes)"), ("masks", "AP (masks)"), ("keypoints", "AP (keypoints)"), ("mean_iou", "mean IoU"),
                      ("accuracy", "accuracy")):
        values = [side["numbers"].get(key) for side in (mine, theirs)]
        values = [v.get("AP") if isinstance(v, dict) else v for v in values]
        if any(key in side["numbers"] for side in (mine, theirs)):
            lines.append(line(text, *values))
    lines.append(f"  a step's loss differs by {apart:.1e} of itself at most: rounding in float32, which grows from step to step")
    lines.append(line("seconds of training", mine["seconds"], theirs["seconds"], ".1f"))
    return "\n".join(lines)


def line(text, mine, theirs, form=".4f"):
    shown = ["-" if v is None or not math.isfinite(v) else f"{v:{form}}" for v in (mine, theirs)]
    return f"  {text:<44} {shown[0]:>12} {shown[1]:>12}"
