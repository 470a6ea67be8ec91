"""What all constraints on signs have in common: the projection, and when it is done."""

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
    """Keeps entries of a parameter on their side of 0, by projected gradient.

    The signs to start with may come from :func:`sparse_engine.topology.apply_signs`.

    The optimizer steps as it likes; then :meth:`apply` sets to 0 what came to the wrong side. A
    link at 0 stays a link and may grow again on its own side. Optimizer state is left alone.

    A constraint holds from its construction on, where entries on the wrong side change their sign
    and keep their magnitude, and likewise for links that :mod:`sparse_engine.topology` makes, if
    it is one of the rewiring's observers. A constraint of your own is a subclass with one method.

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
        """1, -1, or 0 for either: the sign of each entry of ``parameter``, as it is now."""

    @torch.no_grad()
    def apply(self) -> None:
        """``parameter = where(parameter * signs < 0, 0, parameter)``, in place."""
        self.parameter.masked_fill_(self.parameter * self.signs() < 0, 0)

    def attach(self, optimizer: Optimizer) -> RemovableHandle:
        """Has :meth:`apply` called after each ``optimizer.step()``, until the handle's remove()."""
        return optimizer.register_step_post_hook(lambda *_: self.apply())

    def __call__(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        """Takes note of a rewiring, as an observer of :class:`~sparse_engine.topology.Rewiring`."""
        if weight is self.weight:
            self._mirror(rewired.born)

    @torch.no_grad()
    def _mirror(self, slots: Tensor | None = None) -> None:
        """Brings entries to their own side at the same magnitude: those in ``slots``, or all."""
        wrong = self.parameter * self.signs() < 0
        if slots is not None:
            wrong &= torch.zeros_like(wrong).index_fill_(0, slots.long(), True)
        self.parameter.copy_(torch.where(wrong, -self.parameter, self.parameter))
