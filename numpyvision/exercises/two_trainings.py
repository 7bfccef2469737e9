"""Training on a student's function and on the library's, both from the same weights and the same scenes, for as many steps.

Loops in Python are slow, so how large a model can be trained depends on the function: `choose` takes the largest of SETTINGS that leaves a
reasonable number of steps.
"""
import contextlib
import functools
import inspect
import math
import time
from dataclasses import dataclass

import numpy as np

from numpyvision import models, plug, recipes, runs
from numpyvision.check.calls import guarded
from numpyvision.data import batches
from numpyvision.data.open import HELD_OUT_SEED
from numpyvision.data.scenes import Scenes
from numpyvision.training import loop, schedule

MIN_STEPS = 50             # of training, below which a smaller setting is taken
HELD_OUT = 100             # scenes to score on, at most
DETECTOR = dict(widths=[8, 8, 8, 8], blocks=[1, 1, 1, 1], channels=8, hidden=16, rpn_samples=16, roi_samples=8, pre_nms=24, post_nms=8)
DETECTOR_2015 = {key: DETECTOR[key] for key in ("widths", "blocks", "channels", "hidden", "roi_samples")} | {"num_proposals": 30}
NARROW = {"faster_rcnn": DETECTOR,                                # group norm has 8 groups: no fewer channels
          "mask_rcnn": DETECTOR | dict(mask_size=6, mask_convs=1, head_channels=8),
          "keypoint_rcnn": DETECTOR | dict(keypoint_size=8, keypoint_convs=1, head_channels=8),
          "joint_rcnn": DETECTOR | dict(mask_size=6, mask_convs=1, keypoint_size=8, keypoint_convs=1, head_channels=8),
          "fast_rcnn": DETECTOR_2015, "slow_rcnn": DETECTOR_2015 | dict(crop_size=16, num_proposals=10),
          "classifier": dict(widths=[8, 8, 8, 8], blocks=[1, 1, 1, 1]),
          "sliding_window": dict(widths=[4, 4, 4], hidden=8, patches_per_image=8),
          "fcn": dict(widths=[4, 4, 4, 4, 4], convs=[1, 1, 1, 1, 1]),
          "deconvnet": dict(widths=[4, 4, 4], convs=[1, 1, 1], fc_channels=4, fc_size=3)}
# In most detectors the proposals are constants, and these are never called: then a gradient is let through to them.
THROUGH_PROPOSALS = ("encode_boxes_backward", "decode_boxes_backward", "clip_boxes_backward")
SCORES = {"AP": "AP (boxes)", "AP50": "AP (boxes), IoU >= 0.5", "masks": "AP (masks)", "keypoints": "AP (keypoints)",
          "mean_iou": "mean IoU", "accuracy": "accuracy"}


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


def configure(model, setting, dataset, steps=None, attached=False):
    """A run's config for a setting. The learning rate shrinks with the batch. attached: let a gradient through to the proposals."""
    recipe = recipes.RECIPES[model](runs.seen_by(models.model_class(model), dataset).classes, "scenes")
    arguments = dict(NARROW.get(model, {}) if setting.narrow else {})
    if attached and "detach_proposals" in inspect.signature(models.model_class(model)).parameters:
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

    Each is tried for two steps, after two with the library's function, so that nothing is left to compile. Two steps that take a tenth of
    all the time end the search, and it does not begin on them where they might take all of it.
    """
    best, spent = None, 0.0
    for setting in SETTINGS:
        if best is not None and spent * setting.times > seconds:
            break
        learn(setting, 2, progress=False)
        with plugged_if(name, function, limit=seconds / 10 if best is not None else math.inf) as clock:
            _, rows = learn(setting, 2, progress=False)
        if best is not None and (len(rows) < 2 or rows[-1]["seconds"] * MIN_STEPS > seconds):
            break
        best, spent = (setting, rows[-1]["seconds"]), clock.seconds / 2
    return best


class _TimeIsUp(Exception):
    """Ends a training."""


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
                   loss_weights=recipe["extra"].get("loss_weights"),
                   batches=lambda start, stop: batches.prefetch(stream, start, stop),
                   schedule=schedule.warmup_cosine(recipe["lr"], steps, min(recipe["warmup_steps"], steps // 4)), on_step=on_step)
    return network, rows


class Clock:
    """A student's function with a clock, its exceptions told in words for a student. Ends the training after `limit` seconds of it."""

    def __init__(self, function, limit):
        self.function, self.limit, self.seconds = function, limit, 0.0

    def __call__(self, *args, **kwargs):
        began = time.perf_counter()
        result = guarded("your function", self.function, *args, **kwargs)
        self.seconds += time.perf_counter() - began
        if self.seconds > self.limit:
            raise _TimeIsUp
        return result


@contextlib.contextmanager
def plugged_if(name, function, limit=math.inf):
    """`plugged(name, function)` with a Clock, which it enters as; nothing where there is no function."""
    clock = function and Clock(function, limit)
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
    for key, text in SCORES.items():
        values = [side["numbers"].get(key) for side in (mine, theirs)]
        values = [v.get("AP") if isinstance(v, dict) else v for v in values]
        if any(key in side["numbers"] for side in (mine, theirs)):
            lines.append(line(text, *values))
    if apart:
        lines.append(f"  (a step's loss differs by {apart:.1e} of itself at most: float32 rounds otherwise in another order;")
        lines.append("  sooner or later that decides which of two boxes is kept, and from there on two trainings are two)")
    lines.append(line("seconds of training", mine["seconds"], theirs["seconds"], ".1f"))
    return "\n".join(lines)


def line(text, mine, theirs, form=".4f"):
    shown = ["-" if v is None or not math.isfinite(v) else f"{v:{form}}" for v in (mine, theirs)]
    return f"  {text:<44} {shown[0]:>12} {shown[1]:>12}"
