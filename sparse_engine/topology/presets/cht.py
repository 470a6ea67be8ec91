"""Cannistraci-Hebb training: growth by link prediction."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from sparse_engine.topology.dynamic import Dynamic
from sparse_engine.topology.grow import CH3L3
from sparse_engine.topology.prune import Magnitude


class CHT(Dynamic):
    """Cannistraci-Hebb training (Zhang et al., ICLR 2024).

    The links of smallest magnitude go, and as many grow at the absent cells that the paths of
    three links around them favour most, whatever the gradient.

    The paper starts from correlations of the inputs, or ``wire(model, WattsStrogatz(...))``. It
    also removes units that have lost all links on one side, and stops rewiring a weight that
    grows again 90 % of what was removed; here every weight goes on.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any of torch's but LBFGS; its state moves with the links.
        fraction: the paper's zeta, in [0, 1].
        every: steps between rewirings (the paper: one epoch).
        seed: of the random numbers, for where paths do not suffice.
        keep_returning: whether a link that goes and grows again in one rewiring stays, as in the
            paper's code.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        fraction: float = 0.3,
        every: int = 100,
        seed: int = 0,
        keep_returning: bool = False,
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=CH3L3(),
            fraction=fraction,
            every=every,
            seed=seed,
            keep_returning=keep_returning,
        )
