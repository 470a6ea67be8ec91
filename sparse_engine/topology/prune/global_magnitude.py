"""The links of smallest magnitude in a whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, smallest
from sparse_engine.topology.prune._checks import ordered
from sparse_engine.topology.prune.base import Share
from sparse_engine.topology.prune.magnitude import Magnitude


@dataclass(frozen=True)
class GlobalMagnitude(Magnitude):
    """The links of smallest magnitude of all weights together, as one vector.

    As many go as :class:`Magnitude` would remove, the sum of ``floor(fraction * nnz)`` over the
    weights; where they go follows from one threshold for the whole model. Among equals the first
    of the first weight. A weight may lose all its links.
    """

    def drop_all(
        self,
        weights: Sequence[SparseWeight],
        fractions: Sequence[Share],
        keys: Sequence[RandomKey],
    ) -> list[Tensor]:
        """See :meth:`Prune.drop_all`."""
        if not weights:
            return []
        sizes = [weight.nnz for weight in weights]
        count = sum(int(fraction * size) for fraction, size in zip(fractions, sizes, strict=True))
        scores = torch.cat([ordered(self.score(weight)) for weight in weights])
        return list(smallest(scores, count).split(sizes))
