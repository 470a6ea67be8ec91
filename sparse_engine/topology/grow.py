"""Grow rules: where a rewiring makes new links."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey, sample_absent


class Grow(ABC):
    """Chooses cells for new links. A rule of your own is a subclass with one method."""

    @abstractmethod
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Chooses ``count`` cells that hold no link.

        Args:
            weight: the weight before the rewiring; must not be changed.
            kept: the links that survive; a cell must not be one of them.
            count: how many cells.
            key: this rewiring's own stream of random numbers.

        Returns:
            int64 ``[count]``, ``row * in_features + column``, increasing.
        """


@dataclass(frozen=True)
class Uniform(Grow):
    """Uniformly random absent cells; a cell whose link was just removed counts as absent."""

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Grow.grow`."""
        return sample_absent(kept, count, key)
