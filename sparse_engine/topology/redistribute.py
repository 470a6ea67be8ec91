"""Redistribution: how many links each weight of a model gets back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.rule import Rule


class Redistribution(Rule, ABC):
    """Moves links between weights. A rule of your own is a subclass with one method."""

    @abstractmethod
    def counts(
        self, weights: Sequence[SparseWeight], dropped: Sequence[Tensor], wanted: Sequence[int]
    ) -> list[int]:
        """How many links each weight grows.

        Args:
            weights: as they are before the rewiring.
            dropped: bool ``[nnz]`` for each, true where a link goes.
            wanted: what each would grow if no links moved between weights.

        Returns:
            As many numbers as weights; their sum is that of ``wanted``, and none is greater than
            the number of cells that are free after pruning.
        """


@dataclass(frozen=True)
class NoRedistribution(Redistribution):
    """Every weight keeps its own number of links."""

    def counts(
        self, weights: Sequence[SparseWeight], dropped: Sequence[Tensor], wanted: Sequence[int]
    ) -> list[int]:
        """See :meth:`Redistribution.counts`."""
        return list(wanted)


@dataclass(frozen=True)
class Proportional(Redistribution):
    """All links that grow, shared out in proportion to :meth:`share`.

    The counts are exact, by the method of largest remainders. What a full weight cannot take goes
    to the others, again in proportion. Where all shares are 0 they count as equal.

    Attributes:
        cap: the share of a weight's free cells that may be filled, in (0, 1]; where that is too
            little for all links that grow, every free cell may be filled.
    """

    cap: float = field(default=0.99, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 < self.cap <= 1:
            raise ValueError(f"expected cap in (0, 1], found {self.cap}")

    @abstractmethod
    def share(self, weight: SparseWeight, dropped: Tensor) -> float:
        """How much of all growth a weight deserves, relative to the others.

        Args:
            weight: as it is before the rewiring.
            dropped: bool ``[nnz]``, true where a link goes.

        Returns:
            A finite number of at least 0.
        """

    def counts(
        self, weights: Sequence[SparseWeight], dropped: Sequence[Tensor], wanted: Sequence[int]
    ) -> list[int]:
        """See :meth:`Redistribution.counts`."""
        pairs = list(zip(weights, dropped, strict=True))
        total = sum(wanted)
        free = [
            weight.pattern.links.absent + int(torch.count_nonzero(gone)) for weight, gone in pairs
        ]
        limits = [int(self.cap * cells) for cells in free]
        shares = [self.share(*pair) for pair in pairs]
        return apportion(total, shares, limits if sum(limits) >= total else free)


def mean_magnitude(entries: Tensor, dropped: Tensor) -> float:
    """The mean of ``|entries[~dropped]|`` in double precision, 0 where nothing survives."""
    # NumPy adds in the same order for any number of threads, which torch does not.
    kept = np.abs(entries.detach()[~dropped].double().cpu().numpy())
    return float(kept.mean()) if kept.size else 0.0


@dataclass(frozen=True)
class Evenly(Proportional):
    """The same number of new links for every weight, whatever its size.

    Attributes:
        cap: see :class:`Proportional`.
    """

    def share(self, weight: SparseWeight, dropped: Tensor) -> int:
        """See :meth:`Proportional.share`."""
        return 1


@dataclass(frozen=True)
class ByNonzeros(Proportional):
    """In proportion to the number of links that survive.

    The rule of dynamic sparse reparameterization (DSR, Mostafa & Wang 2019), which prunes all
    weights at one threshold: a weight whose links hold their ground grows.

    Attributes:
        cap: see :class:`Proportional`.
    """

    def share(self, weight: SparseWeight, dropped: Tensor) -> int:
        """See :meth:`Proportional.share`."""
        return weight.nnz - int(torch.count_nonzero(dropped))


@dataclass(frozen=True)
class ByMagnitude(Proportional):
    """In proportion to the mean ``|w|`` of the links that survive.

    Attributes:
        cap: see :class:`Proportional`.
    """

    def share(self, weight: SparseWeight, dropped: Tensor) -> float:
        """See :meth:`Proportional.share`."""
        return mean_magnitude(weight.values, dropped)


@dataclass(frozen=True)
class ByMomentum(Proportional):
    """In proportion to the mean ``|momentum|`` of the links that survive.

    The rule of sparse momentum (SNFS, Dettmers & Zettlemoyer 2019): a weight whose gradients keep
    their direction grows. Momentum is the paper's, the running mean of gradients that links grow by
    (:class:`~sparse_engine.topology.MomentumGrowth`), too; a link's is read from the optimizer's
    state: an Adam's ``exp_avg``, else ``momentum_buffer``. What an Adam divides it by is left out,
    for the mean square of absent cells' gradients is known of the last steps only.

    Attributes:
        optimizer: that trains the weights, with momentum.
        cap: see :class:`Proportional`.

    Raises:
        ValueError: at a rewiring: the optimizer keeps no momentum of a weight, or not yet.
    """

    optimizer: Optimizer

    def share(self, weight: SparseWeight, dropped: Tensor) -> float:
        """See :meth:`Proportional.share`."""
        return mean_magnitude(self._momentum(weight), dropped)

    def _momentum(self, weight: SparseWeight) -> Tensor:
        state = self.optimizer.state.get(weight.values, {})
        for name in ("exp_avg", "momentum_buffer"):
            if isinstance(state.get(name), Tensor):
                return state[name]
        raise ValueError(
            "expected momentum in the optimizer's state of every weight: of SGD with momentum or "
            f"an Adam, after a step with a gradient; found the entries {sorted(state)} of "
            f"{type(self.optimizer).__name__} for a weight of shape {weight.shape}"
        )
