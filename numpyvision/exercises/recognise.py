"""What did the student do? The known mistake that gives the same wrong results, planted and run beside the student's function."""
from numpyvision.exercises import mutants, same
from numpyvision.exercises.call import Call
from numpyvision.exercises.same import Fault


def recognised(exercise, function, everything, case, fault):
    """The fault under the name of the known mistake that gives the same wrong results, if there is one.

    The same in this case, and in at least half of all cases that the mistake spoils: a student may have made a second one besides. Of
    several such mistakes, the one that agrees in the most cases.
    """
    if fault.code in ("not-implemented", "nondeterministic"):
        return fault
    reference, best, most = exercise.reference(), None, 0
    for bug, wrong in mutants.functions(exercise.name):
        if not _alike(exercise, function, wrong, case) or _alike(exercise, reference, wrong, case):
            continue
        alike = [_alike(exercise, function, wrong, other) for other in everything]
        spoiled = [agrees for agrees, other in zip(alike, everything, strict=True) if not _alike(exercise, reference, wrong, other)]
        if 2 * sum(spoiled) >= len(spoiled) and sum(alike) > most:
            best, most = bug, sum(alike)
    if best is None:
        return fault
    numbers = fault.message.split(". ")[0].rstrip(".")                   # the rest are guesses, and now it is known
    return Fault(best.code, f"A known mistake: {best.why}. {numbers}.", fault.table)


def _alike(exercise, function, wrong, case):
    call = Call(exercise, case)
    mine, theirs = call.guarded(function), call.guarded(wrong)
    if isinstance(mine, Fault) or isinstance(theirs, Fault):
        if not (isinstance(mine, Fault) and isinstance(theirs, Fault) and mine.message.split(" at ")[0] == theirs.message.split(" at ")[0]):
            return False
        return mine.code != "mutates-input" or same.identical(call.after(function), call.after(wrong))
    if exercise.kind == "forward" and same.differs("out", call.values(mine), call.values(theirs)) is None:
        if same.differs("out", call.values(mine), call.values(call.run(exercise.reference()))):
            return True                                               # both are wrong in the same way, whatever the caches hold
        return _cache_alike(mine, theirs) and same.differs("it", call.left_behind(function), call.left_behind(wrong)) is None
    return same.differs("it", call.values(mine), call.values(theirs)) is None


def _cache_alike(mine, theirs):
    if not (isinstance(mine, tuple) and len(mine) == 2 and isinstance(mine[1], dict)):
        return False
    return all(k in mine[1] and same.differs("it", mine[1][k], v) is None for k, v in theirs[1].items())
