"""The lecture's systems: `rpn.py` and `roi_heads.py` are branches, every other file is one system built from them."""
from numpyvision.models.catalog import MODELS, build, model_class

__all__ = ["MODELS", "build", "model_class"]
