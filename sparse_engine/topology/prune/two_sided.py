"""SET's cut: of each sign, the links nearest to zero."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, nearest_zero
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
        return nearest_zero(weight.values.detach(), float(fraction))
