"""Methods in which no link grows: pruning, and the wiring at the start."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from sparse_engine.topology.grow import RandomGrowth
from sparse_engine.topology.methods import Method
from sparse_engine.topology.prune import Magnitude, NarangThreshold, SignedMagnitude
from sparse_engine.topology.rewiring import Rewiring
from sparse_engine.topology.schedule import ConstantSchedule, CubicSchedule, NarangRamp


@dataclass(eq=False, repr=False, kw_only=True)
class GradualPruning(Method):
    """Gradual magnitude pruning (Zhu & Gupta 2017).

    From the step ``first`` to ``last`` the density falls by a cubic law: the links of smallest
    magnitude of each weight are removed, and none grow. Values and optimizer state shrink, so that
    training becomes cheaper.

    The paper starts dense: weights of density 1.

    Args:
        model, optimizer, options: as for every method; each weight is pruned in proportion to its
            links.
        density: density at the end, of all weights together, in (0, 1].
        first: the step at which pruning begins.
        last: the step at which it ends, after ``first``.
        start: density at the start, in (0, 1]; nothing is pruned while the model has less.
        every: steps between prunings. If ``last`` is no multiple of it, ``density`` is reached at
            the next multiple.

    Example:
        >>> rewiring = GradualPruning(model, optimizer, density=0.1, last=5000, start=0.5)
    """

    density: float
    first: int = 0
    last: int
    start: float = 1.0

    def __post_init__(self) -> None:
        self._start(
            Magnitude(),
            RandomGrowth(),
            fraction=0.0,
            density=CubicSchedule(self.start, self.density, self.first, self.last),
        )


@dataclass(eq=False, repr=False, kw_only=True)
class NarangPruning(Method):
    """Pruning of recurrent networks by a threshold that rises in two ramps (Narang et al. 2017).

    Links of a magnitude up to the threshold are removed, and none grow. Their number depends on the
    values, and the density at the end is near ``density``. :class:`NarangThreshold` describes how
    the threshold follows the weights. Values and optimizer state shrink with the links.

    The paper starts dense: weights of density 1.

    Args:
        model, optimizer, options: as for every method.
        density: wanted density of each weight, in (0, 1].
        ramp: rise of the threshold; ``NarangRamp.of_epochs(epochs, steps_per_epoch=every)`` is
            that of Zhang et al. 2023: steeper at a quarter of training, done at half.
        every: steps between prunings.

    Example:
        >>> from sparse_engine.topology.schedule import NarangRamp
        >>> ramp = NarangRamp(first=100, ramp=500, last=1000)
        >>> rewiring = NarangPruning(model, optimizer, density=0.1, ramp=ramp)
    """

    density: float
    ramp: NarangRamp

    def __post_init__(self) -> None:
        self._start(
            NarangThreshold(self.ramp, self.density), RandomGrowth(), density=ConstantSchedule(0.0)
        )


class Static(Rewiring):
    """Baseline of all methods, with their interface: the wiring at the start stays.

    The model may also be dense.

    Example:
        >>> rewiring = Static(model)  # rewiring.step() changes nothing
    """

    needs_weights = False

    def __init__(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        super().__init__(
            model, optimizer, prune=SignedMagnitude(), grow=RandomGrowth(), fraction=0.0
        )

    def step(self, *, hold: bool = False) -> bool:
        """Count one training step, and never rewire."""
        self.steps_taken += 1
        return False
