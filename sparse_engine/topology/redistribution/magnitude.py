"""Redistribution by the mean magnitude of links."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.redistribution.proportional import Proportional, mean_magnitude


@dataclass(frozen=True)
class ByMagnitude(Proportional):
    """In proportion to the mean ``|w|`` of the links that survive.

    Attributes:
        cap: see :class:`Proportional`.
    """

    def share(self, weight: SparseWeight, dropped: Tensor) -> float:
        """See :meth:`Proportional.share`."""
        return mean_magnitude(weight.values, dropped)
