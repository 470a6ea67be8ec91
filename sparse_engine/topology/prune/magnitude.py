"""The links of smallest magnitude."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.prune.base import Prune


@dataclass(frozen=True)
class Magnitude(Prune):
    """The ``floor(fraction * nnz)`` links of smallest magnitude; among equals the first."""

    def score(self, weight: SparseWeight) -> Tensor:
        """See :meth:`Prune.score`."""
        return weight.values.detach().abs()
