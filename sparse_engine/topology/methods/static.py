"""No rewiring: the baseline of all methods."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from sparse_engine.topology.grow import RandomGrowth
from sparse_engine.topology.prune import SignedMagnitude
from sparse_engine.topology.rewiring import Rewiring


class Static(Rewiring):
    """Baseline of all methods, with their interface: the wiring at the start stays.

    The model may also be dense.
    """

    needs_weights = False

    def __init__(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        super().__init__(
            model, optimizer, prune=SignedMagnitude(), grow=RandomGrowth(), fraction=0.0
        )

    def step(self, *, hold: bool = False) -> bool:
        """Count one training step, and never rewire."""
        self.steps += 1
        return False
