"""Schedules: numbers that change along training, such as the fraction of links to rewire."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

from typing_extensions import override

from sparse_engine.nn._initial import check_density


class Schedule(ABC):
    """Number for each training step. Your own schedule is a subclass with one method."""

    @abstractmethod
    def at(self, step: int) -> float:
        """Return the number at a step; steps count from 0."""


def as_schedule(value: Schedule | float) -> Schedule:
    """Return a schedule as it is, a plain number as a :class:`ConstantSchedule`.

    Raises:
        ValueError: neither of the two, or a number that is not finite.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, Real):
        return ConstantSchedule(float(value))
    raise ValueError(f"expected a number or a Schedule, found {value!r}")


@dataclass(frozen=True)
class ConstantSchedule(Schedule):
    """Same number at every step.

    Attributes:
        value: any finite number.
    """

    value: float

    def __post_init__(self) -> None:
        _check_finite(self.value, "value")

    @override
    def at(self, step: int) -> float:
        return self.value


@dataclass(frozen=True)
class Transition(Schedule):
    """Transition from one number to another. A subclass defines the curve in one method.

    Attributes:
        start: the number at step 0.
        steps: number of steps of the transition, at least 1.
        end: the number from ``steps`` on.
    """

    start: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_finite(self.start, "start")
        _check_finite(self.end, "end")
        _check_steps(self.steps)

    @override
    def at(self, step: int) -> float:
        return _between(self.start, self.end, self.covered(_progress(step, 0, self.steps)))

    @abstractmethod
    def covered(self, time: float) -> float:
        """Return the fraction of the change that has happened after a fraction of the time."""


class LinearSchedule(Transition):
    """Straight line: ``start + (end - start) * step / steps``, then ``end``."""

    @override
    def covered(self, time: float) -> float:
        return time


class CosineSchedule(Transition):
    """Half a cosine: ``end + (start - end) * (1 + cos(pi * step / steps)) / 2``, then ``end``.

    This is the decay of RigL (Evci et al. 2020, with ``end`` 0) and of Selfish-RNN (Liu et al.
    2021, with ``end`` 0.005); see :class:`Transition`.
    """

    @override
    def covered(self, time: float) -> float:
        return (1 - math.cos(math.pi * time)) / 2


@dataclass(frozen=True)
class ExponentialSchedule(Schedule):
    """Exponential decay: ``end + (start - end) * exp(-rate * step)``.

    A factor of ``g`` every ``k`` steps is the rate ``-log(g) / k``.

    Attributes:
        start: the number at step 0.
        rate: rate of the decay per step, at least 0.
        end: the number that is approached.
    """

    start: float
    rate: float
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_finite(self.start, "start")
        _check_finite(self.end, "end")
        if not 0 <= self.rate < math.inf:
            raise ValueError(f"expected a finite rate of at least 0, found {self.rate}")

    @override
    def at(self, step: int) -> float:
        return _between(self.end, self.start, math.exp(-self.rate * max(step, 0)))


@dataclass(frozen=True)
class StopAfter(Schedule):
    """Schedule that is 0 from a step on; RigL rewires in the first 75 % of training only.

    Attributes:
        schedule: the schedule, or a number, before that step.
        steps: the first step with 0, at least 0.
    """

    schedule: Schedule | float
    steps: int

    def __post_init__(self) -> None:
        as_schedule(self.schedule)
        if self.steps < 0:
            raise ValueError(f"expected steps of at least 0, found {self.steps}")

    @override
    def at(self, step: int) -> float:
        return as_schedule(self.schedule).at(step) if step < self.steps else 0.0


def _progress(step: int, first: int, last: int) -> float:
    """Return the fraction of the steps from ``first`` to ``last`` that are done, in [0, 1]."""
    return min(max((step - first) / (last - first), 0.0), 1.0)


def _between(start: float, end: float, share: float) -> float:
    """Interpolate: ``start`` at share 0, ``end`` at share 1, both exactly."""
    return start * (1 - share) + end * share


def _check_finite(value: float, name: str) -> None:
    """Raise ValueError if ``value`` is infinite or NaN."""
    if not math.isfinite(value):
        raise ValueError(f"expected a finite {name}, found {value}")


def _check_steps(steps: int) -> None:
    """Raise ValueError for less than one step."""
    if steps < 1:
        raise ValueError(f"expected steps of at least 1, found {steps}")


@dataclass(frozen=True)
class CubicSchedule(Schedule):
    """Cubic decay ``end + (start - end) * (1 - p)^3``, with p the progress to ``last``.

    The density falls fast while there are many links, slowly at the end (Zhu & Gupta 2017; GraNet,
    Liu et al. 2021).

    Attributes:
        start: density up to the step ``first``, in (0, 1].
        end: density from the step ``last`` on, in (0, 1].
        first: step at which the fall begins.
        last: step at which the fall ends, after ``first``.
    """

    start: float
    end: float
    first: int
    last: int

    def __post_init__(self) -> None:
        _check_window(self.start, self.end, self.first, self.last)

    @override
    def at(self, step: int) -> float:
        left = 1 - _progress(step, self.first, self.last)
        return _between(self.end, self.start, left**3)


@dataclass(frozen=True)
class SigmoidSchedule(Schedule):
    """Sigmoid between two densities: slow, fast, slow (CHTss, Zhang et al. 2025).

    With s the logistic function, k the steepness and p the fraction of the way from ``first`` to
    ``last``: ``start + (end - start) * (s(k(2p - 1)) - s(-k)) / (s(k) - s(-k))``, which is scaled
    to meet both densities exactly.

    Attributes:
        start: density up to the step ``first``, in (0, 1].
        end: density from the step ``last`` on, in (0, 1].
        first: step at which the fall begins.
        last: step at which the fall ends, after ``first``.
        steepness: positive; near 0 the S is a straight line.
    """

    start: float
    end: float
    first: int
    last: int
    steepness: float = 6.0

    def __post_init__(self) -> None:
        _check_window(self.start, self.end, self.first, self.last)
        if not 0 < self.steepness < math.inf:
            raise ValueError(f"expected a finite steepness > 0, found {self.steepness}")

    @override
    def at(self, step: int) -> float:
        half = self.steepness / 2
        centred = 2 * _progress(step, self.first, self.last) - 1
        share = (1 + math.tanh(half * centred) / math.tanh(half)) / 2
        return _between(self.start, self.end, share)


@dataclass(frozen=True)
class NarangRamp(Schedule):
    """Threshold of gradual pruning (Narang et al. 2017), as a fraction of a magnitude ``q``.

    q is the magnitude that leaves the wanted density if all links up to it are removed:
    ``sorted(|w|)[floor((1 - density) * n)]``. The threshold grows by ``theta`` a step up to
    ``ramp``, by ``phi = 1.5 * theta`` from there on, with
    ``theta = 2 / (2 * (ramp - first) + 3 * (last - ramp))``, so that it comes to q at ``last``::

        theta * (step - first + 1)                                    before ramp
        theta * (ramp - first + 1) + phi * (step - ramp + 1)          from ramp on

    It is 0, which prunes nothing, up to and including the step ``after`` and from ``last`` on.

    Attributes:
        first: step at which the ramp begins.
        ramp: step at which the ramp becomes steeper, at least ``first``.
        last: step at which pruning ends, after ``first`` and not before ``ramp``.
        after: the last step before pruning; ``first`` by default.
    """

    first: int
    ramp: int
    last: int
    after: int | None = None

    def __post_init__(self) -> None:
        if not self.first <= self.ramp <= self.last or self.first == self.last:
            raise ValueError(
                "expected first <= ramp <= last and first < last, found "
                f"{self.first}, {self.ramp} and {self.last}"
            )

    @classmethod
    def of_epochs(cls, epochs: int, *, steps_per_epoch: int, after: int = 1) -> NarangRamp:
        """Make the ramp of a training: from the first epoch, steeper at a quarter, done at half.

        Args:
            epochs: epochs of the whole training; a quarter and a half of them round to whole ones.
            steps_per_epoch: how many steps make one.
            after: the epoch up to and including which nothing is pruned.

        Raises:
            ValueError: a training too short to have these epochs in this order.
        """
        return cls(
            steps_per_epoch,
            round(0.25 * epochs) * steps_per_epoch,
            round(0.5 * epochs) * steps_per_epoch,
            after * steps_per_epoch,
        )

    def at(self, step: int) -> float:
        """Return the threshold at a step, for q = 1."""
        if step <= (self.first if self.after is None else self.after) or step >= self.last:
            return 0.0
        theta = 2 / (2 * (self.ramp - self.first) + 3 * (self.last - self.ramp))
        if step < self.ramp:
            return theta * (step - self.first + 1)
        return theta * (self.ramp - self.first + 1) + 1.5 * theta * (step - self.ramp + 1)

    def threshold(self, step: int, q: float) -> float:
        """Return ``q * at(step)``: links of a magnitude up to this are removed.

        Raises:
            ValueError: ``q`` is no magnitude.
        """
        if not 0 <= q < math.inf:
            raise ValueError(f"expected a finite q of at least 0, found {q}")
        return q * self.at(step)


def _check_window(start: float, end: float, first: int, last: int) -> None:
    check_density(start, "start")
    check_density(end, "end")
    if first >= last:
        raise ValueError(f"expected first < last, found {first} and {last}")


def cosine_fraction(fraction: float, steps: int, *, end: float = 0.0) -> CosineSchedule:
    """Return the schedule from ``fraction`` along half a cosine to ``end`` after ``steps``.

    Raises:
        ValueError: fraction outside [0, 1], or not one step.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"expected fraction in [0, 1], found {fraction}")
    return CosineSchedule(fraction, steps, end)
