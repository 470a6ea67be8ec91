"""Growth by link prediction: where the links that exist favour another."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, Predicted, RandomKey, ch2_l3n, ch3_l3, rewire, sample_absent
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


@dataclass(frozen=True)
class CH3L3(LinkPrediction):
    """The Cannistraci-Hebb rule on paths of length 3, as in CHT (Zhang et al., ICLR 2024).

    A cell's score, :func:`sparse_engine.ops.ch3_l3`, counts the paths of three links between its
    units, each the more the fewer links its inner units have to units off such paths. Growth closes
    the local communities that are there; it takes time proportional to ``nnz * fan_in * fan_out``.
    """

    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        """See :meth:`LinkPrediction.predict`."""
        return ch3_l3(links, count, key=key)


@dataclass(frozen=True)
class CH2L3n(LinkPrediction):
    """The node-based Cannistraci-Hebb rule of CHTs (Zhang et al., NeurIPS 2025).

    A cell's score, :func:`sparse_engine.ops.ch2_l3n`, counts the units on paths of three links
    between the cell's own two, each the more the more of its links stay among them. CHTs draws the
    new links in proportion to it: ``SoftPrediction(CH2L3n())``.
    """

    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        """See :meth:`LinkPrediction.predict`."""
        return ch2_l3n(links, count, key=key)


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
