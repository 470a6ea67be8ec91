"""Growth by link prediction: scores of absent positions from the links that exist."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, Predicted, RandomKey, ch2_l3n, ch3_l3, rewire, sample_absent
from sparse_engine.topology.grow.base import Grow


class LinkPrediction(Grow):
    """Growth at the absent positions of greatest score; values and gradients do not matter.

    Where fewer positions than are wanted have a score above 0, uniformly random others join them.
    A score of your own is a subclass with one method, ``predict``.
    """

    @abstractmethod
    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        """Predict the ``count`` absent positions of greatest score, or all with a score above 0.

        Args:
            links: the links that survive.
            count: how many positions.
            key: random numbers with which positions are sampled in proportion to the scores; None
                takes those of greatest score.
        """

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Choose the positions, see :meth:`Grow.grow`.

        Raises:
            ValueError: fewer than ``count`` positions are absent.
        """
        return completed(self.predict(kept, count).positions, kept, count, key)


def completed(positions: Tensor, kept: Links, count: int, key: RandomKey) -> Tensor:
    """Return absent positions, filled up to ``count`` with uniformly random others.

    Raises:
        ValueError: fewer than ``count`` positions are absent.
    """
    if count > kept.absent:
        raise ValueError(f"expected to grow at most {kept.absent} links, found {count}")
    if len(positions) == count:
        return positions
    taken = rewire(kept, torch.ones_like(kept.col, dtype=torch.bool), positions).links
    others = sample_absent(taken, count - len(positions), key)
    return torch.cat([positions, others]).sort().values


@dataclass(frozen=True)
class CH3L3(LinkPrediction):
    """Cannistraci-Hebb rule on paths of length 3, as in CHT (Zhang et al., ICLR 2024).

    The score of a position, :func:`sparse_engine.ops.ch3_l3`, is a sum over the paths of three
    links between the position's two units. A path weighs more if its inner units have few links to
    units off such paths. Growth closes the local communities that exist, and takes time
    proportional to ``nnz * fan_in * fan_out``.
    """

    @override
    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        return ch3_l3(links, count, key=key)


@dataclass(frozen=True)
class CH2L3n(LinkPrediction):
    """Node-based Cannistraci-Hebb rule of CHTs (Zhang et al., NeurIPS 2025).

    The score of a position, :func:`sparse_engine.ops.ch2_l3n`, is a sum over the units on paths of
    three links between the position's two units. A unit weighs more if more of its own links lead
    to such units. CHTs draws new links in proportion to this score: ``SoftPrediction(CH2L3n())``.
    """

    @override
    def predict(self, links: Links, count: int, *, key: RandomKey | None = None) -> Predicted:
        return ch2_l3n(links, count, key=key)


@dataclass(frozen=True)
class SoftPrediction(Grow):
    """Growth at absent positions drawn in proportion to the scores of a link prediction.

    Positions are drawn one by one. This is the soft rule of CHTs (Zhang et al., NeurIPS 2025),
    which keeps growth from choosing the positions that were just pruned. Positions of score 0 come
    last, uniformly.

    Attributes:
        rule: the link prediction that gives the scores.
    """

    rule: LinkPrediction

    @override
    def grow(self, weight: SparseWeight, kept: Links, count: int, key: RandomKey) -> Tensor:
        """Choose the positions, see :meth:`Grow.grow`.

        Raises:
            ValueError: fewer than ``count`` positions are absent.
        """
        return completed(self.rule.predict(kept, count, key=key).positions, kept, count, key)
