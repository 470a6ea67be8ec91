"""GraNet: gradual pruning in which links regrow."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import GradientGrowth
from sparse_engine.topology.prune import Magnitude
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import CubicSchedule, cosine_fraction


class GraNet(Rewiring):
    """Gradual pruning with zero-cost neuroregeneration (Liu et al., NeurIPS 2021).

    From the step ``first`` to ``last`` the density falls from ``start`` to ``density`` by a cubic
    law. Every rewiring also replaces a fraction of the links to keep: those of smallest magnitude
    in each weight are removed, and as many grow at the absent positions of largest gradient. This
    fraction falls along half a cosine to 0.005 at the end of training.

    The paper starts from ``wire(model, ERKDensity(0.5))``, or dense with ``start=1``.

    Args:
        model: every sparse weight in it is rewired; each loses in proportion to its links.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training.
        density: density at the end, of all weights together, in (0, 1].
        first: the step at which pruning begins.
        last: the step at which pruning ends; by default 30 % of training, as in the paper for
            ImageNet.
        start: density at the start, in (0, 1]; nothing is pruned while the model has less.
        fraction: fraction of the links that the first rewirings replace, in [0, 1].
        every: steps between rewirings (the paper: 1000, for ImageNet 4000).
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
        density: float,
        first: int = 0,
        last: int | None = None,
        start: float = 0.5,
        fraction: float = 0.5,
        every: int = 1000,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=GradientGrowth(),
            fraction=cosine_fraction(fraction, steps, end=0.005),
            density=CubicSchedule(
                start, density, first, round(0.3 * steps) if last is None else last
            ),
            every=every,
            **options,
        )
