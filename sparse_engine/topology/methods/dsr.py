"""Dynamic sparse reparameterization: one adaptive threshold for a whole model."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import RandomGrowth
from sparse_engine.topology.prune import GlobalThreshold
from sparse_engine.topology.redistribute import ByNonzeros
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions


class DSR(Rewiring):
    """Dynamic sparse reparameterization (Mostafa & Wang, ICML 2019).

    Every rewiring removes the links of ``|w|`` up to a threshold, which is the same for all weights
    and adapts so that about the fraction ``fraction`` of all links is removed. As many links grow
    at uniformly random absent positions, in proportion to the links that each weight has left. The
    total number of links is exact.

    The paper starts from ``wire(model, EqualDensity(0.1))``.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        fraction: fraction of all links to replace, in [0, 1]. The paper gives a number of links
            for each network, such as 20,000; 0.1 is our choice.
        threshold: the first threshold, finite and above 0.
        tolerance: relative deviation of the number of removed links up to which the threshold
            neither doubles nor halves, in [0, 1).
        every: steps between rewirings (the paper: 100, later 200, 400 and 800).
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        fraction: float = 0.1,
        threshold: float = 0.001,
        tolerance: float = 0.1,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=GlobalThreshold(threshold, tolerance=tolerance),
            grow=RandomGrowth(),
            redistribution=ByNonzeros(),
            fraction=fraction,
            every=every,
            **options,
        )
