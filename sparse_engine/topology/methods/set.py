"""Sparse evolutionary training."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import RandomGrowth
from sparse_engine.topology.prune import SignedMagnitude
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions


class SET(Rewiring):
    """Sparse evolutionary training (Mocanu et al., Nature Communications 2018).

    Every rewiring removes the fraction ``fraction`` of the positive links nearest zero and the same
    fraction of the negative links, and grows as many at uniformly random absent positions.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        fraction: the paper's zeta, in [0, 1].
        every: steps between rewirings (the paper: one epoch).
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`.

    Example:
        >>> rewiring = SET(model, optimizer, fraction=0.3, every=100)
        >>> for x, y in batches:
        ...     loss(model(x), y).backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        ...     rewiring.step()
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        fraction: float = 0.3,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=SignedMagnitude(),
            grow=RandomGrowth(),
            fraction=fraction,
            every=every,
            **options,
        )
