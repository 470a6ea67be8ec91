"""Prune rules: which links a rewiring removes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import smallest


class Prune(ABC):
    """Chooses links to remove. A rule of your own is a subclass with one method."""

    @abstractmethod
    def drop(self, weight: SparseWeight, fraction: float) -> Tensor:
        """Marks the links to remove.

        Args:
            weight: the weight now; must not be changed.
            fraction: how much of it the rewiring asks for, in [0, 1].

        Returns:
            bool ``[nnz]``, true where a link goes.
        """


@dataclass(frozen=True)
class Magnitude(Prune):
    """The ``floor(fraction * nnz)`` links of smallest magnitude; among equals the first."""

    def drop(self, weight: SparseWeight, fraction: float) -> Tensor:
        """See :meth:`Prune.drop`."""
        return smallest(weight.values.detach().abs(), int(fraction * weight.nnz))


@dataclass(frozen=True)
class TwoSided(Prune):
    """SET's cut: of each sign, the share ``fraction`` nearest to zero.

    Exactly ``floor(fraction * n)`` of the n positive links and likewise of the negative ones go,
    among equals the first. A link that is exactly zero carries nothing and always goes, as in
    Mocanu et al. 2018.
    """

    def drop(self, weight: SparseWeight, fraction: float) -> Tensor:
        """See :meth:`Prune.drop`."""
        values = weight.values.detach()
        gone = values == 0
        for side in (values, -values):
            count = int(fraction * int(torch.count_nonzero(side > 0)))
            gone |= smallest(side, count, above=0.0)
        return gone
