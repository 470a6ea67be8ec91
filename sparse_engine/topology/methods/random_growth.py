"""Methods that grow links at random positions: SET and those like it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.nn.options import check_fraction, check_number
from sparse_engine.topology.grow import EqualPerGate, Grow, NeverUsed, RandomGrowth
from sparse_engine.topology.methods import Method
from sparse_engine.topology.prune import (
    GlobalThreshold,
    GradientMagnitude,
    Magnitude,
    NeuronImportance,
    SignedMagnitude,
)
from sparse_engine.topology.prune.magnitude import ordered
from sparse_engine.topology.redistribute import ByNonzeros
from sparse_engine.topology.schedule import Schedule, cosine_fraction


@dataclass(eq=False, repr=False, kw_only=True)
class SET(Method):
    """Sparse evolutionary training (Mocanu et al., Nature Communications 2018).

    Every rewiring removes the fraction ``fraction`` of the positive links nearest zero and the same
    fraction of the negative links, and grows as many at uniformly random absent positions.

    Args:
        model, optimizer, options: as for every method.
        fraction: the paper's zeta, in [0, 1].
        every: steps between rewirings (the paper: one epoch).

    Example:
        >>> rewiring = SET(model, optimizer, fraction=0.3, every=100)
        >>> for x, y in batches:
        ...     loss(model(x), y).backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        ...     rewiring.step()
    """

    fraction: float = 0.3

    def __post_init__(self) -> None:
        self._start(SignedMagnitude(), RandomGrowth(), fraction=self.fraction)


@dataclass(eq=False, repr=False, kw_only=True)
class ImportanceSET(SET):
    """SET with importance pruning (Curci et al. 2021, "Truly sparse neural networks at scale").

    Before some rewirings, the hidden neurons of least importance lose all links into them, and no
    others grow instead, so the number of links falls. The importance of a neuron is the sum of
    ``|w|`` of these links; see :class:`NeuronImportance`. A later rewiring may grow a link into
    such a neuron again. The weight that is the model's last linear layer has outputs as its rows,
    and is spared.

    Args:
        model, optimizer, options: as for every method. Observers also see each pruning.
        fraction: fraction of the links of each sign that a rewiring replaces, in [0, 1].
        every: steps between rewirings (the paper: one epoch).
        share: fraction of each weight's neurons with links that lose them, in [0, 1].
        prune_every: rewirings from one pruning to the next, at least 1.
        prune_after: rewirings before which nothing is pruned, at least 0.

    Example:
        >>> rewiring = ImportanceSET(model, optimizer, share=0.2)
    """

    fraction: float = 0.3
    share: float = 0.2
    prune_every: int = 10
    prune_after: int = 200

    def __post_init__(self) -> None:
        check_number("prune_every of at least 1", self.prune_every, lambda n: n >= 1)
        check_number("prune_after of at least 0", self.prune_after, lambda n: n >= 0)
        self.importance = NeuronImportance(self.share)
        super().__post_init__()

    @override
    def _rewire(self) -> None:
        since = self.steps_taken // self.every - self.prune_after
        if since > 0 and since % self.prune_every == 0:
            self.remove_neurons()
        super()._rewire()

    def remove_neurons(self) -> None:
        """Remove the links into the hidden neurons of least importance now.

        Raises:
            ValueError: a value is NaN, or the links of a weight cannot be replaced. The model then
                stays as it was.
        """
        moving = self._moving()
        for _, weight in moving:
            ordered(weight.values.detach())
        layers = [
            each for each in self.model.modules() if isinstance(each, SparseWeight | nn.Linear)
        ]
        for key, weight in moving:
            if weight is not layers[-1]:
                dropped = self.importance.drop(weight, 0.0, key)
                self._apply(weight, self._plan(weight, dropped, 0, key), key)


@dataclass(eq=False, repr=False, kw_only=True)
class DSR(Method):
    """Dynamic sparse reparameterization (Mostafa & Wang, ICML 2019).

    Every rewiring removes the links of ``|w|`` up to a threshold, which is the same for all weights
    and adapts so that about the fraction ``fraction`` of all links is removed. As many links grow
    at uniformly random absent positions, in proportion to the links that each weight has left. The
    total number of links is exact.
    The paper starts from ``wire(model, EqualDensity(0.1))``.

    Args:
        model, optimizer, options: as for every method.
        fraction: fraction of all links to replace, in [0, 1]. The paper gives a number of links
            for each network, such as 20,000; 0.1 is our choice.
        threshold: the first threshold, finite and above 0.
        tolerance: relative deviation of the number of removed links up to which the threshold
            neither doubles nor halves, in [0, 1).
        every: steps between rewirings (the paper: 100, later 200, 400 and 800).

    Example:
        >>> rewiring = DSR(model, optimizer, fraction=0.1)
    """

    fraction: float = 0.1
    threshold: float = 0.001
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        self._start(
            GlobalThreshold(self.threshold, tolerance=self.tolerance),
            RandomGrowth(),
            redistribution=ByNonzeros(),
            fraction=self.fraction,
        )


@dataclass(eq=False, repr=False, kw_only=True)
class ITOP(Method):
    """In-time over-parameterization (Liu et al., ICML 2021).

    Rewirings are rare, but replace many links: those of smallest magnitude are removed, and others
    grow where no link has ever been. The replaced fraction falls along half a cosine to 0.005.
    :attr:`Tracker.exploration` is the paper's R_s, the fraction of positions that ever held a link.
    The paper starts from ``wire(model, ERKDensity(0.05))``. Its results are those of two other grow
    rules: SET-ITOP is ``grow=RandomGrowth()`` with ``every=1500``, and RigL-ITOP is
    ``grow=GradientGrowth()`` with ``every=4000``.

    Args:
        model, optimizer, steps, fraction, every, options: as for every method.
        grow: grow rule, :class:`NeverUsed` by default.

    Example:
        >>> rewiring = ITOP(model, optimizer, steps=100_000, grow=GradientGrowth(), every=4000)
    """

    steps: int
    grow: Grow = field(default_factory=NeverUsed)
    fraction: float = 0.5
    every: int = 1500

    def __post_init__(self) -> None:
        self._start(
            Magnitude(), self.grow, fraction=cosine_fraction(self.fraction, self.steps, end=0.005)
        )


@dataclass(frozen=True)
class Staircase(Schedule):
    """Elastic mutation (MEST, Yuan et al. 2021): ``start``, then half of ``start``, then 0.

    Attributes:
        start: fraction up to the step ``first``, in [0, 1].
        first: first step with half of ``start``.
        last: first step with 0, not before ``first``.
    """

    start: float
    first: int
    last: int

    def __post_init__(self) -> None:
        check_fraction("fraction", self.start)
        if not 0 <= self.first <= self.last:
            raise ValueError(f"expected 0 <= first <= last, found {self.first} and {self.last}")

    @override
    def at(self, step: int) -> float:
        if step >= self.last:
            return 0.0
        return self.start if step < self.first else self.start / 2


@dataclass(eq=False, repr=False, kw_only=True)
class MEST(Method):
    """Memory-economic sparse training with elastic mutation, MEST+EM (Yuan et al., NeurIPS 2021).

    Every rewiring removes the links of least ``|w| + scale * |gradient|``, and grows as many at
    uniformly random absent positions. The replaced fraction halves at 90/160 of training, and is 0
    from 120/160 on.

    The rule reads the gradient, so call :meth:`step` before ``optimizer.zero_grad()``. The paper
    starts from ``wire(model, EqualDensity(0.1))``.

    Args:
        model, optimizer, steps, fraction, options: as for every method.
        scale: the paper's lambda, weight of the gradient against the value, at least 0.
        every: steps between rewirings (the paper: 5 epochs).

    Raises:
        ValueError: an argument out of range; at a rewiring, a weight without gradient.

    Example:
        >>> rewiring = MEST(model, optimizer, steps=10_000)
    """

    steps: int
    scale: float = 0.01
    fraction: float = 0.2

    def __post_init__(self) -> None:
        self._start(
            GradientMagnitude(self.scale),
            RandomGrowth(),
            fraction=Staircase(
                self.fraction, round(90 / 160 * self.steps), round(120 / 160 * self.steps)
            ),
        )


@dataclass(eq=False, repr=False, kw_only=True)
class Selfish(Method):
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
        model, optimizer, options: as for every method.
        steps: number of steps (batches) of the whole training.
        fraction: fraction of the links that the first rewirings replace, in [0, 1] (the paper: up
            to 0.8).
        every: steps between rewirings (the paper: one epoch).

    Example:
        >>> lstm = SparseLSTM(8, 64, density=0.33)
        >>> rewiring = Selfish(lstm, torch.optim.Adam(lstm.parameters()), steps=10_000)
    """

    steps: int
    fraction: float = 0.5

    def __post_init__(self) -> None:
        self._start(
            Magnitude(),
            EqualPerGate(),
            fraction=cosine_fraction(self.fraction, self.steps, end=0.005),
        )
