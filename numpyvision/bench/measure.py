"""Time several ways to do one thing, fairly: in turns, after a warm-up, by medians.

In turns, because a shared machine is fast in one second and slow in the next; whoever runs then must not matter. A ratio is therefore
taken within each round, and its spread is that of the rounds.
"""
import statistics
import time
from dataclasses import dataclass

LEAST = 0.004        # seconds that one measurement takes at least: what is quicker runs several times in it
PAUSE = 0.02         # before each measurement: OpenMP's idle threads spin for some 10 ms before they let go of their processor


@dataclass(frozen=True)
class Times:
    """The seconds of one function, a number a round."""

    seconds: tuple

    @property
    def median(self):
        return statistics.median(self.seconds)


def interleave(functions, budget=0.5, rounds=(5, 60)):
    """{name: function without arguments} -> {name: Times}, all measured in turns.

    budget: seconds for each of them; rounds: at least and at most so many.
    """
    once, counts = {}, {}
    for name, function in functions.items():
        function()                                                       # compiles, loads, fills caches
        start = time.perf_counter()
        function()
        once[name] = time.perf_counter() - start
        counts[name] = max(1, round(LEAST / max(once[name], 1e-7)))
    a_round = sum(once[name] * (counts[name] + 1) + PAUSE for name in functions)
    number = int(min(max(budget * len(functions) / a_round, rounds[0]), rounds[1]))
    seconds = {name: [] for name in functions}
    for _ in range(number):
        for name, function in functions.items():
            seconds[name].append(_time(function, counts[name]))
    return {name: Times(tuple(values)) for name, values in seconds.items()}


def _time(function, count):
    time.sleep(PAUSE)
    function()                                                           # wakes its threads, and fills the caches that others have used
    start = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - start) / count


def once(function, budget=0.3):
    """The time of a slow function: the median of as many runs as the budget holds, at least one. The first run counts if it is long."""
    seconds, start = [], time.perf_counter()
    while not seconds or (time.perf_counter() - start < budget and len(seconds) < 5):
        begun = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begun)
    return Times(tuple(seconds[1:] if len(seconds) > 1 else seconds))


def ratio(ours, theirs):
    """(ratio of the medians, lower quartile, upper quartile of the rounds' own ratios); below 1 is ours faster."""
    rounds = sorted(a / b for a, b in zip(ours.seconds, theirs.seconds, strict=True))
    quarter = len(rounds) // 4
    return ours.median / theirs.median, rounds[quarter], rounds[-1 - quarter]
