"""Constraints that keep the signs of links while a network is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from sparse_engine.nn._weight_state import check_plain
from sparse_engine.nn.grouped import GroupedWeight
from sparse_engine.nn.options import check_entries
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops.pattern import integers
from sparse_engine.ops.topology import Rewired, carry


class Signs(ABC):
    """Constraint that keeps entries of a parameter on one side of 0, by projected gradient.

    After each step of the optimizer, :meth:`apply` sets the entries on the wrong side to 0. A link
    at 0 still exists and may grow again on its own side. Optimizer state is left alone.

    A constraint holds from its construction on: it then flips the sign of every entry on the wrong
    side. Appended to the observers of a rewiring, it does the same with new links. A constraint of
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
        wrong = self.parameter * self.signs() < 0
        if slots is not None:
            wrong &= torch.zeros_like(wrong).index_fill_(0, slots.long(), True)
        self.parameter.copy_(torch.where(wrong, -self.parameter, self.parameter))


class DaleSigns(Signs):
    """Dale's law: links out of excitatory units stay positive, all others negative, or 0.

    The sign of the link ``W[i, j]`` is that of its source j, for new links too (projected gradient
    under Dale's law: Song, Yang & Wang, PLoS Comput. Biol. 2016).

    A rewiring whose new links start at 0 does not need it among its observers.

    Args:
        weight: the weight to constrain; values of the wrong sign are flipped at once.
        excitatory: bool ``[in_features]``, true for excitatory source units.

    Raises:
        ValueError: ``excitatory`` of another dtype or shape, or a weight whose values are not a
            Parameter.

    Example:
        >>> weight = SparseWeight.erdos_renyi(4, 4, density=0.5)
        >>> signs = DaleSigns(weight, torch.tensor([True, True, True, False]))
        >>> handle = signs.attach(torch.optim.SGD(weight.parameters(), 0.1))
    """

    def __init__(self, weight: SparseWeight, excitatory: Tensor) -> None:
        if isinstance(weight, GroupedWeight):
            raise ValueError(
                f"expected a weight whose values are a Parameter, found {weight}: give its base "
                "the signs, and keep its gains positive with FixedSigns"
            )
        in_features = weight.shape[1]
        if excitatory.dtype != torch.bool or excitatory.shape != (in_features,):
            raise ValueError(
                f"expected excitatory of dtype torch.bool and shape [{in_features}], found "
                f"{excitatory.dtype} of shape {[*excitatory.shape]}"
            )
        super().__init__(weight, weight.values)
        self.excitatory = excitatory.to(weight.values.device)
        self._mirror()

    def signs(self) -> Tensor:
        """Return the sign of each link, int8 ``[nnz]``: 1 or -1."""
        of_column = torch.where(self.excitatory, 1, -1).to(torch.int8)
        return of_column.index_select(0, self.weight.col_indices)


class FixedSigns(Signs):
    """Constraint by which each link keeps the sign that it has.

    A link at 0 may take either sign. The first sign that it takes is fixed from then on, also when
    the link returns to 0. The same holds for new links. A rewiring must have this object among its
    observers, so that the signs move with the links. In a :class:`GroupedWeight`, the gains keep
    their signs, and so all links do.

    Args:
        weight: the weight to constrain; values of the wrong sign are flipped at once.
        signs: 1, -1, or 0 where both are allowed, of any integer dtype, one for each of the
            weight's values (or gains); by default the signs of the values (or gains).

    Raises:
        ValueError: ``signs`` of another shape, or with another entry.

    Example:
        >>> signs = FixedSigns(SparseWeight.erdos_renyi(64, 64, density=0.1))
    """

    _signs: Tensor
    _version: int

    def __init__(self, weight: SparseWeight, signs: Tensor | None = None) -> None:
        super().__init__(
            weight, weight.gain if isinstance(weight, GroupedWeight) else weight.values
        )
        self._take(self.parameter.sign().to(torch.int8) if signs is None else signs)
        self._mirror()
        self._decide()

    def signs(self) -> Tensor:
        """Return int8 signs of the shape of ``parameter``: 1, -1, or 0 where the sign is open.

        Raises:
            ValueError: the links have changed without this object among the observers.
        """
        if self._version != self.weight.topology_version:
            raise ValueError(
                f"expected to observe each change of the links, found topology version "
                f"{self._version}, and {self.weight.topology_version} of the weight; append this "
                "object to the observers of the rewiring, or load its state after the weight's"
            )
        return self._signs

    @override
    def apply(self) -> None:
        """Set entries on the wrong side to 0, then fix open signs to those of the entries."""
        super().apply()
        self._decide()

    @override
    def __call__(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        if weight is self.weight:
            self._signs = carry(self._signs, rewired.slot_map, weight.nnz)
            self._version = weight.topology_version
            self._decide()

    def state_dict(self) -> dict[str, Tensor]:
        """Return all signs: the weight does not tell those of links at 0."""
        return {"signs": self.signs()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load the signs of a saved run, after the weight; ValueError for others than its own."""
        if state.keys() != {"signs"}:
            raise ValueError(f"expected one entry signs, found {sorted(state)}")
        self._take(state["signs"])

    def _take(self, signs: Tensor) -> None:
        if signs.shape != self.parameter.shape:
            raise ValueError(
                f"expected signs of shape {[*self.parameter.shape]}, found {[*signs.shape]}"
            )
        check_entries("signs of 1, -1 or 0", signs, integers(signs, "signs").abs() <= 1)
        self._signs = signs.to(self.parameter.device, torch.int8, copy=True)
        self._version = self.weight.topology_version

    @torch.no_grad()
    def _decide(self) -> None:
        self._signs = torch.where(
            self._signs == 0, self.parameter.sign().to(torch.int8), self._signs
        )
