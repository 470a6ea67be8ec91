"""Pruning by the gradient at each link."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.prune.base import Prune, link_gradient


@dataclass(frozen=True)
class GradientMagnitude(Prune):
    """The ``floor(fraction * nnz)`` links of least ``|w| + scale * |gradient|``.

    MEST (Yuan et al. 2021): a small link that the loss still pulls at is kept. The gradient is the
    one in ``weight.values.grad``, of the existing links only.

    Attributes:
        scale: what a gradient counts beside a value, finite and at least 0.
    """

    scale: float

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"expected a finite scale of at least 0, found {self.scale}")

    def score(self, weight: SparseWeight) -> Tensor:
        """See :meth:`Prune.score`.

        Raises:
            ValueError: the weight has no gradient.
        """
        return weight.values.detach().abs() + self.scale * link_gradient(weight).abs()


@dataclass(frozen=True)
class Taylor(Prune):
    """The ``floor(fraction * nnz)`` links of least ``(w * gradient)^2``.

    The first-order estimate of Molchanov et al. 2019. The score is the root of it, ``|w *
    gradient|``, which has the same order and does not underflow. The gradient is the one in
    ``weight.values.grad``.
    """

    def score(self, weight: SparseWeight) -> Tensor:
        """See :meth:`Prune.score`.

        Raises:
            ValueError: the weight has no gradient.
        """
        return (weight.values.detach() * link_gradient(weight)).abs()
