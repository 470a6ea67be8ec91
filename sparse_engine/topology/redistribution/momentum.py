"""Redistribution by the mean momentum of links."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from sparse_engine.nn import SparseWeight
from sparse_engine.topology.redistribution.proportional import Proportional, mean_magnitude


@dataclass(frozen=True)
class ByMomentum(Proportional):
    """In proportion to the mean ``|momentum|`` of the links that survive.

    The rule of sparse momentum (SNFS, Dettmers & Zettlemoyer 2019): a weight whose gradients keep
    their direction grows. Momentum is the paper's, the running mean of gradients that links grow by
    (:class:`~sparse_engine.topology.Momentum`), too; a link's is read from the optimizer's state:
    an Adam's ``exp_avg``, else ``momentum_buffer``. What an Adam divides it by is left out, for the
    mean square of absent cells' gradients is known of the last steps only.

    Attributes:
        optimizer: that trains the weights, with momentum.
        cap: see :class:`Proportional`.

    Raises:
        ValueError: at a rewiring: the optimizer keeps no momentum of a weight, or not yet.
    """

    optimizer: Optimizer

    def share(self, weight: SparseWeight, dropped: Tensor) -> float:
        """See :meth:`Proportional.share`."""
        return mean_magnitude(self._momentum(weight), dropped)

    def _momentum(self, weight: SparseWeight) -> Tensor:
        state = self.optimizer.state.get(weight.values, {})
        for name in ("exp_avg", "momentum_buffer"):
            if isinstance(state.get(name), Tensor):
                return state[name]
        raise ValueError(
            "expected momentum in the optimizer's state of every weight: of SGD with momentum or "
            f"an Adam, after a step with a gradient; found the entries {sorted(state)} of "
            f"{type(self.optimizer).__name__} for a weight of shape {weight.shape}"
        )
