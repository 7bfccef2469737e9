"""Models by name, as the command line and a run's config.json call them."""
import importlib

MODELS = {"classifier": "numpyvision.models.classifier:Classifier",
          "deconvnet": "numpyvision.models.deconvnet:DeconvNet",
          "fast_rcnn": "numpyvision.models.fast_rcnn:FastRCNN",
          "faster_rcnn": "numpyvision.models.faster_rcnn:FasterRCNN",
          "fcn": "numpyvision.models.fcn:FCN",
          "joint_rcnn": "numpyvision.models.mask_rcnn:MaskRCNN",
          "keypoint_rcnn": "numpyvision.models.mask_rcnn:MaskRCNN",            # the same file with other branches on, see recipes.py
          "mask_rcnn": "numpyvision.models.mask_rcnn:MaskRCNN",
          "slow_rcnn": "numpyvision.models.slow_rcnn:SlowRCNN",
          "sliding_window": "numpyvision.models.sliding_window:SlidingWindow"}


def model_class(name):
    """The class of the model `name`."""
    if name not in MODELS:
        raise ValueError(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    module, _, class_name = MODELS[name].partition(":")
    return getattr(importlib.import_module(module), class_name)


def build(name, config, *, rng, dtype="float32"):
    """The model `name` with the arguments in config (as `model.config()` gave them) and fresh weights drawn from rng."""
    return model_class(name)(**config, rng=rng, dtype=dtype)
