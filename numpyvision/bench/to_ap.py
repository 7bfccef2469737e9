"""From nothing to an AP: the recipe's whole training, ours and the torch twin's, on the same batches, each in a process of its own.

The time is that of the process: import, loading what was compiled, drawing the scenes, all steps. Scoring is not in it.
"""
import importlib.util
import subprocess
import sys
import time

import numpy as np

from numpyvision import runs
from numpyvision.bench import first_run
from numpyvision.data import batches
from numpyvision.training import schedule

CHILD = "from numpyvision.bench import to_ap; to_ap.child({ours}, {name!r}, {steps})"


def measure(quick=False, name="faster_rcnn"):
    """Rows {"group", "name", "direction", "value", "unit"}, one by one: seconds and AP of both. quick: the recipe's short setting."""
    steps = runs.make_config(name, "scenes", runs.open_data("scenes"), short=quick)["recipe"]["steps"]
    for who, ours in (("ours", True), ("torch twin", False)):
        if ours or importlib.util.find_spec("torch"):
            start = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-c", CHILD.format(ours=ours, name=name, steps=steps)], stdout=subprocess.PIPE,
                                       text=True, env=first_run.environment())
            trained = process.stdout.readline()
            seconds = time.perf_counter() - start
            rest = process.communicate()[0]
            if process.returncode or trained.strip() != "trained":
                raise RuntimeError(f"the training of {who} ended with exit code {process.returncode}")
            yield from ({"group": "to AP", "name": f"{name}, {steps} steps, {who}", "direction": unit, "value": value, "unit": unit}
                     for unit, value in (("s", round(seconds, 1)), ("AP", float(rest.split()[-1]))))


def child(ours, name, steps):
    """Train; say "trained"; score on the held-out scenes; say the AP."""
    dataset = runs.open_data("scenes")
    config = runs.make_config(name, "scenes", dataset, steps=steps)
    model = (runs.train(config, None, dataset, progress=False) if ours else train_twin(config, dataset))
    print("trained", flush=True)
    numbers, _ = runs.evaluate(model, runs.open_data("scenes", "val"), progress=False)
    print(numbers["AP"])


def train_twin(config, dataset):
    """What runs.train does, with the torch twin -> the NumPy model with the twin's weights."""
    from numpyvision.bench import twins
    recipe, seed = config["recipe"], config["seed"]
    model = runs.build(config)
    twin = twins.make_twin(model)
    optimizer = twin.optimizer(recipe)
    prepare = runs.Prepare(recipe["short_side"], recipe["extra"].get("truth", ()))
    data = batches.cached(runs.seen_by(model, dataset), prepare, limit=runs.CACHE_BYTES)
    stream = batches.BatchStream(data, recipe["batch_size"], seed, runs.augmentation(recipe))
    rate = schedule.warmup_cosine(recipe["lr"], recipe["steps"], min(recipe["warmup_steps"], recipe["steps"] // 4))
    for s, batch in enumerate(batches.prefetch(stream, 0, recipe["steps"])):
        twin.step(batch, optimizer, rate(s), np.random.default_rng([seed, s]), recipe["clip"], recipe["extra"].get("loss_weights"))
    for name, p in model.named_params():
        p[...] = twin.p[name].detach().numpy()
    for name, p in model.named_buffers():
        p[...] = twin.buffers[name].numpy()
    return model
