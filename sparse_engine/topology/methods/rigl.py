"""RigL: growth by gradient."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from sparse_engine.topology.grow import GradientGrowth
from sparse_engine.topology.prune import Magnitude
from sparse_engine.topology.rewiring import Rewiring
from sparse_engine.topology.schedule import cosine_fraction


class RigL(Rewiring):
    """Rigging the lottery (Evci et al., ICML 2020).

    At every rewiring the links of smallest magnitude go, and as many grow at the absent positions
    of largest dense gradient, exactly, without the dense gradient in memory. The share falls along
    half a cosine to 0 at ``stop * steps``; from there on the wiring stays.

    The paper starts from ``wire(model, ERKDensity(0.1))``.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training.
        fraction: the paper's alpha, the share that the first rewirings replace, in [0, 1].
        every: steps between rewirings, the paper's Delta T.
        stop: the share of training in which the wiring changes, in (0, 1].
        seed: seed of the random numbers; the rule draws none.
        keep_returning: whether a link that goes and grows again in one rewiring stays, as in the
            paper's code.

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
        seed: int = 0,
        keep_returning: bool = False,
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
            seed=seed,
            keep_returning=keep_returning,
        )
