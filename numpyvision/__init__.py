"""Detection and segmentation in NumPy: every layer forward and backward by hand, and it really trains.

    out, cache = x_forward(...);  grads = x_backward(dout, cache)

is the one law, from a ReLU to Mask R-CNN. Importing this package compiles nothing and loads neither numba nor matplotlib.
"""
from numpyvision.backend import get_array_module, to_numpy, use
from numpyvision.cache import Cache, NoCache, frozen, new_cache
from numpyvision.plug import plugged
from numpyvision.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"
__all__ = ["Cache", "NoCache", "frozen", "get_array_module", "get_num_threads", "new_cache", "plugged", "set_num_threads", "to_numpy",
           "use", "__version__"]
