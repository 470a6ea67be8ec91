"""The same number of new links for every weight."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.redistribution.proportional import Proportional


@dataclass(frozen=True)
class Evenly(Proportional):
    """The same number of new links for every weight, whatever its size.

    Attributes:
        cap: see :class:`Proportional`.
    """

    def share(self, weight: SparseWeight, dropped: Tensor) -> int:
        """See :meth:`Proportional.share`."""
        return 1
