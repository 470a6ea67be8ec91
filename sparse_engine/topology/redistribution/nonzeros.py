"""Redistribution by the number of links."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.redistribution.proportional import Proportional


@dataclass(frozen=True)
class ByNonzeros(Proportional):
    """In proportion to the number of links that survive.

    The rule of dynamic sparse reparameterization (DSR, Mostafa & Wang 2019), which prunes all
    weights at one threshold: a weight whose links hold their ground grows.

    Attributes:
        cap: see :class:`Proportional`.
    """

    def share(self, weight: SparseWeight, dropped: Tensor) -> int:
        """See :meth:`Proportional.share`."""
        return weight.nnz - int(torch.count_nonzero(dropped))
