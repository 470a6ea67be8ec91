"""SET's cut: of each sign, the links nearest to zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, largest, smallest
from sparse_engine.topology.prune.base import Prune, Share


@dataclass(frozen=True)
class TwoSided(Prune):
    """SET's cut: of each sign, the share ``fraction`` nearest to zero.

    Exactly ``floor(fraction * n)`` of the n positive links and likewise of the negative ones go,
    among equals the first. A link that is exactly zero carries nothing and always goes, as in
    Mocanu et al. 2018.
    """

    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        """See :meth:`Prune.drop`."""
        values = weight.values.detach()
        gone = values == 0
        positive = int(torch.count_nonzero(values > 0))
        negative = weight.nnz - positive - int(torch.count_nonzero(gone))
        gone |= smallest(values, int(fraction * positive), above=0.0)
        gone |= largest(values, int(fraction * negative), below=0.0)
        return gone
