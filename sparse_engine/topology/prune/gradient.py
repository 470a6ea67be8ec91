"""Pruning by the gradient at each link."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.prune.base import Prune, link_gradient


@dataclass(frozen=True)
class GradientMagnitude(Prune):
    """Pruning of the ``floor(fraction * nnz)`` links of least ``|w| + scale * |gradient|``.

    MEST (Yuan et al. 2021) so keeps a small link whose gradient is large. The gradient is the one
    in ``weight.values.grad``, of the existing links only.

    Attributes:
        scale: what a gradient counts beside a value, finite and at least 0.
    """

    scale: float

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"expected a finite scale of at least 0, found {self.scale}")

    @override
    def score(self, weight: SparseWeight) -> Tensor:
        """Score the links, see :meth:`Prune.score`.

        Raises:
            ValueError: the weight has no gradient.
        """
        return weight.values.detach().abs() + self.scale * link_gradient(weight).abs()


@dataclass(frozen=True)
class Taylor(Prune):
    """Pruning of the ``floor(fraction * nnz)`` links of least ``(w * gradient)^2``.

    To first order this is what the loss would change without a link (Molchanov et al. 2019). The
    score is the root, ``|w * gradient|``, which has the same order and does not underflow. The
    gradient is the one in ``weight.values.grad``.
    """

    @override
    def score(self, weight: SparseWeight) -> Tensor:
        """Score the links, see :meth:`Prune.score`.

        Raises:
            ValueError: the weight has no gradient.
        """
        return (weight.values.detach() * link_gradient(weight)).abs()
