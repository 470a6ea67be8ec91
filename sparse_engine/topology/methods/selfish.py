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

    All gates of a cell share one weight. Every rewiring removes its links of smallest magnitude, by
    one threshold for all gates, and grows uniformly random links, the same number in each gate. So
    gates whose links matter little end with fewer links. The replaced fraction falls along half a
    cosine to 0.005. The gates are the ``blocks`` of a :class:`~sparse_engine.nn.SparseWeight`,
    which its network sets. In a weight without gates, such as that of a decoder, links grow
    anywhere.

    The paper starts from ``wire(model, EqualDensity(0.33))`` and trains with
    :class:`~sparse_engine.optim.SNTASGD`.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training.
        fraction: fraction of the links that the first rewirings replace, in [0, 1] (the paper: up
            to 0.8).
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
