"""Methods that grow links by a score: the gradient (RigL and others), or link prediction (CHT)."""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import override

from sparse_engine.nn._initial import check_density
from sparse_engine.topology.grow import (
    CH3L3,
    CandidateGradientGrowth,
    CH2L3n,
    GradientGrowth,
    MomentumGrowth,
)
from sparse_engine.topology.methods import Method
from sparse_engine.topology.prune import Magnitude, SoftMagnitude
from sparse_engine.topology.redistribute import ByMomentum
from sparse_engine.topology.schedule import (
    CubicSchedule,
    LinearSchedule,
    Schedule,
    SigmoidSchedule,
    cosine_fraction,
)


@dataclass(eq=False, repr=False, kw_only=True)
class RigL(Method):
    """Rigging the lottery (Evci et al., ICML 2020).

    Every rewiring removes the links of smallest magnitude, and grows as many at the absent
    positions of largest dense gradient. The positions are exact, without the dense gradient in
    memory. The replaced fraction falls along half a cosine to 0 at ``stop * steps``; then the
    wiring stays.
    The paper starts from ``wire(model, ERKDensity(0.1))``.

    Args:
        model, optimizer, options: as for every method.
        steps: number of steps (batches) of the whole training.
        fraction: the paper's alpha, the fraction that the first rewirings replace, in [0, 1].
        every: steps between rewirings, the paper's Delta T.
        stop: fraction of training in which the wiring changes, in (0, 1].

    Example:
        >>> wire(model, ERKDensity(0.1))
        >>> rewiring = RigL(model, optimizer, steps=10_000)
    """

    steps: int
    fraction: float = 0.3
    stop: float = 0.75

    def __post_init__(self) -> None:
        check_density(self.stop, "stop")
        self._start(
            Magnitude(),
            GradientGrowth(),
            fraction=cosine_fraction(self.fraction, round(self.stop * self.steps)),
        )


@dataclass(eq=False, repr=False, kw_only=True)
class GSE(Method):
    """Guided stochastic exploration (Heddes et al. 2024).

    This is :class:`RigL` with growth at the largest gradients of ``ratio * nnz`` random absent
    positions, so that the time of a rewiring depends on the number of links alone.
    The paper starts from ``wire(model, ErdosRenyi(density=0.1))``.

    Args:
        model, optimizer, fraction, every, options: as for every method.
        steps: number of steps of the whole training, over which the fraction falls along half a
            cosine to 0.
        ratio: the paper's gamma, candidates per link, at least 0; the paper takes 1, and 2 for
            ImageNet.

    Example:
        >>> rewiring = GSE(model, optimizer, steps=10_000, ratio=1.0)
    """

    steps: int
    ratio: float = 1.0
    fraction: float = 0.2
    every: int = 1000

    def __post_init__(self) -> None:
        self._start(
            Magnitude(),
            CandidateGradientGrowth(self.ratio),
            fraction=cosine_fraction(self.fraction, self.steps),
        )


@dataclass(eq=False, repr=False, kw_only=True)
class SNFS(Method):
    """Sparse networks from scratch, sparse momentum (Dettmers & Zettlemoyer 2019).

    Every rewiring removes the links of smallest magnitude of each weight. As many links grow, in
    proportion to the mean momentum of each weight's surviving links, where the momentum of the last
    ``window`` steps is largest. The replaced fraction falls along half a cosine to 0.005.
    The paper starts from ``wire(model, EqualDensity(0.05))``.

    Args:
        model, steps, fraction, options: as for every method.
        optimizer: SGD with momentum or a kind of Adam, whose running mean of gradients
            redistributes the links.
        every: steps between rewirings, at least ``window`` (the paper: one epoch).
        window: number of steps in the momentum of absent positions; memory grows with it.
        beta: decay of that momentum per step, in [0, 1].

    Raises:
        ValueError: no optimizer, or, at a rewiring, an optimizer without momentum.

    Example:
        >>> rewiring = SNFS(model, optimizer, steps=10_000)
    """

    steps: int
    fraction: float = 0.5
    window: int = 10
    beta: float = 0.9

    def __post_init__(self) -> None:
        if self.optimizer is None:
            raise ValueError("expected an optimizer with momentum, found None")
        self._start(
            Magnitude(),
            MomentumGrowth(window=self.window, beta=self.beta),
            redistribution=ByMomentum(self.optimizer),
            fraction=cosine_fraction(self.fraction, self.steps, end=0.005),
        )


@dataclass(eq=False, repr=False, kw_only=True)
class GraNet(Method):
    """Gradual pruning with zero-cost neuroregeneration (Liu et al., NeurIPS 2021).

    From the step ``first`` to ``last`` the density falls from ``start`` to ``density`` by a cubic
    law. Every rewiring also replaces a fraction of the links to keep: those of smallest magnitude
    in each weight are removed, and as many grow at the absent positions of largest gradient. This
    fraction falls along half a cosine to 0.005 at the end of training.
    The paper starts from ``wire(model, ERKDensity(0.5))``, or dense with ``start=1``.

    Args:
        model, optimizer, steps, fraction, options: as for every method; each weight loses in
            proportion to its links.
        density: density at the end, of all weights together, in (0, 1].
        first: the step at which pruning begins.
        last: the step at which pruning ends; by default 30 % of training, as in the paper for
            ImageNet.
        start: density at the start, in (0, 1]; nothing is pruned while the model has less.
        every: steps between rewirings (the paper: 1000, for ImageNet 4000).

    Example:
        >>> rewiring = GraNet(model, optimizer, steps=10_000, density=0.1, every=100)
    """

    steps: int
    density: float
    first: int = 0
    last: int | None = None
    start: float = 0.5
    fraction: float = 0.5
    every: int = 1000

    def __post_init__(self) -> None:
        last = round(0.3 * self.steps) if self.last is None else self.last
        self._start(
            Magnitude(),
            GradientGrowth(),
            fraction=cosine_fraction(self.fraction, self.steps, end=0.005),
            density=CubicSchedule(self.start, self.density, self.first, last),
        )


@dataclass(eq=False, repr=False, kw_only=True)
class CHT(Method):
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

    Example:
        >>> rewiring = CHT(model, optimizer)
    """

    fraction: float = 0.3

    def __post_init__(self) -> None:
        self._start(Magnitude(), CH3L3(), fraction=self.fraction)


@dataclass(eq=False, repr=False, kw_only=True)
class CHTs(Method):
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

    Example:
        >>> rewiring = CHTs(model, optimizer, steps=10_000)
    """

    steps: int
    alpha: float = 1.0
    fraction: float = 0.3
    density: Schedule | None = None

    def __post_init__(self) -> None:
        self._start(
            SoftMagnitude(LinearSchedule(0.5, self.steps, end=0.75), alpha=self.alpha),
            CH2L3n(soft=True),
            fraction=self.fraction,
            density=self._densities(),
        )

    def _densities(self) -> Schedule | None:
        return self.density


@dataclass(eq=False, repr=False, kw_only=True)
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

    Example:
        >>> rewiring = CHTss(model, optimizer, steps=10_000, density=0.1)
    """

    density: float = field()  # type: ignore[assignment]
    start: float = 0.5
    steepness: float = 6.0

    @override
    def _densities(self) -> Schedule:
        return SigmoidSchedule(self.start, self.density, 0, self.steps, self.steepness)
