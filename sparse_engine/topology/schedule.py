"""Schedules: a number that changes along training, such as the share of links to rewire."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real


class Schedule(ABC):
    """A number for every training step. A schedule of your own is a subclass with one method."""

    @abstractmethod
    def at(self, step: int) -> float:
        """The number at a step; steps count from 0."""


def as_schedule(value: Schedule | float) -> Schedule:
    """A schedule as it is, a plain number as a :class:`Constant`.

    Raises:
        ValueError: neither of the two, or a number that is not finite.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, Real):
        return Constant(float(value))
    raise ValueError(f"expected a number or a Schedule, found {value!r}")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same number at every step.

    Attributes:
        value: any finite number.
    """

    value: float

    def __post_init__(self) -> None:
        check_finite(self.value, "value")

    def at(self, step: int) -> float:
        """See :meth:`Schedule.at`."""
        return self.value


@dataclass(frozen=True)
class Transition(Schedule):
    """Goes from one number to another, and stays there. A subclass says how, in one method.

    Attributes:
        start: the number at step 0.
        steps: how long the way to ``end`` is, at least 1.
        end: the number from ``steps`` on.
    """

    start: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        check_finite(self.start, "start")
        check_finite(self.end, "end")
        check_steps(self.steps)

    def at(self, step: int) -> float:
        """See :meth:`Schedule.at`."""
        return between(self.start, self.end, self.covered(progress(step, 0, self.steps)))

    @abstractmethod
    def covered(self, time: float) -> float:
        """The share of the change that has happened after a share of the time, from 0 to 1."""


class Linear(Transition):
    """``start + (end - start) * step / steps``, then ``end``; see :class:`Transition`."""

    def covered(self, time: float) -> float:
        """See :meth:`Transition.covered`."""
        return time


class Cosine(Transition):
    """``end + (start - end) * (1 + cos(pi * step / steps)) / 2``, then ``end``.

    The decay of RigL (Evci et al. 2020, with ``end`` 0) and of Selfish-RNN (Liu et al. 2021, with
    ``end`` 0.005); see :class:`Transition`.
    """

    def covered(self, time: float) -> float:
        """See :meth:`Transition.covered`."""
        return (1 - math.cos(math.pi * time)) / 2


@dataclass(frozen=True)
class Exponential(Schedule):
    """``end + (start - end) * exp(-rate * step)``.

    A factor of ``g`` every ``k`` steps is the rate ``-log(g) / k``.

    Attributes:
        start: the number at step 0.
        rate: of the decay, per step, at least 0.
        end: what the number tends to.
    """

    start: float
    rate: float
    end: float = 0.0

    def __post_init__(self) -> None:
        check_finite(self.start, "start")
        check_finite(self.end, "end")
        if not 0 <= self.rate < math.inf:
            raise ValueError(f"expected a finite rate of at least 0, found {self.rate}")

    def at(self, step: int) -> float:
        """See :meth:`Schedule.at`."""
        return between(self.end, self.start, math.exp(-self.rate * max(step, 0)))


@dataclass(frozen=True)
class StopAfter(Schedule):
    """Another schedule, and 0 from a step on: RigL rewires in the first 75 % of training only.

    Attributes:
        schedule: what holds before; a plain number does as well.
        steps: the first step with 0, at least 0.
    """

    schedule: Schedule | float
    steps: int

    def __post_init__(self) -> None:
        as_schedule(self.schedule)
        if self.steps < 0:
            raise ValueError(f"expected steps of at least 0, found {self.steps}")

    def at(self, step: int) -> float:
        """See :meth:`Schedule.at`."""
        return as_schedule(self.schedule).at(step) if step < self.steps else 0.0


def progress(step: int, first: int, last: int) -> float:
    """The share of the way from ``first`` to ``last`` that lies behind a step, in [0, 1]."""
    return min(max((step - first) / (last - first), 0.0), 1.0)


def between(start: float, end: float, share: float) -> float:
    """``start`` at share 0, ``end`` at share 1, both exactly."""
    return start * (1 - share) + end * share


def check_finite(value: float, name: str) -> None:
    """Raises ValueError if ``value`` is infinite or NaN."""
    if not math.isfinite(value):
        raise ValueError(f"expected a finite {name}, found {value}")


def check_steps(steps: int) -> None:
    """Raises ValueError if there is not one step."""
    if steps < 1:
        raise ValueError(f"expected steps of at least 1, found {steps}")
