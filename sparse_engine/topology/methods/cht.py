"""Cannistraci-Hebb training: growth by link prediction."""

from __future__ import annotations

from typing_extensions import Unpack

from sparse_engine.topology.grow import CH3L3, CH2L3n, SoftPrediction
from sparse_engine.topology.methods.declared import Rules, declared
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
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        fraction: the paper's zeta, in [0, 1].
        every: steps between rewirings (the paper: one epoch).
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`.

    Raises:
        ValueError: an argument out of range.
    """

    @staticmethod
    def _declaration(
        *, fraction: float = 0.3, every: int = 100, **options: Unpack[RewiringOptions]
    ) -> Rules:
        return Rules(prune=Magnitude(), grow=CH3L3(), fraction=fraction, every=every, **options)

    __init__ = declared(_declaration)


class CHTs(Rewiring):
    """Cannistraci-Hebb training with the soft rule (Zhang et al., NeurIPS 2025).

    Links survive with probabilities that depend on their magnitudes, more strictly in later
    training: delta of :class:`SoftMagnitude` rises from 0.5 to 0.75. New links are drawn in
    proportion to the scores of :class:`CH2L3n`.

    The paper starts from ``wire(model, ReceptiveField(...))`` or correlations of the inputs. It
    also removes units that have lost all links on one side.

    Args:
        model: every sparse weight in it is rewired.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training.
        alpha: weight of the magnitude, in [0, 1], against a link's share in its units, see
            :class:`SoftMagnitude`.
        fraction: the paper's zeta, in [0, 1].
        density: a schedule of the density; by default the number of links stays.
        every: steps between rewirings.
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`.

    Raises:
        ValueError: an argument out of range.
    """

    @staticmethod
    def _declaration(
        *,
        steps: int,
        alpha: float = 1.0,
        fraction: float = 0.3,
        density: Schedule | None = None,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> Rules:
        return Rules(
            prune=_soft(steps, alpha),
            grow=SoftPrediction(CH2L3n()),
            fraction=fraction,
            density=density,
            every=every,
            **options,
        )

    __init__ = declared(_declaration)


class CHTss(CHTs):
    """Cannistraci-Hebb training while the density falls along a sigmoid (Zhang et al. 2025).

    The paper starts from ``wire(model, ReceptiveField(...))`` of half of all positions.

    Args:
        model: every sparse weight in it is rewired; each loses in proportion to its links.
        optimizer: any torch optimizer but LBFGS; the state of a link moves with the link.
        steps: number of steps of the whole training, at the end of which ``density`` is reached.
        density: density at the end, of all weights together, in (0, 1].
        start: density at the start, in (0, 1]; no weight shrinks while the model has less.
        steepness: steepness of the sigmoid, the paper's k.
        alpha: see :class:`CHTs`.
        fraction: fraction of the links to keep that is replaced, too, in [0, 1].
        every: steps between rewirings.
        **options: seed, new_links, observers and keep_returning of :class:`Rewiring`.

    Raises:
        ValueError: an argument out of range.
    """

    @staticmethod
    def _declaration(  # type: ignore[override]
        *,
        steps: int,
        density: float,
        start: float = 0.5,
        steepness: float = 6.0,
        alpha: float = 1.0,
        fraction: float = 0.3,
        every: int = 100,
        **options: Unpack[RewiringOptions],
    ) -> Rules:
        return Rules(
            prune=_soft(steps, alpha),
            grow=SoftPrediction(CH2L3n()),
            fraction=fraction,
            density=SigmoidSchedule(start, density, 0, steps, steepness),
            every=every,
            **options,
        )

    __init__ = declared(_declaration)


def _soft(steps: int, alpha: float) -> SoftMagnitude:
    return SoftMagnitude(LinearSchedule(0.5, steps, end=0.75), alpha=alpha)
