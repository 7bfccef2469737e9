"""One random trial of a correct operation, and the random numbers that trials are made of.

Values stay off corners by a margin (a finite difference across one is wrong about a right gradient), except where a trial is put on one on
purpose: `kink=True`.
"""
from dataclasses import dataclass, field

import numpy as np

from numpyvision import check, contract

MARGIN = 2e-3            # distance from a corner that counts as off it


@dataclass
class Trial:
    """One correct operation (or layer) with inputs."""

    name: str
    args: list
    kwargs: dict = field(default_factory=dict)
    constants: tuple = ()
    fixed: dict | None = None
    kink: bool = False
    layer: object = None

    def __str__(self):
        shown = [str([p.shape for p in a] if isinstance(a, tuple) else getattr(a, "shape", a)) for a in self.args]
        shown += [f"{k}={v}" for k, v in self.kwargs.items()]
        return f"{self.name}({', '.join(shown)}){' on a corner' if self.kink else ''}"

    def gradcheck(self, rng):
        """The Report."""
        if self.layer is not None:
            return check.gradcheck(self.layer, args=self.args, rng=rng, fixed=self.fixed)
        pair = contract.operations()[self.name]
        return check.gradcheck(*pair, self.args, self.kwargs, rng=rng, constants=self.constants, fixed=self.fixed)


def until(make, good, tries=200):
    """make() until good(it)."""
    for _ in range(tries):
        it = make()
        if good(it):
            return it
    raise RuntimeError("no inputs off the corners found")


def between(rng, low, high):
    """A whole number, both ends included."""
    return int(rng.integers(low, high + 1))


def normal(rng, *shape):
    """Normal numbers, sometimes very small or large ones."""
    return np.array(rng.standard_normal(shape) * rng.choice([1.0, 1.0, 1.0, 1e-2, 50.0]))


def apart(rng, *shape):
    """No two equal, none near zero: 0.1 apart."""
    count = int(np.prod(shape))
    return 0.1 * (rng.permutation(count) - count // 2 + 0.5).reshape(shape)


def image(rng, most=6, empty=True, C=None):
    """(N, C, H, W) of a small map; now and then no image, or one pixel."""
    N = between(rng, 0 if empty and rng.random() < 0.1 else 1, 3)
    H, W = (1, 1) if rng.random() < 0.1 else (between(rng, 1, most), between(rng, 1, most))
    return N, C or between(rng, 1, 4), H, W
