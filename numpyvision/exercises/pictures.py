"""Pictures of what an exercise's function does: `NAME(figure, function)` draws on a matplotlib Figure, with whoever's function it is given.

`exercise start` draws with the library's own function, the goal; `exercise check` with the student's, once it is right.
"""
from numpyvision import backend
from numpyvision.exercises import catalog, pictures_boxes, pictures_ops


def drawer(name):
    """The function that draws the picture of an exercise."""
    exercise = catalog.find(name)
    for module in (pictures_boxes, pictures_ops):
        if hasattr(module, exercise.picture):
            return getattr(module, exercise.picture)
    raise ValueError(f"exercise {name!r}: picture = {exercise.picture!r} is in neither pictures_boxes.py nor pictures_ops.py")


def draw(name, path, function=None):
    """Draw the picture of an exercise into a file, with this function (default: the library's own)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(7.0, 3.2), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    with backend.use("numpy"):                                        # nothing to compile
        drawer(name)(figure, function or catalog.find(name).reference())
    figure.savefig(path)
