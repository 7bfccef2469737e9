"""Every mistake that the checker knows by name: {exercise: bugs in its own reference}.

They serve twice. The tests plant each one and demand that the checker names it. And where a student's function is wrong, the checker
plants them too, and looks for one that gives the very same wrong numbers: then it can say what was done, not only what came out.
"""
from numpyvision.exercises import catalog, mutants_boxes, mutants_ops

MISTAKES = {**mutants_boxes.MISTAKES, **mutants_ops.MISTAKES}


def functions(name):
    """[(bug, the reference with this bug in it)] of an exercise."""
    exercise = catalog.find(name)
    return [(bug, getattr(bug.plant(), exercise.function_name)) for bug in MISTAKES.get(name, ())]
