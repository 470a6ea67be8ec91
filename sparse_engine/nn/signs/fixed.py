"""Each link keeps its own sign."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.nn.grouped import GroupedWeight
from sparse_engine.nn.signs.base import Signs
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Rewired, carry
from sparse_engine.ops.pattern import integers


class FixedSigns(Signs):
    """Each link keeps the sign that it has.

    A link at 0 may take either sign; the first that it has is then its own, also while it is at 0
    again. So are new links of a rewiring treated, which must have this object among its observers,
    for the signs of the others move with them.

    Of a :class:`GroupedWeight` the gains keep their signs, and with them all links.

    See :class:`Signs` for how it is attached to an optimizer and a rewiring.

    Args:
        weight: the weight to constrain. Values of another sign than ``signs`` change it at once.
        signs: 1, -1, or 0 for either, of any integer dtype and of the shape of the weight's
            values (or gains); by default those of its values (or gains).

    Raises:
        ValueError: ``signs`` of another shape, or with another entry.
    """

    def __init__(self, weight: SparseWeight, signs: Tensor | None = None) -> None:
        super().__init__(
            weight, weight.gain if isinstance(weight, GroupedWeight) else weight.values
        )
        self._take(self.parameter.sign().to(torch.int8) if signs is None else signs)
        self._mirror()
        self._decide()

    def signs(self) -> Tensor:
        """int8 of the shape of ``parameter``: 1, -1, or 0 where the sign is still open.

        Raises:
            ValueError: the links have changed, and this object was not told how.
        """
        if self._version != self.weight.topology_version:
            raise ValueError(
                f"expected to observe each change of the links, found topology version "
                f"{self._version}, and {self.weight.topology_version} of the weight; append this "
                "object to the observers of the rewiring, or load its state after the weight's"
            )
        return self._signs

    def apply(self) -> None:
        """See :meth:`Signs.apply`; signs that were open are then those of the entries."""
        super().apply()
        self._decide()

    def __call__(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        """See :meth:`Signs.__call__`."""
        if weight is self.weight:
            self._signs = carry(self._signs, rewired.slot_map, weight.nnz)
            self._version = weight.topology_version
            self._decide()

    def state_dict(self) -> dict[str, Tensor]:
        """What resuming needs beside the weight: the signs of links that are at 0 now."""
        return {"signs": self.signs()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes over the signs of a saved run, after the weight has been loaded.

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
        """A sign that is open becomes that of the entry."""
        self._signs = torch.where(
            self._signs == 0, self.parameter.sign().to(torch.int8), self._signs
        )
