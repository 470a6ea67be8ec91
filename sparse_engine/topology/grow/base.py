"""Grow rules: where a rewiring makes new links."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey, rewire
from sparse_engine.topology.rule import Rule


class Grow(Rule, ABC):
    """Choice of positions for new links. A rule of your own is a subclass with one method.

    Attributes:
        window: over how many training steps before a rewiring the rule wants to know the dense
            gradient's factors, which are then in ``weight.factors``; 0 for none.
    """

    window: int = 0

    @abstractmethod
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Choose ``count`` positions that hold no link.

        Args:
            weight: the weight before the rewiring; must not be changed. ``weight.factors`` are as
                :class:`SparseWeight` describes them, of the last ``window`` steps.
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
