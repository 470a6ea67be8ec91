"""Cells in continuous time whose units decay with time constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.nn._layer_parameters import Maker
from sparse_engine.nn.cell import Layer
from sparse_engine.nn.cells.continuous import Continuous
from sparse_engine.nn.options import FLAG, option
from sparse_engine.nn.recurrent import Recurrent


@dataclass(frozen=True, kw_only=True)
class Leaky(Continuous):
    """Cell in continuous time whose state decays with time constants, by Euler's method.

    Attributes:
        first_tau: time constants, in the unit of time of dt: a number, or one for each group
            ``[num_groups]``. All layers start with the same ones.
        trainable_tau: whether time constants are trained. Their logarithms are then the parameters
            ``log_tau_l0``, ..., so that time constants stay positive and an optimizer changes them
            by a factor. Otherwise time constants are the buffers ``tau_l0``, ...
        first_groups: number of the group of each unit, whose time constant the unit has:
            ``[hidden_size]`` integers from 0 on without gaps, the same in all layers, kept as the
            buffer ``groups``. By default each unit is a group.
    """

    trainable_tau: bool = option(FLAG, False)
    first_tau: float | Tensor = field(default=1.0, repr=False, compare=False)
    first_groups: Sequence[int] | Tensor | None = field(default=None, repr=False, compare=False)

    shared: ClassVar[tuple[str, ...]] = ("groups",)

    def check_sizes(self, hidden_size: int) -> None:
        """Raise ValueError for groups or time constants that do not fit."""
        if self.first_groups is not None:
            check_groups(torch.as_tensor(self.first_groups, device="cpu"), hidden_size)
        tau, shape = self.first_tau, (self.num_groups(hidden_size),)
        if isinstance(tau, Tensor) and tau.shape not in ((), shape):
            raise ValueError(f"expected tau of shape {[*shape]}, found {[*tau.shape]}")
        wrong = [one for one in self._each_tau().tolist() if not 0 < one < math.inf]
        if wrong:
            raise ValueError(f"expected finite tau > 0, found {wrong[0]}")

    def num_groups(self, hidden_size: int) -> int:
        """Return the number of groups."""
        if self.first_groups is None:
            return hidden_size
        return int(torch.as_tensor(self.first_groups, device="cpu").max()) + 1

    def _each_tau(self) -> Tensor:
        tau = self.first_tau
        each = tau.detach().reshape(-1).tolist() if isinstance(tau, Tensor) else [tau]
        return torch.tensor(each, dtype=torch.float64, device="cpu")

    def make_shared(self, maker: Maker) -> dict[str, Tensor | None]:
        """Return the groups."""
        if self.first_groups is None:
            return {"groups": None}
        groups = torch.as_tensor(self.first_groups, device="cpu")
        return {"groups": groups.to(maker.uniform(0).device, copy=True)}

    def make_others(self, maker: Maker) -> dict[str, Any]:
        """Return the time constants of a layer, or their logarithms."""
        blank = maker.full(0.0, self.num_groups(maker.hidden_size)).detach()
        tau = torch.as_tensor(self.first_tau, dtype=blank.dtype, device=blank.device)
        own = tau.detach().expand(blank.shape).clone()
        return {"log_tau": nn.Parameter(own.log_())} if self.trainable_tau else {"tau": own}

    def first_values(self, kind: str, like: Tensor, hidden_size: int) -> Tensor:
        """Return initial values of a parameter; time constants get those of the constructor."""
        if kind == "log_tau":
            return self._each_tau().log().to(like).expand(like.shape)
        return super().first_values(kind, like, hidden_size)

    def tau(self, layer: Layer) -> Tensor:
        """Return the time constants of the units of a layer, ``[hidden_size]``."""
        own = layer["log_tau"].exp() if self.trainable_tau else layer["tau"]
        return of_units(own, layer["groups"])

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return the solver's arguments, and the rates at which units decay."""
        return {**super().arguments(layer), "rate": 1 / self.tau(layer)}


class LeakyNetwork(Recurrent):
    """Network whose units decay with time constants; the base of SparseCTRNN and SparseRateRNN."""

    cell_type = Leaky
    groups: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        tau: float | Tensor = 1.0,
        groups: Sequence[int] | Tensor | None = None,
        **options: Any,
    ) -> None:
        own: dict[str, Any] = {"first_tau": tau, "first_groups": groups}
        super().__init__(input_size, hidden_size, num_layers, **own, **options)

    @property
    def num_groups(self) -> int:
        """Number of groups of units that share a time constant."""
        return self.cell.num_groups(self.hidden_size)

    def of_units(self, of_groups: Tensor) -> Tensor:
        """Return the entry of each unit's group, ``[hidden_size]``."""
        return of_units(of_groups, self.groups)

    def tau(self, layer: str = "l0") -> Tensor:
        """Return the time constants ``[hidden_size]`` of a layer, such as ``"l0_reverse"``."""
        return self.cell.tau(self.layer(layer))

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *of_torch: Any
    ) -> None:
        saved = state_dict.get(f"{prefix}groups")
        if saved is not None and self.groups is not None and not saved.is_meta:
            try:
                check_groups(saved, self.hidden_size, self.num_groups)
            except ValueError as error:
                of_torch[-1].append(str(error))
                return
        super()._load_from_state_dict(state_dict, prefix, *of_torch)


def of_units(of_groups: Tensor, groups: Tensor | None) -> Tensor:
    """Return the entry of each unit's group."""
    return of_groups if groups is None else of_groups[groups]


def check_groups(groups: Tensor, units: int, count: int | None = None) -> None:
    """Raise ValueError for groups that are not numbered from 0 without gaps.

    Args:
        groups: number of the group of each unit.
        units: number of units.
        count: number of groups; None for any.
    """
    if groups.dtype != torch.int64 or groups.shape != (units,):
        raise ValueError(
            f"expected groups of shape [{units}] and dtype int64, found {[*groups.shape]} and "
            f"{groups.dtype}".replace("torch.", "")
        )
    found = groups.unique().tolist()
    if found != [*range(len(found) if count is None else count)]:
        many = "" if count is None else f"to {count - 1} "
        raise ValueError(f"expected groups numbered from 0 {many}without gaps, found {found}")
