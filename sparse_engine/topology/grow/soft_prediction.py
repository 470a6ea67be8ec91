"""Growth sampled by link prediction: no cell of a positive score is out of reach."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey
from sparse_engine.topology.grow.base import Grow
from sparse_engine.topology.grow.link_prediction import LinkPrediction, completed


@dataclass(frozen=True)
class SoftPrediction(Grow):
    """Absent cells drawn one after the other, in proportion to a link prediction's scores.

    The soft rule of CHTs (Zhang et al., NeurIPS 2025), which keeps growth from choosing the cells
    again that were just pruned. Cells of score 0 come last, uniformly.

    Attributes:
        rule: gives the scores.
    """

    rule: LinkPrediction

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Grow.grow`.

        Raises:
            ValueError: fewer than ``count`` cells are absent.
        """
        return completed(self.rule.predict(kept, count, key=key).cells, kept, count, key)
