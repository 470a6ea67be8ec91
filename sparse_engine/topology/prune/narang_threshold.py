"""Gradual pruning by a threshold that rises along training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.nn._init import check_density
from sparse_engine.ops import RandomKey
from sparse_engine.topology.density import NarangRamp
from sparse_engine.topology.prune._checks import ordered
from sparse_engine.topology.prune.base import Prune, Share


@dataclass(frozen=True)
class NarangThreshold(Prune):
    """The links of ``|w| <= ramp.threshold(step, q)``; nothing where that threshold is 0.

    q is the magnitude that would leave the wanted density now. It is taken over all n cells of the
    dense matrix, those without a link counting as 0::

        sorted(|W|)[floor((1 - density) * n)]

    Narang et al. 2017 give q once, before training; here it follows the weights. The last threshold
    is near q, not at it, so that the density comes near the wanted one. The share that a rewiring
    asks for does not matter. Give :class:`Dynamic` ``density=Constant(0.0)``: nothing grows back.

    Attributes:
        ramp: the rise of the threshold.
        density: in (0, 1], of each weight where the ramp meets q.
    """

    ramp: NarangRamp
    density: float

    def __post_init__(self) -> None:
        check_density(self.density)

    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        """See :meth:`Prune.drop`."""
        magnitude = ordered(weight.values.detach().abs())
        threshold = 0.0
        if self.ramp.at(key.step) > 0:
            threshold = self.ramp.threshold(key.step, self._q(magnitude, weight.shape))
        if threshold == 0:
            return torch.zeros_like(magnitude, dtype=torch.bool)
        return magnitude <= threshold

    def _q(self, magnitude: Tensor, shape: tuple[int, int]) -> float:
        cells = shape[0] * shape[1]
        # In the order of all cells, those without a link come first.
        rank = min(math.floor((1 - self.density) * cells), cells - 1)
        rank -= cells - magnitude.numel()
        return float(magnitude.kthvalue(rank + 1).values) if rank >= 0 else 0.0
