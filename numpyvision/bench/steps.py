"""Whole models: one step of training, and prediction. Ours compiled, ours readable, and the torch twin.

The small setting: four scenes of 128 x 128, as the recipes train them. Data loading is on neither side. Before the clock starts the model
is trained for a moment, so that its proposals look like proposals; then the learning rate is 0, so that every step is the same work.
"""
import importlib.util

import numpy as np

from numpyvision import models, recipes, runs, threads
from numpyvision.bench import operations
from numpyvision.data import batches, scenes
from numpyvision.training import loop, memory

MODELS = ("fcn", "faster_rcnn", "mask_rcnn")
WARM_STEPS = 30


def tasks(names=(), quick=False, peers=True):
    """A Task for each model's training step and one for its prediction."""
    for name in MODELS:
        if operations.wanted(names, name):
            yield from model_tasks(name, quick=quick, peers=peers)


def model_tasks(name, batch_size=4, side=128, quick=False, peers=True, warm_steps=WARM_STEPS):
    """The two Tasks of one model: "training step" and "prediction"."""
    model, recipe, batch = prepare(name, batch_size, side, 0 if quick else warm_steps)
    work = {"training step": operations.ours(training(model, recipe, batch)),
            "prediction": operations.ours(lambda: model.predict(batch.images, batch.sizes))}
    if peers and importlib.util.find_spec("torch"):
        twin, step = twin_training(model, recipe, batch)
        work["training step"]["torch"], work["prediction"]["torch"] = step, lambda: twin.predict(batch.images, batch.sizes)
    for direction, functions in work.items():
        yield operations.Task(name, f"{batch_size} x {side}x{side}", direction, functions)


def prepare(name, batch_size=4, side=128, warm_steps=WARM_STEPS):
    """-> model, recipe (a dict), the batch that is timed."""
    memory.keep_freed_memory()                     # as a training does; the twin, in the same process, gains as well
    world = runs.seen_by(models.model_class(name), scenes.Scenes(batch_size * 8, seed=0, size=(side, side)))
    recipe = vars(recipes.RECIPES[name](world.classes))
    model = models.build(name, recipe["model"], rng=np.random.default_rng(0))
    keep = runs.Prepare(None, recipe["extra"].get("truth", ()))
    stream = batches.BatchStream(batches.cached(world, keep, limit=runs.CACHE_BYTES), batch_size, 0)
    optimizer = runs.make_optimizer(model, recipe)
    for s in range(warm_steps):
        loop.train_step(model, stream.batch(s), optimizer, recipe["lr"] * 0.3, [0, s], {}, recipe["clip"])
    return model, recipe, stream.batch(0)


def training(model, recipe, batch):
    """One step of training as a function: what loop.train does with a batch."""
    optimizer = runs.make_optimizer(model, recipe)
    return lambda: loop.train_step(model, batch, optimizer, 0.0, [0, 0], {}, recipe["clip"])


def twin_training(model, recipe, batch):
    """-> the twin, and its step as a function."""
    import torch

    from numpyvision.bench import twins
    torch.set_num_threads(threads.get_num_threads())
    twin = twins.make_twin(model)
    optimizer = twin.optimizer(recipe)
    return twin, lambda: twin.step(batch, optimizer, 0.0, np.random.default_rng([0, 0]), recipe["clip"])
