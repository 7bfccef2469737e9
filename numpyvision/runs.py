"""What the command line does, as functions that a notebook can call too: open data, train a run, load it, score it, predict with it.

A run is a folder: checkpoint.safetensors (weights, optimiser, step), config.json (all it takes to build the model and open the data again),
log.jsonl, curves.png, predictions.png, metrics.json. A data set is named by a spec: `scenes`, `voc:PATH` or `coco:PATH` (data/open.py).
"""
import inspect
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from numpyvision import ahead, models, recipes
from numpyvision.data import batches, semantic, transforms, voc
from numpyvision.data.open import open_dataset, parse_spec
from numpyvision.training import checkpoint, loop, optim, schedule

CACHE_BYTES = 2 << 30
CHECKPOINTS_A_RUN = 20


# ---------------------------------------------------------------------------------------------------------------- data
def absolute(spec):
    """The spec with its path made absolute, so that a run can be resumed from any folder: "voc:~/bccd" -> "voc:/home/.../bccd"."""
    kind, colon, rest = str(spec).partition(":")
    spec = f"{kind}:{Path(rest).expanduser()}" if rest.startswith("~") else spec            # the shell expands no ~ behind a colon
    kind, rest = parse_spec(spec)
    return kind if not rest else f"{kind}:{rest if kind == 'scenes' else Path(rest).resolve()}"


def open_data(spec, split="train", count=None):
    """The data set that spec names. split: "train", "val" or another that the folder knows; count: at most so many images."""
    spec = absolute(spec)
    if spec.startswith("voc:") and not voc.splits(spec.removeprefix("voc:")):
        dataset = voc.VOC(spec.removeprefix("voc:"), None)              # without ImageSets/Main there are no splits: take every image
    else:
        dataset = open_dataset(spec, split)
    return dataset if count is None else First(dataset, count)


def same_images(train, val):
    """True if a folder without splits gave the same images for both: one instances.json, or VOC without ImageSets."""
    files = getattr(train, "file", None), getattr(val, "file", None)
    return files[0] == files[1] if files[0] else getattr(train, "split", "scenes") is None


class First:
    """The first `count` samples of a data set."""

    def __init__(self, dataset, count):
        self.dataset, self.count = dataset, min(count, len(dataset))
        self.classes, self.name = dataset.classes, dataset.name
        self.semantic_classes = semantic.semantic_classes(dataset)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.dataset[range(self.count)[index]]


def seen_by(model, dataset):
    """The data set as a model (or its class) reads it: as label maps if it labels pixels, as it is for all others."""
    labels_pixels = getattr(model, "task", None) == "semantic"
    return semantic.SemanticMaps(dataset) if labels_pixels and not isinstance(dataset, semantic.SemanticMaps) else dataset


class Prepare:
    """Bring a sample to the size that the model sees, and drop the truth that it does not read: a flip would have to mirror it too."""

    def __init__(self, short_side, keep=()):
        self.resize = transforms.ResizeShortSide(short_side) if short_side else None
        self.dropped = {name: None for name in ("masks", "keypoints", "semantic", "panoptic", "segments") if name not in keep}

    def __call__(self, sample, rng=None):
        sample = replace(sample, **self.dropped)
        return self.resize(sample, rng) if self.resize else sample


# ---------------------------------------------------------------------------------------------------------------- runs
def check_name(name):
    """A ValueError if there is no recipe for a model of this name."""
    if name not in recipes.RECIPES:
        raise ValueError(f"no model is called {name!r}; there are {', '.join(recipes.RECIPES)}")


def check_arguments(name, wanted):
    """The arguments that are wanted of a model; a ValueError if it takes none of that name."""
    known = [p for p in inspect.signature(models.model_class(name)).parameters if p not in ("classes", "rng", "dtype")]
    unknown = [key for key in wanted if key not in known]
    if unknown:
        raise ValueError(f"{name} takes no argument {unknown[0]!r}; it takes {', '.join(known)}")
    return wanted


def make_config(name, spec, dataset, *, seed=0, steps=None, batch_size=None, lr=None, short=False, model=None):
    """All settings of a run, as JSON holds them: the model's recipe for this data, with what the caller wants otherwise.

    model: {name: value}, arguments of the model that are to differ from the recipe's.
    """
    check_name(name)
    measured = dict(object_size=object_size(dataset)) if name in recipes.ANCHORED and not str(spec).startswith("scenes") else {}
    recipe = vars(recipes.RECIPES[name](seen_by(models.model_class(name), dataset).classes, spec, **measured))
    recipe["steps"] = steps or (recipe["short_steps"] if short else recipe["steps"])
    recipe |= {key: value for key, value in (("batch_size", batch_size), ("lr", lr)) if value is not None}
    arguments = recipe.pop("model") | check_arguments(name, model or {})
    return {"name": name, "data": absolute(spec), "seed": seed, "model": arguments, "recipe": recipe}


def object_size(dataset, count=100):
    """The median side of the objects of (at most) `count` images, as a share of the image's short side; None if they have none."""
    chosen = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)
    sides = [np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) / min(size)
             for boxes, size in (boxes_and_size(dataset, i) for i in chosen)]
    return float(np.median(np.concatenate(sides))) if sum(map(len, sides)) else None


def boxes_and_size(dataset, index):
    """Boxes (G, 4) and (H, W) of an image: from its annotation if the data set has one, so that no file is read."""
    if hasattr(dataset, "boxes_and_size"):
        return dataset.boxes_and_size(index)
    sample = dataset[index]
    return sample.boxes, sample.size


def describe(config, dataset):
    """One line about a run."""
    recipe = config["recipe"]
    return (f"{config['name']} on {dataset.name} ({len(dataset)} images, {len(config['model']['classes']) - 1} classes): "
            f"{recipe['steps']} steps of {recipe['batch_size']} images, seed {config['seed']}")


def build(config):
    """The model of a config, with the fresh weights of its seed."""
    return models.build(config["name"], config["model"], rng=np.random.default_rng(config["seed"]))


def make_optimizer(model, recipe):
    """The recipe's optimiser for this model."""
    kinds = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW}
    if recipe["optimizer"] not in kinds:
        raise ValueError(f"the recipe's optimizer must be one of {', '.join(kinds)}, got {recipe['optimizer']!r}")
    momentum = {"momentum": recipe["momentum"]} if recipe["optimizer"] == "sgd" else {}
    return kinds[recipe["optimizer"]](model.named_params(), recipe["lr"], weight_decay=recipe["weight_decay"], **momentum)


def augmentation(recipe):
    """What happens to a sample each time that it is drawn: a crop and other colours if the recipe says so, then perhaps a mirror."""
    extra, flip = recipe["extra"], transforms.HorizontalFlip(recipe["flip"])
    crop = [transforms.RandomResizedCrop(tuple(extra["crop"]), tuple(extra["crop_scale"]))] if "crop" in extra else []
    colours = [transforms.ColorJitter(*[extra["jitter"]] * 3)] if "jitter" in extra else []
    return transforms.Compose([*crop, *colours, flip]) if crop or colours else flip


def train(config, out, dataset, *, resume=False, progress=True):
    """Train the run that config describes on a data set, in the folder `out` -> the model.

    With `progress`, the loops that this machine has not compiled yet are compiled first, in several processes, behind a bar of their own.
    """
    from numpyvision.plot import curves
    recipe, seed = config["recipe"], config["seed"]
    prepare = Prepare(recipe["short_side"], recipe["extra"].get("truth", ()))
    model, steps = build(config), recipe["steps"]
    dataset = batches.cached(seen_by(model, dataset), prepare, limit=CACHE_BYTES)
    stream = batches.BatchStream(dataset, recipe["batch_size"], seed, augmentation(recipe))
    optimizer = make_optimizer(model, recipe)
    if progress:
        ahead.compile_for(config["name"])
    loop.train(model, stream, optimizer=optimizer, steps=steps, out=out, seed=seed, resume=resume, progress=progress,
               schedule=schedule.warmup_cosine(recipe["lr"], steps, min(recipe["warmup_steps"], steps // 4)), clip=recipe["clip"],
               loss_weights=recipe["extra"].get("loss_weights"), checkpoint_every=max(1, math.ceil(steps / CHECKPOINTS_A_RUN)),
               batches=lambda start, stop: batches.prefetch(stream, start, stop), config=config, plot=curves.plot_curves)
    return model


def read_config(run):
    """The config of a run: of its checkpoint, or of config.json if it died before it wrote one."""
    run = Path(run)
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: no such run; `numpyvision train` makes one")
    if (run / loop.CHECKPOINT).exists():
        config, source = checkpoint.read(run / loop.CHECKPOINT).config, run / loop.CHECKPOINT
    elif (run / loop.CONFIG).exists():
        source = run / loop.CONFIG
        try:
            config = json.loads(source.read_text())
        except ValueError as error:
            raise ValueError(f"{source}: not JSON ({error})") from None
    else:
        raise FileNotFoundError(f"{run}: neither {loop.CHECKPOINT} nor {loop.CONFIG} is there, so this is not the folder of a run")
    missing = [key for key in ("name", "data", "seed", "model", "recipe") if not isinstance(config, dict) or key not in config]
    if missing:
        raise ValueError(f"{source}: config.{missing[0]}: absent; it was not written by `numpyvision train`")
    return config


def load(run):
    """(model with the run's weights, its config)."""
    config = read_config(run)
    model = build(config)
    checkpoint.load(Path(run) / loop.CHECKPOINT, model)
    return model, config


def export(run, path, half=False):
    """Write the weights of a run alone, no optimiser, with all it takes to build their model: one file to give away. half: in 16 bits."""
    if path.exists():
        raise ValueError(f"{path}: is there already, and nothing is overwritten; name another file")
    model, config = load(run)
    config = config | {"data": config["data"].partition(":")[0]}       # a folder of this machine means nothing on another
    checkpoint.save(path, model, step=checkpoint.read(Path(run) / loop.CHECKPOINT).step, config=config, half=half)


def load_weights(path):
    """(model, config) of a file that `export` wrote."""
    config = checkpoint.read(path).config
    missing = [key for key in ("name", "seed", "model") if key not in config]
    if missing:
        raise ValueError(f"{path}: config.{missing[0]}: absent; it was not written by `numpyvision export`")
    model = build(config)
    checkpoint.load(path, model)
    return model, config


# ---------------------------------------------------------------------------------------------------------------- using a model
def predict(model, samples, short_side=None):
    """What the model says about samples of any size, in the coordinates of the samples' own images.

    A list: Detections, or class probabilities (K + 1,), or the class of every pixel (H, W) uint8.
    """
    prepared = [Prepare(short_side)(sample) for sample in samples]
    batch = batches.collate(prepared)
    found = model.predict(batch.images, batch.sizes)
    if isinstance(found, np.ndarray) and found.ndim == 3:               # (N, H, W): label maps of the padded batch
        pairs = zip(found, samples, prepared, strict=True)
        return [map_back(one[:p.size[0], :p.size[1]], p.scale / sample.scale, sample.size) for one, sample, p in pairs]
    if isinstance(found, np.ndarray):
        return list(found)                                              # (N, K + 1): a classifier
    return [one.scaled(sample.scale / p.scale, sample.size) for one, sample, p in zip(found, samples, prepared, strict=True)]


def map_back(label_map, scale, size):
    """The label map of an image that was resized by `scale`, at the image's own size (H, W): a pixel gets the label it came to lie on."""
    rows, columns = (np.clip(((np.arange(n) + 0.5) * scale).astype(np.int64), 0, m - 1) for n, m in zip(size, label_map.shape, strict=True))
    return label_map[rows[:, None], columns]


def predictions(model, dataset, short_side=None, batch_size=8, progress=True):
    """(sample, prediction) for every image of a data set, in order."""
    from tqdm.auto import tqdm
    with tqdm(total=len(dataset), desc="evaluating", unit="image", disable=not progress, leave=False) as bar:
        for start in range(0, len(dataset), batch_size):
            samples = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
            yield from zip(samples, predict(model, samples, short_side), strict=True)
            bar.update(len(samples))


def evaluate(model, dataset, short_side=None, progress=True):
    """-> (numbers as JSON holds them, the same as a table in text): average precision, accuracy, or IoU, as the model answers."""
    dataset = seen_by(model, dataset)
    if tuple(dataset.classes) != tuple(model.classes):
        raise ValueError(f"the model knows the classes {', '.join(model.classes[1:])}; {dataset.name} has {', '.join(dataset.classes[1:])}")
    pairs = predictions(model, dataset, short_side, progress=progress)
    first = next(pairs, None)
    if first is None:
        raise ValueError(f"{dataset.name} has no images to score")
    score = _score_boxes if not isinstance(first[1], np.ndarray) else _score_labels if first[1].ndim == 1 else _score_maps
    numbers, table = score(itertools.chain([first], pairs), model.classes)
    if hasattr(model, "compare"):                                       # a sliding window: what one image costs, one way and the other
        cost, text = _cost(model, first[0].image)
        numbers, table = numbers | {"cost": cost}, f"{table}\n\n{text}"
    parameters = sum(p.size for _, p in model.named_params()) if hasattr(model, "named_params") else 0
    return {"data": dataset.name, "images": len(dataset), "parameters": parameters, **_plain(numbers)}, table


def _score_boxes(pairs, classes):
    from numpyvision.metrics import objects
    return objects.score_objects(pairs, classes)


def _score_labels(pairs, classes):
    from numpyvision.metrics import labels
    from numpyvision.models.classifier import main_label
    return labels.score_labels(((main_label(sample), probs) for sample, probs in pairs), classes)


def _score_maps(pairs, classes):
    from numpyvision.metrics import segmentation
    return segmentation.score_maps(((sample.semantic, found) for sample, found in pairs), classes)


def _cost(model, image):
    found = model.compare(image)
    counts, seconds = found["multiply_adds"], found["seconds"]
    table = "\n".join([f"one image of {image.shape[1]} x {image.shape[2]}     multiply-adds   seconds",
                       *(f"{name:<24} {counts[name]:17,d} {seconds[name]:9.3f}" for name in ("naive", "dense")),
                       f"{'naive / dense':<24} {found['multiply_adds_ratio']:17.1f} {found['seconds_ratio']:9.1f}",
                       f"largest difference of a score: {found['largest_difference']:.1e}"])
    return found, table


def _plain(value):
    """JSON's types: NumPy numbers become Python's, nan becomes None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, int):
        return value                                                    # counts stay exact
    number = float(value)
    return None if math.isnan(number) else number


def draw_predictions(model, dataset, path, short_side=None, count=8):
    """Truth beside prediction for the first images of a data set, as a picture."""
    from numpyvision.plot import boxes, segmentation
    pairs = list(predictions(model, seen_by(model, First(dataset, count)), short_side, progress=False))
    if pairs and isinstance(pairs[0][1], np.ndarray) and pairs[0][1].ndim == 2:
        segmentation.draw_page([sample for sample, _ in pairs], [found for _, found in pairs], model.classes, path)
    if pairs and not isinstance(pairs[0][1], np.ndarray):
        asked = [name for name in ("masks", "keypoints") if getattr(pairs[0][1], name) is not None]
        truth = [Prepare(None, asked)(sample) for sample, _ in pairs]   # without the masks that this model was not asked for
        boxes.draw_truth_and_predictions(truth, [found for _, found in pairs], model.classes, path)
