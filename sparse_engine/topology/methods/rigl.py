"""RigL: growth by gradient."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import GradientGrowth
from sparse_engine.topology.prune import Magnitude
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import cosine_fraction


class RigL(Rewiring):
    """Rigging the lottery (Evci et al., ICML 2020).

    Every rewiring removes the links of smallest magnitude, and grows as many at the absent
    positions of largest dense gradient. The positions are exact, without the dense gradient in
    memory. The replaced fraction falls along half a cosine to 0 at ``stop * steps``; then the
    wiring stays.

    The paper starts from ``wire(model, ERKDensity(0.1))``.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training.
        fraction: the paper's alpha, the fraction that the first rewirings replace, in [0, 1].
        every: steps between rewirings, the paper's Delta T.
        stop: fraction of training in which the wiring changes, in (0, 1].
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> wire(model, ERKDensity(0.1))
        >>> rewiring = RigL(model, optimizer, steps=10_000)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        steps: int,
        fraction: float = 0.3,
        every: int = 100,
        stop: float = 0.75,
        **options: Unpack[RewiringOptions],
    ) -> None:
        if not 0 < stop <= 1:
            raise ValueError(f"expected stop in (0, 1], found {stop}")
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=GradientGrowth(),
            fraction=cosine_fraction(fraction, round(stop * steps)),
            every=every,
            **options,
        )
