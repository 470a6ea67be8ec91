"""Growth by link prediction: where the links that are there favour another."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, Predicted, RandomKey, rewire, sample_absent
from sparse_engine.topology.grow.base import Grow


class LinkPrediction(Grow):
    """Grows the absent cells of the greatest scores; needs neither values nor gradients.

    Where fewer cells than are wanted have a score above 0, uniformly random other ones join them.
    A score of your own is a subclass with one method, ``predict``.
    """

    @abstractmethod
    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        """The ``count`` absent cells of the greatest scores, or all with a score above 0.

        Args:
            links: the links that survive.
            count: how many cells.
            key: None, or whose random numbers make the cells a sample in proportion to the scores.
        """

    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """See :meth:`Grow.grow`.

        Raises:
            ValueError: fewer than ``count`` cells are absent.
        """
        return completed(self.predict(kept, count).cells, kept, count, key)


def completed(cells: Tensor, kept: Links, count: int, key: RandomKey) -> Tensor:
    """Absent cells, and as many uniformly random other ones as make ``count``.

    Raises:
        ValueError: fewer than ``count`` cells are absent.
    """
    if count > kept.absent:
        raise ValueError(f"expected to grow at most {kept.absent} links, found {count}")
    if len(cells) == count:
        return cells
    taken = rewire(kept, torch.ones_like(kept.col, dtype=torch.bool), cells).links
    others = sample_absent(taken, count - len(cells), key)
    return torch.cat([cells, others]).sort().values
