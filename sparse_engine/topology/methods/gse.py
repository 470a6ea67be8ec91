"""Guided stochastic exploration: growth by gradient in linear time."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import CandidateGradientGrowth
from sparse_engine.topology.prune import Magnitude
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import cosine_fraction


class GSE(Rewiring):
    """Guided stochastic exploration (Heddes et al. 2024).

    This is :class:`RigL` with growth at the largest gradients of ``ratio * nnz`` random absent
    positions, so that the time of a rewiring depends on the number of links alone.

    The paper starts from ``wire(model, ErdosRenyi(density=0.1))``.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training, over which the fraction falls along half a
            cosine to 0.
        ratio: the paper's gamma, candidates per link, at least 0; the paper takes 1, and 2 for
            ImageNet.
        fraction: fraction of the links that the first rewirings replace, in [0, 1].
        every: steps between rewirings.
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        steps: int,
        ratio: float = 1.0,
        fraction: float = 0.2,
        every: int = 1000,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=CandidateGradientGrowth(ratio),
            fraction=cosine_fraction(fraction, steps),
            every=every,
            **options,
        )
