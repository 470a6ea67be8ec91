"""Uniformly random growth."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey, sample_absent
from sparse_engine.topology.grow.base import Grow


@dataclass(frozen=True)
class Uniform(Grow):
    """Uniformly random absent cells; a cell whose link was just removed counts as absent."""

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Grow.grow`."""
        return sample_absent(kept, count, key)

    def grow_after(
        self, weight: SparseWeight, dropped: Tensor, count: int, key: RandomKey
    ) -> Tensor:
        """See :meth:`Grow.grow_after`."""
        return sample_absent(weight.pattern.links, count, key, dropped=dropped)
