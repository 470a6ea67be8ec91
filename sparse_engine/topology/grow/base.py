"""Base class of grow rules: where a rewiring makes new links."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey, rewire
from sparse_engine.topology.rule import Rule


class Grow(Rule, ABC):
    """Choice of positions for new links. Your own rule is a subclass with one method.

    Attributes:
        window: number of training steps before a rewiring whose dense gradient the rule reads; 0
            for none. The factors of these gradients are in ``weight.captured``, on each rank of
            ``torch.distributed`` those of its own batches.
    """

    window: int = 0

    @abstractmethod
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Choose ``count`` positions that hold no link.

        Args:
            weight: the weight before the rewiring, which must not be changed. ``weight.captured``
                has the factors of the last ``window`` steps, see :class:`SparseWeight`.
            kept: the links that survive; a position must not be one of them.
            count: how many positions.
            key: this rewiring's own stream of random numbers.

        Returns:
            int64 ``[count]``, ``row * in_features + column``, increasing.
        """

    def grow_after(
        self, weight: SparseWeight, dropped: Tensor, count: int, key: RandomKey
    ) -> Tensor:
        """Call :meth:`grow` with the survivors; a rule that needs no list of these overrides it."""
        no_positions = torch.empty(0, dtype=torch.int64, device=dropped.device)
        kept = rewire(weight.pattern.links, ~dropped, no_positions).links
        return self.grow(weight, kept, count, key)
