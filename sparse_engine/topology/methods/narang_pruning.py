"""Gradual pruning by a rising threshold."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import RandomGrowth
from sparse_engine.topology.prune import NarangThreshold
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import ConstantSchedule, NarangRamp


class NarangPruning(Rewiring):
    """Pruning of recurrent networks by a threshold that rises in two ramps (Narang et al. 2017).

    Links of a magnitude up to the threshold are removed, and none grow. Their number depends on the
    values, and the density at the end is near ``density``. :class:`NarangThreshold` describes how
    the threshold follows the weights. Values and optimizer state shrink with the links.

    The paper starts dense: weights of density 1.

    Args:
        model: every sparse weight in it is pruned.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        density: wanted density of each weight, in (0, 1].
        ramp: rise of the threshold; ``NarangRamp.of_epochs(epochs, steps_per_epoch=every)`` is
            that of Zhang et al. 2023: steeper at a quarter of training, done at half.
        every: steps between prunings.
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
        ramp: NarangRamp,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=NarangThreshold(ramp, density),
            grow=RandomGrowth(),
            density=ConstantSchedule(0.0),
            every=every,
            **options,
        )
