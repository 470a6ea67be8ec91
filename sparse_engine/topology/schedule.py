"""Schedules: numbers that change along training, such as the fraction of links to rewire."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

from typing_extensions import override

from sparse_engine.nn._initial import check_density
from sparse_engine.nn.options import check_fraction, check_number

__all__ = [
    "ConstantSchedule", "CosineSchedule", "CubicSchedule", "DensitySchedule", "LinearSchedule",
    "NarangRamp", "Schedule", "SigmoidSchedule",
]  # fmt: skip


class Schedule(ABC):
    """Number for each training step. Your own schedule is a subclass with one method."""

    @abstractmethod
    def at(self, step: int) -> float:
        """Return the number at a step; steps count from 0."""


def as_schedule(value: Schedule | float) -> Schedule:
    """Return a schedule as it is, a plain number as a :class:`ConstantSchedule`."""
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
        check_number("a finite value", self.value, math.isfinite)

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
        check_number("a finite start", self.start, math.isfinite)
        check_number("a finite end", self.end, math.isfinite)
        check_number("steps of at least 1", self.steps, lambda steps: steps >= 1)

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


def cosine_fraction(fraction: float, steps: int, *, end: float = 0.0) -> CosineSchedule:
    """Return the schedule of a fraction, in [0, 1], that falls to ``end`` after ``steps``."""
    check_fraction("fraction", fraction)
    return CosineSchedule(fraction, steps, end)


@dataclass(frozen=True)
class DensitySchedule(Schedule):
    """Fall of the density between two steps. A subclass defines the curve in ``at``.

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
        check_density(self.start, "start")
        check_density(self.end, "end")
        if self.first >= self.last:
            raise ValueError(f"expected first < last, found {self.first} and {self.last}")


class CubicSchedule(DensitySchedule):
    """Cubic decay ``end + (start - end) * (1 - p)^3``, with p the progress to ``last``.

    The density falls fast while there are many links, slowly at the end (Zhu & Gupta 2017; GraNet,
    Liu et al. 2021). See :class:`DensitySchedule`.
    """

    @override
    def at(self, step: int) -> float:
        left = 1 - _progress(step, self.first, self.last)
        return _between(self.end, self.start, left**3)


@dataclass(frozen=True)
class SigmoidSchedule(DensitySchedule):
    """Sigmoid between two densities: slow, fast, slow (CHTss, Zhang et al. 2025).

    With s the logistic function, k the steepness and p the fraction of the way from ``first`` to
    ``last``: ``start + (end - start) * (s(k(2p - 1)) - s(-k)) / (s(k) - s(-k))``, which is scaled
    to meet both densities exactly. See :class:`DensitySchedule`.

    Attributes:
        steepness: positive; near 0 the S is a straight line.
    """

    steepness: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("a finite steepness > 0", self.steepness, lambda k: 0 < k < math.inf)

    @override
    def at(self, step: int) -> float:
        half = self.steepness / 2
        centred = 2 * _progress(step, self.first, self.last) - 1
        share = (1 + math.tanh(half * centred) / math.tanh(half)) / 2
        return _between(self.start, self.end, share)


def _progress(step: int, first: int, last: int) -> float:
    """Return the fraction of the steps from ``first`` to ``last`` that are done, in [0, 1]."""
    return min(max((step - first) / (last - first), 0.0), 1.0)


def _between(start: float, end: float, share: float) -> float:
    """Interpolate: ``start`` at share 0, ``end`` at share 1, both exactly."""
    return start * (1 - share) + end * share


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

    @override
    def at(self, step: int) -> float:
        if step <= (self.first if self.after is None else self.after) or step >= self.last:
            return 0.0
        theta = 2 / (2 * (self.ramp - self.first) + 3 * (self.last - self.ramp))
        if step < self.ramp:
            return theta * (step - self.first + 1)
        return theta * (self.ramp - self.first + 1) + 1.5 * theta * (step - self.ramp + 1)
