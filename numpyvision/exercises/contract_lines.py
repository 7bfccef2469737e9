"""What contract.py has for an operation, as inputs of an exercise about it."""
import functools


@functools.cache
def lines_of(op):
    """The lines of contract.py about an operation."""
    from numpyvision import contract
    return [line for line in contract.CASES if line.name == op]


def cases_of(lines, rng):
    """(args, kwargs) of each line with new numbers, then of the first one's empty batch."""
    for line in lines:
        yield line.arrays(rng), line.statics()
    for line in lines[:1]:
        names = list(line.arguments)                                     # the arrays come first
        empty = names[:1] if line.empty is None else line.empty
        yield [a[:0] if n in empty else a for n, a in zip(names, line.arrays(rng), strict=False)], line.statics()
