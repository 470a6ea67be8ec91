"""Memory-economic sparse training: pruning by magnitude and gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack, override

from sparse_engine.topology.grow import RandomGrowth
from sparse_engine.topology.prune import GradientMagnitude
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import Schedule


@dataclass(frozen=True)
class Staircase(Schedule):
    """Elastic mutation (MEST, Yuan et al. 2021): ``start``, then half of ``start``, then 0.

    Attributes:
        start: fraction up to the step ``first``, in [0, 1].
        first: first step with half of ``start``.
        last: first step with 0, not before ``first``.
    """

    start: float
    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1:
            raise ValueError(f"expected fraction in [0, 1], found {self.start}")
        if not 0 <= self.first <= self.last:
            raise ValueError(f"expected 0 <= first <= last, found {self.first} and {self.last}")

    @override
    def at(self, step: int) -> float:
        if step >= self.last:
            return 0.0
        return self.start if step < self.first else self.start / 2


class MEST(Rewiring):
    """Memory-economic sparse training with elastic mutation, MEST+EM (Yuan et al., NeurIPS 2021).

    Every rewiring removes the links of least ``|w| + scale * |gradient|``, and grows as many at
    uniformly random absent positions. The replaced fraction halves at 90/160 of training, and is 0
    from 120/160 on.

    The rule reads the gradient, so call :meth:`step` before ``optimizer.zero_grad()``. The paper
    starts from ``wire(model, EqualDensity(0.1))``.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training.
        scale: the paper's lambda, weight of the gradient against the value, at least 0.
        fraction: fraction of the links that the first rewirings replace, in [0, 1].
        every: steps between rewirings (the paper: 5 epochs).
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`.

    Raises:
        ValueError: an argument out of range; at a rewiring, a weight without gradient.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        steps: int,
        scale: float = 0.01,
        fraction: float = 0.2,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=GradientMagnitude(scale),
            grow=RandomGrowth(),
            fraction=Staircase(fraction, round(90 / 160 * steps), round(120 / 160 * steps)),
            every=every,
            **options,
        )
