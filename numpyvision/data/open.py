"""`open_dataset("voc:PATH", "train")`: every data set by one line of text, as the command line takes it.

    scenes         the synthetic world: 4000 scenes to train on, 500 held out
    scenes:200     so many of them
    voc:PATH       a Pascal VOC folder
    coco:PATH      a COCO folder, or one JSON file of it
    PATH           a folder of either, recognised by what is in it
"""
from pathlib import Path

SCENES = {"train": 4000, "val": 500}
# Held-out scenes come from a seed that no training run uses, and always the same one, so that AP can be compared between runs.
HELD_OUT_SEED = 2**31 - 1
KINDS = "scenes, scenes:COUNT, voc:PATH or coco:PATH"


def open_dataset(spec, split="train", seed=0, size=(128, 128), strict=False, masks=True):
    """The data set of a spec and split. A wrong spec or a missing folder is a ValueError of one line.

    seed, size (H, W): of scenes; split "train" draws them from `seed`, "val" from one seed held out for ever. strict: the first
    fault in the annotations is an error. masks=False: COCO's segmentations are not decoded.
    """
    kind, rest = parse_spec(spec)
    if kind == "scenes":
        from numpyvision.data.scenes import Scenes
        if split not in SCENES:
            raise ValueError(f"scenes have the splits {' and '.join(SCENES)}, got {split!r}")
        if split == "train" and seed == HELD_OUT_SEED:
            raise ValueError(f"seed {seed} draws the held-out scenes; take another one to train")
        count = int(rest) if rest else SCENES[split]
        return Scenes(count, seed=seed if split == "train" else HELD_OUT_SEED, size=size)
    if kind == "voc":
        from numpyvision.data.voc import VOC
        return VOC(rest, split, strict=strict)
    from numpyvision.data.coco import COCO
    return COCO(rest, split, strict=strict, masks=masks)


def parse_spec(spec):
    """"voc:PATH" -> ("voc", "PATH"); a plain PATH gets the kind that its content shows."""
    spec = str(spec)
    kind, colon, rest = spec.partition(":")
    if kind == "scenes" and (not colon or (rest.isdigit() and int(rest) > 0)):
        return kind, rest
    if kind == "scenes":
        raise ValueError(f"the number of scenes in {spec!r} must be a whole number of at least 1")
    if kind in ("voc", "coco") and colon:
        if not rest or not Path(rest).exists():
            raise ValueError(f"no such folder: {rest!r} (in {spec!r})")
        return kind, rest
    if Path(spec).exists():
        return _kind_of(Path(spec)), spec
    if colon or "/" not in spec:
        raise ValueError(f"unknown data set {spec!r}; expected {KINDS}")
    raise ValueError(f"no such folder: {spec!r}")


def _kind_of(path):
    if (path / "Annotations").is_dir():
        return "voc"
    if path.suffix == ".json" or any(path.glob("*.json")) or any(path.glob("annotations/*.json")):
        return "coco"
    raise ValueError(f"{path} is no data set: a Pascal VOC folder holds Annotations/, a COCO folder holds a JSON file")
