"""Density schedules: how a weight becomes sparse step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparse_engine.nn._init import check_density
from sparse_engine.topology.schedule import Schedule, between, progress


@dataclass(frozen=True)
class Cubic(Schedule):
    """``end + (start - end) * (1 - p)^3``, p the share of the way from ``first`` to ``last``.

    Falls fast while there are many links, slowly at the end (Zhu & Gupta 2017; GraNet, Liu et al.
    2021).

    Attributes:
        start: density up to the step ``first``, in (0, 1].
        end: density from the step ``last`` on, in (0, 1].
        first: where the fall begins.
        last: where it ends, after ``first``.
    """

    start: float
    end: float
    first: int
    last: int

    def __post_init__(self) -> None:
        _check_window(self.start, self.end, self.first, self.last)

    def at(self, step: int) -> float:
        """See :meth:`Schedule.at`."""
        left = 1 - progress(step, self.first, self.last)
        return between(self.end, self.start, left**3)


@dataclass(frozen=True)
class Sigmoid(Schedule):
    """An S between two densities: slow, fast, slow (CHTss, Zhang et al. 2025).

    With s the logistic function, k the steepness and p the share of the way from ``first`` to
    ``last``: ``start + (end - start) * (s(k(2p - 1)) - s(-k)) / (s(k) - s(-k))``, which is scaled
    to meet both densities exactly.

    Attributes:
        start: density up to the step ``first``, in (0, 1].
        end: density from the step ``last`` on, in (0, 1].
        first: where the fall begins.
        last: where it ends, after ``first``.
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

    def at(self, step: int) -> float:
        """See :meth:`Schedule.at`."""
        half = self.steepness / 2
        centred = 2 * progress(step, self.first, self.last) - 1
        share = (1 + math.tanh(half * centred) / math.tanh(half)) / 2
        return between(self.start, self.end, share)


@dataclass(frozen=True)
class NarangRamp(Schedule):
    """The threshold of gradual pruning (Narang et al. 2017), as a share of a magnitude ``q``.

    q is the magnitude that leaves the wanted density if all links at or below it go:
    ``sorted(|w|)[floor((1 - density) * n)]``. The threshold grows by ``theta`` a step up to
    ``ramp``, by ``phi = 1.5 * theta`` from there on, with
    ``theta = 2 / (2 * (ramp - first) + 3 * (last - ramp))``, so that it comes to q at ``last``::

        theta * (step - first + 1)                                    before ramp
        theta * (ramp - first + 1) + phi * (step - ramp + 1)          from ramp on

    It is 0, which prunes nothing, up to and including the step ``after`` and from ``last`` on.

    Attributes:
        first: where the ramp begins.
        ramp: where it becomes steeper, at least ``first``.
        last: where pruning ends, after ``first`` and not before ``ramp``.
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
        """The ramp over a training: from the first epoch, steeper at a quarter, done at half.

        Args:
            epochs: of the whole training; a quarter and a half of it round to whole epochs.
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
        """The threshold at a step, for q = 1."""
        if step <= (self.first if self.after is None else self.after) or step >= self.last:
            return 0.0
        theta = 2 / (2 * (self.ramp - self.first) + 3 * (self.last - self.ramp))
        if step < self.ramp:
            return theta * (step - self.first + 1)
        return theta * (self.ramp - self.first + 1) + 1.5 * theta * (step - self.ramp + 1)

    def threshold(self, step: int, q: float) -> float:
        """``q * at(step)``: links of a magnitude not greater than this go.

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
