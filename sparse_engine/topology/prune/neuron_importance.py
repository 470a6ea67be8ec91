"""All incoming links of the neurons that matter least."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey, smallest
from sparse_engine.topology.prune._checks import ordered
from sparse_engine.topology.prune.base import Prune, Share


@dataclass(frozen=True)
class NeuronImportance(Prune):
    """All links into the neurons (rows) of least importance, the sum of ``|w|`` over a row.

    Importance pruning of truly sparse networks at scale (Curci et al. 2021). In the paper these
    links are not replaced; :class:`Dynamic` grows as many anew where no density schedule says
    otherwise. The share that a rewiring asks for does not matter. Give exactly one of the two:

    Attributes:
        share: in [0, 1]: ``floor(share * n)`` of the n neurons that have links lose them, among
            equals the first. Those without links do not count, so that pruning goes on.
        threshold: at least 0: neurons of this importance or less lose their links.
    """

    share: float | None = None
    _: KW_ONLY
    threshold: float | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.threshold is None):
            raise ValueError("expected exactly one of share and threshold")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(f"expected share in [0, 1], found {self.share}")
        if self.threshold is not None and not self.threshold >= 0:
            raise ValueError(f"expected threshold of at least 0, found {self.threshold}")

    def drop(self, weight: SparseWeight, fraction: Share, key: RandomKey) -> Tensor:
        """See :meth:`Prune.drop`."""
        magnitude = ordered(weight.values.detach().abs()).double()
        importance = torch.segment_reduce(magnitude, "sum", offsets=weight.crow_indices)
        fan_in = weight.fan_in()
        return self._fall(importance, fan_in > 0).repeat_interleave(fan_in, output_size=weight.nnz)

    def _fall(self, importance: Tensor, linked: Tensor) -> Tensor:
        """Marks the neurons that lose their links."""
        if self.share is None:
            return importance <= self.threshold
        count = int(self.share * int(torch.count_nonzero(linked)))
        fall = torch.zeros_like(linked)
        fall[linked] = smallest(importance[linked], count)
        return fall
