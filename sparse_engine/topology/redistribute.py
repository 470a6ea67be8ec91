"""Redistribution rules: how many links each weight of a model grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.nn._initial import check_density
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.rule import Rule


@dataclass(frozen=True)
class Redistribution(Rule):
    """Distribution of all new links over the weights. Your own is a subclass with one method.

    The links are divided in proportion to :meth:`share`, exactly, by the method of largest
    remainders. Links for which a weight has no room go to the other weights, again in proportion.
    Shares of 0 for all weights count as equal.

    Attributes:
        cap: fraction of a weight's free positions that may be filled, in (0, 1]; if that is too
            little for all new links, every free position may be filled.
    """

    cap: float = field(default=0.99, kw_only=True)

    def __post_init__(self) -> None:
        check_density(self.cap, "cap")

    def share(self, weight: SparseWeight, dropped: Tensor) -> float:
        """Return the weight's share of all new links, relative to the other weights.

        Args:
            weight: the weight as it is before the rewiring.
            dropped: bool ``[nnz]``, true for links to remove.

        Returns:
            A finite number of at least 0.
        """
        raise NotImplementedError(f"expected {type(self).__name__} to define share or counts")

    def counts(
        self, weights: Sequence[SparseWeight], dropped: Sequence[Tensor], wanted: Sequence[int]
    ) -> list[int]:
        """Return how many links each weight grows.

        Args:
            weights: the weights as they are before the rewiring.
            dropped: bool ``[nnz]`` for each, true for links to remove.
            wanted: how many links each weight would grow if none moved between weights.

        Returns:
            As many numbers as weights; their sum is that of ``wanted``, and none is greater than
            the number of positions that are free after pruning.
        """
        pairs = list(zip(weights, dropped, strict=True))
        total = sum(wanted)
        free = [
            weight.pattern.links.absent + int(torch.count_nonzero(gone)) for weight, gone in pairs
        ]
        limits = [int(self.cap * room) for room in free]
        shares = [self.share(*pair) for pair in pairs]
        return apportion(total, shares, limits if sum(limits) >= total else free)


def _mean_magnitude(entries: Tensor, dropped: Tensor) -> float:
    """Return the mean of ``|entries[~dropped]|`` in double precision, 0 where nothing survives."""
    # NumPy adds in the same order for any number of threads, which torch does not.
    kept = np.abs(entries.detach()[~dropped].double().cpu().numpy())
    return float(kept.mean()) if kept.size else 0.0


class Evenly(Redistribution):
    """Equal numbers of new links for all weights, whatever their sizes."""

    @override
    def share(self, weight: SparseWeight, dropped: Tensor) -> int:
        return 1


class ByNonzeros(Redistribution):
    """Redistribution in proportion to the number of links that survive.

    This is the rule of dynamic sparse reparameterization (DSR, Mostafa & Wang 2019), which prunes
    all weights at one threshold: weights whose links survive grow.
    """

    @override
    def share(self, weight: SparseWeight, dropped: Tensor) -> int:
        return weight.nnz - int(torch.count_nonzero(dropped))


class ByMagnitude(Redistribution):
    """Redistribution in proportion to the mean ``|w|`` of the links that survive."""

    @override
    def share(self, weight: SparseWeight, dropped: Tensor) -> float:
        return _mean_magnitude(weight.values, dropped)


@dataclass(frozen=True)
class ByMomentum(Redistribution):
    """Redistribution in proportion to the mean ``|momentum|`` of the links that survive.

    This is the rule of sparse momentum (SNFS, Dettmers & Zettlemoyer 2019): a weight whose
    gradients keep their direction grows. Momentum is the running mean of gradients, as in the paper
    and in :class:`MomentumGrowth`. The optimizer's state has it for each
    link: ``exp_avg`` of an Adam, else ``momentum_buffer``. Adam's division by the root of the
    mean square is left out, because the mean square is not known for absent positions.

    Attributes:
        optimizer: the optimizer that trains the weights, with momentum.

    Raises:
        ValueError: at a rewiring: the optimizer keeps no momentum of a weight, or not yet.
    """

    optimizer: Optimizer

    @override
    def share(self, weight: SparseWeight, dropped: Tensor) -> float:
        return _mean_magnitude(self._momentum(weight), dropped)

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
