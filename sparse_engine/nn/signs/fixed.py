"""Fixed signs: each link keeps its own."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from sparse_engine.nn.grouped import GroupedWeight
from sparse_engine.nn.signs.base import Signs
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Rewired, carry
from sparse_engine.ops.pattern import integers


class FixedSigns(Signs):
    """Constraint by which each link keeps the sign that it has.

    A link at 0 may take either sign. The first sign that it takes is fixed from then on, also when
    the link returns to 0. The same holds for new links. A rewiring must have this object among its
    observers, so that the signs move with the links. In a :class:`GroupedWeight`, the gains keep
    their signs, and so all links do.

    :class:`Signs` says how to attach the constraint to an optimizer and a rewiring.

    Args:
        weight: the weight to constrain; values of the wrong sign are flipped at once.
        signs: 1, -1, or 0 where both are allowed, of any integer dtype, one for each of the
            weight's values (or gains); by default the signs of the values (or gains).

    Raises:
        ValueError: ``signs`` of another shape, or with another entry.
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
        """Load the signs of a saved run; load the weight before.

        Raises:
            ValueError: entries missing, or signs that do not fit the weight.
        """
        if state.keys() != {"signs"}:
            raise ValueError(f"expected one entry signs, found {sorted(state)}")
        self._take(state["signs"])

    def _take(self, signs: Tensor) -> None:
        if signs.shape != self.parameter.shape:
            raise ValueError(
                f"expected signs of shape {[*self.parameter.shape]}, found {[*signs.shape]}"
            )
        wrong = (integers(signs, "signs").abs() > 1).nonzero()
        if wrong.numel():
            at = int(wrong[0])
            raise ValueError(
                f"expected signs of 1, -1 or 0, found {int(signs[at])} at position {at}"
            )
        self._signs = signs.to(self.parameter.device, torch.int8, copy=True)
        self._version = self.weight.topology_version

    @torch.no_grad()
    def _decide(self) -> None:
        """Fix open signs to those of the entries."""
        self._signs = torch.where(
            self._signs == 0, self.parameter.sign().to(torch.int8), self._signs
        )
