"""What the lecture's rows share: `@row("U03")` marks the functions that test_lecture.py runs; a few short ways to write tables."""
import numpy as np

RULES = []                                                 # (row, function)


def row(*names):
    """This function tests these rows of the lecture."""
    def keep(function):
        RULES.extend((f"L16-{name}", function) for name in names)
        return function
    return keep


def rng(*seed):
    return np.random.default_rng([16, *seed])


def close(a, b, atol=1e-12):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def table(text):
    """The numbers of a table, printed row / row."""
    return np.array([[float(v) for v in line.split()] for line in text.split("/")])


def image(rows):
    """A table as (1, 1, H, W)."""
    return np.array(rows, float)[None, None]


def printed(values):
    """Symbols as the slide prints them."""
    return [str(v) for v in values]


SQUARE = image([[1, 2], [3, 4]])                           # the 2 x 2 input of the slides
