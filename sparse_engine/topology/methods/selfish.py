"""Selfish-RNN: the gates of a cell compete for links."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import EqualPerGate
from sparse_engine.topology.prune import Magnitude
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import cosine_fraction


class Selfish(Rewiring):
    """Cell-gate redistribution of Selfish-RNN (Liu et al., ICML 2021).

    All gates of a cell share one weight. Its links of smallest magnitude go, by one threshold for
    all gates; uniformly random ones grow, the same number in each gate. So a gate whose links
    matter little ends with fewer. The share falls along half a cosine to 0.005. What the gates of a
    weight are, its network has told it (:attr:`~sparse_engine.nn.SparseWeight.blocks`); in a weight
    without gates, such as a decoder's, links grow anywhere.

    The paper starts from ``wire(model, EqualDensity(0.33))`` and trains with
    :class:`~sparse_engine.optim.SNTASGD`.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training.
        fraction: the share that the first rewirings replace, in [0, 1] (the paper: up to 0.8).
        every: steps between rewirings (the paper: one epoch).
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
        fraction: float = 0.5,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=EqualPerGate(),
            fraction=cosine_fraction(fraction, steps, end=0.005),
            every=every,
            **options,
        )
