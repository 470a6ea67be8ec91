"""Sparse momentum: growth and redistribution by momentum."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import MomentumGrowth
from sparse_engine.topology.prune import Magnitude
from sparse_engine.topology.redistribute import ByMomentum
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import cosine_fraction


class SNFS(Rewiring):
    """Sparse networks from scratch, sparse momentum (Dettmers & Zettlemoyer 2019).

    Every rewiring removes the links of smallest magnitude of each weight. As many links grow, in
    proportion to the mean momentum of each weight's surviving links, where the momentum of the last
    ``window`` steps is largest. The replaced fraction falls along half a cosine to 0.005.

    The paper starts from ``wire(model, EqualDensity(0.05))``.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: SGD with momentum or a kind of Adam, whose running mean of gradients
            redistributes the links.
        steps: number of steps of the whole training.
        fraction: fraction of the links that the first rewirings replace, in [0, 1].
        every: steps between rewirings, at least ``window`` (the paper: one epoch).
        window: number of steps in the momentum of absent positions; memory grows with it.
        beta: decay of that momentum per step, in [0, 1].
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`.

    Raises:
        ValueError: an argument out of range, no optimizer, or, at a rewiring, an optimizer without
            momentum.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        steps: int,
        fraction: float = 0.5,
        every: int = 100,
        window: int = 10,
        beta: float = 0.9,
        **options: Unpack[RewiringOptions],
    ) -> None:
        if optimizer is None:
            raise ValueError("expected an optimizer with momentum, found None")
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=MomentumGrowth(window=window, beta=beta),
            redistribution=ByMomentum(optimizer),
            fraction=cosine_fraction(fraction, steps, end=0.005),
            every=every,
            **options,
        )
