"""Redistribution: how many links each weight of a model gets back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.rule import Rule


class Redistribution(Rule, ABC):
    """Moves links between weights. A rule of your own is a subclass with one method."""

    @abstractmethod
    def counts(
        self, weights: Sequence[SparseWeight], dropped: Sequence[Tensor], wanted: Sequence[int]
    ) -> list[int]:
        """How many links each weight grows.

        Args:
            weights: as they are before the rewiring.
            dropped: bool ``[nnz]`` for each, true where a link goes.
            wanted: what each would grow if no links moved between weights.

        Returns:
            As many numbers as weights; their sum is that of ``wanted``, and none is greater than
            the number of cells that are free after pruning.
        """


@dataclass(frozen=True)
class NoRedistribution(Redistribution):
    """Every weight keeps its own number of links."""

    def counts(
        self, weights: Sequence[SparseWeight], dropped: Sequence[Tensor], wanted: Sequence[int]
    ) -> list[int]:
        """See :meth:`Redistribution.counts`."""
        return list(wanted)
