"""Redistribution in proportion to what the rules of this package measure of a weight."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.redistribution.base import Redistribution


@dataclass(frozen=True)
class Proportional(Redistribution):
    """All links that grow, shared out in proportion to :meth:`share`.

    The counts are exact, by the method of largest remainders. What a full weight cannot take goes
    to the others, again in proportion. Where all shares are 0 they count as equal.

    Attributes:
        cap: the share of a weight's free cells that may be filled, in (0, 1]; where that is too
            little for all links that grow, every free cell may be filled.
    """

    cap: float = field(default=0.99, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 < self.cap <= 1:
            raise ValueError(f"expected cap in (0, 1], found {self.cap}")

    @abstractmethod
    def share(self, weight: SparseWeight, dropped: Tensor) -> float:
        """How much of all growth a weight deserves, relative to the others.

        Args:
            weight: as it is before the rewiring.
            dropped: bool ``[nnz]``, true where a link goes.

        Returns:
            A finite number of at least 0.
        """

    def counts(
        self, weights: Sequence[SparseWeight], dropped: Sequence[Tensor], wanted: Sequence[int]
    ) -> list[int]:
        """See :meth:`Redistribution.counts`."""
        pairs = list(zip(weights, dropped, strict=True))
        total = sum(wanted)
        free = [
            weight.pattern.links.absent + int(torch.count_nonzero(gone)) for weight, gone in pairs
        ]
        limits = [int(self.cap * cells) for cells in free]
        shares = [self.share(*pair) for pair in pairs]
        return apportion(total, shares, limits if sum(limits) >= total else free)


def mean_magnitude(entries: Tensor, dropped: Tensor) -> float:
    """The mean of ``|entries[~dropped]|`` in double precision, 0 where nothing survives."""
    # NumPy adds in the same order for any number of threads, which torch does not.
    kept = np.abs(entries.detach()[~dropped].double().cpu().numpy())
    return float(kept.mean()) if kept.size else 0.0
