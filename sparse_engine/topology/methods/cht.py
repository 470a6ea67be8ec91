"""Cannistraci-Hebb training: growth by link prediction."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from sparse_engine.topology.grow import CH3L3, CH2L3n
from sparse_engine.topology.prune import Magnitude, SoftMagnitude
from sparse_engine.topology.rewiring import Rewiring, RewiringOptions
from sparse_engine.topology.schedule import LinearSchedule, Schedule, SigmoidSchedule


class CHT(Rewiring):
    """Cannistraci-Hebb training (Zhang et al., ICLR 2024).

    Every rewiring removes the links of smallest magnitude, and grows as many at the absent
    positions with the highest scores of :class:`CH3L3`, which follow from paths of three links
    alone.

    The paper starts from correlations of the inputs, or ``wire(model, WattsStrogatz(...))``. It
    also removes units that have lost all links on one side, and stops rewiring a weight where 90 %
    of the removed links grow again; here every weight continues.

    Args:
        model, optimizer, options: as for every method.
        fraction: the paper's zeta, in [0, 1].
        every: steps between rewirings (the paper: one epoch).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        fraction: float = 0.3,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=Magnitude(),
            grow=CH3L3(),
            fraction=fraction,
            every=every,
            **options,
        )


class CHTs(Rewiring):
    """Cannistraci-Hebb training with the soft rule (Zhang et al., NeurIPS 2025).

    Links survive with probabilities that depend on their magnitudes, more strictly in later
    training: delta of :class:`SoftMagnitude` rises from 0.5 to 0.75. New links are drawn in
    proportion to the scores of :class:`CH2L3n`.

    The paper starts from ``wire(model, ReceptiveField(...))`` or correlations of the inputs. It
    also removes units that have lost all links on one side.

    Args:
        model, optimizer, steps, every, options: as for every method.
        alpha: weight of the magnitude, in [0, 1], against a link's share in its units, see
            :class:`SoftMagnitude`.
        fraction: the paper's zeta, in [0, 1].
        density: a schedule of the density; by default the number of links stays.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        steps: int,
        alpha: float = 1.0,
        fraction: float = 0.3,
        density: Schedule | None = None,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            prune=SoftMagnitude(LinearSchedule(0.5, steps, end=0.75), alpha=alpha),
            grow=CH2L3n(soft=True),
            fraction=fraction,
            density=density,
            every=every,
            **options,
        )


class CHTss(CHTs):
    """Cannistraci-Hebb training while the density falls along a sigmoid (Zhang et al. 2025).

    The paper starts from ``wire(model, ReceptiveField(...))`` of half of all positions.

    Args:
        model, optimizer, every, options: as for every method; each weight loses in proportion to
            its links.
        steps: number of steps of the whole training, at the end of which ``density`` is reached.
        density: density at the end, of all weights together, in (0, 1].
        start: density at the start, in (0, 1]; no weight shrinks while the model has less.
        steepness: steepness of the sigmoid, the paper's k.
        alpha: see :class:`CHTs`.
        fraction: fraction of the links to keep that is replaced, too, in [0, 1].
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        steps: int,
        density: float,
        start: float = 0.5,
        steepness: float = 6.0,
        alpha: float = 1.0,
        fraction: float = 0.3,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> None:
        super().__init__(
            model,
            optimizer,
            steps=steps,
            alpha=alpha,
            fraction=fraction,
            density=SigmoidSchedule(start, density, 0, steps, steepness),
            every=every,
            **options,
        )
