"""In-time over-parameterization: training that tries as many positions as possible."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import Grow, NeverUsed
from sparse_engine.topology.prune import Magnitude
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import cosine_fraction


class ITOP(Rewiring):
    """In-time over-parameterization (Liu et al., ICML 2021).

    Rewirings are rare, but replace many links: those of smallest magnitude are removed, and others
    grow where no link has ever been. The replaced fraction falls along half a cosine to 0.005.
    :attr:`Tracker.exploration` is the paper's R_s, the fraction of positions that ever held a link.

    The paper starts from ``wire(model, ERKDensity(0.05))``. Its results are those of two other grow
    rules: SET-ITOP is ``grow=RandomGrowth()`` with ``every=1500``, and RigL-ITOP is
    ``grow=GradientGrowth()`` with ``every=4000``.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training.
        grow: grow rule, :class:`NeverUsed` by default.
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
        grow: Grow | None = None,
        fraction: float = 0.5,
        every: int = 1500,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=NeverUsed() if grow is None else grow,
            fraction=cosine_fraction(fraction, steps, end=0.005),
            every=every,
            **options,
        )
