"""Base of the constraints on signs: projection after each step of an optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from sparse_engine.nn._computed import check_plain
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Rewired


class Signs(ABC):
    """Constraint that keeps entries of a parameter on one side of 0, by projected gradient.

    After each step of the optimizer, :meth:`apply` sets the entries on the wrong side to 0. A link
    at 0 still exists and may grow again on its own side. Optimizer state is left alone.

    A constraint holds from its construction on: it then flips the sign of every entry on the wrong
    side. Appended to the observers of a rewiring, it does the same with new links. The signs to
    start with may come from :func:`sparse_engine.topology.init.apply_signs`. A constraint of
    your own is a subclass with one method, :meth:`signs`.

    Example:
        >>> signs = FixedSigns(model.weight)
        >>> signs.attach(optimizer)
        >>> rewiring = SET(model, optimizer)
        >>> rewiring.observers.append(signs)
    """

    def __init__(self, weight: SparseWeight, parameter: Tensor) -> None:
        check_plain(weight, weight._saved)
        self.weight = weight
        self.parameter = parameter

    @abstractmethod
    def signs(self) -> Tensor:
        """Return the current sign of each entry: 1, -1, or 0 where both are allowed."""

    @torch.no_grad()
    def apply(self) -> None:
        """Set entries on the wrong side to 0: ``where(parameter * signs < 0, 0, parameter)``."""
        self.parameter.masked_fill_(self.parameter * self.signs() < 0, 0)

    def attach(self, optimizer: Optimizer) -> RemovableHandle:
        """Call :meth:`apply` after each ``optimizer.step()``, until the handle is removed."""
        return optimizer.register_step_post_hook(lambda *_: self.apply())

    def __call__(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        """Apply the signs to new links, as an observer of a rewiring."""
        if weight is self.weight:
            self._mirror(rewired.born)

    @torch.no_grad()
    def _mirror(self, slots: Tensor | None = None) -> None:
        """Flip the signs of entries on the wrong side: of those in ``slots``, or of all."""
        wrong = self.parameter * self.signs() < 0
        if slots is not None:
            wrong &= torch.zeros_like(wrong).index_fill_(0, slots.long(), True)
        self.parameter.copy_(torch.where(wrong, -self.parameter, self.parameter))
