"""What the loss would change, to first order, without a link."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.prune._checks import link_gradient
from sparse_engine.topology.prune.base import Prune


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
