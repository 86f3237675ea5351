"""Schedules are values: numbers that depend on how far a run has come."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Constant:
    value: float

    def __call__(self, at: float) -> float:
        return self.value


@dataclass(frozen=True)
class Ramp:
    """`start` until `begin`, then straight to `stop`, which is reached at `until`.

    >>> Ramp(0.0, 10.0, begin=1000, until=5000)(2000)
    2.5
    """

    start: float
    stop: float
    begin: float = 0.0
    until: float = 1.0

    def __call__(self, at: float) -> float:
        done = min(max((at - self.begin) / (self.until - self.begin), 0.0), 1.0)
        return self.start + done * (self.stop - self.start)


@dataclass(frozen=True)
class Decay:
    """An exponential from `start` to `stop` between `begin` and `until`: a straight line in the logarithm.

    >>> round(Decay(1.0, 0.01)(0.5), 6)
    0.1
    """

    start: float
    stop: float
    begin: float = 0.0
    until: float = 1.0

    def __call__(self, at: float) -> float:
        done = min(max((at - self.begin) / (self.until - self.begin), 0.0), 1.0)
        return self.start * math.exp(done * math.log(self.stop / self.start))


Schedule = Constant | Ramp | Decay


def scaled(schedule: Schedule, factor: float) -> Schedule:
    """The same schedule, times a number.

    >>> scaled(Ramp(1.0, 3.0), 0.5)
    Ramp(start=0.5, stop=1.5, begin=0.0, until=1.0)
    """
    if isinstance(schedule, Constant):
        return Constant(factor * schedule.value)
    return replace(schedule, start=factor * schedule.start, stop=factor * schedule.stop)
