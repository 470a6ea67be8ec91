"""Gradual magnitude pruning: from dense to sparse along a cubic."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import RandomGrowth
from sparse_engine.topology.prune import Magnitude
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import CubicSchedule


class GradualPruning(Rewiring):
    """Gradual magnitude pruning (Zhu & Gupta 2017).

    From the step ``first`` to ``last`` the density falls by a cubic law: the links of smallest
    magnitude of each weight are removed, and none grow. Values and optimizer state shrink, so that
    training becomes cheaper.

    The paper starts dense: weights of density 1.

    Args:
        model: every sparse weight in it is pruned, each in proportion to its links.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        density: density at the end, of all weights together, in (0, 1].
        first: the step at which pruning begins.
        last: the step at which it ends, after ``first``.
        start: density at the start, in (0, 1]; nothing is pruned while the model has less.
        every: steps between prunings. If ``last`` is no multiple of it, ``density`` is reached at
            the next multiple.
        **options: seed and observers of :class:`Rewiring`.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        density: float,
        first: int = 0,
        last: int,
        start: float = 1.0,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=RandomGrowth(),
            fraction=0.0,
            density=CubicSchedule(start, density, first, last),
            every=every,
            **options,
        )
