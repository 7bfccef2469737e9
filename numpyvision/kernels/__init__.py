"""Hot loops under numba: arrays in, arrays out, no checks, no defaults (checks happen once, in `ops/` and `boxes/`).

`kernels.conv`, `kernels.roi`, ... load on first use, because importing numba costs half a second that `import numpyvision` must not.
"""
import importlib


def __getattr__(name):
    try:
        return importlib.import_module(f"numpyvision.kernels.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"numpyvision.kernels.{name}":
            raise
        raise AttributeError(f"no kernel module {name!r}") from None
