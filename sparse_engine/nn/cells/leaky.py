"""Base of the networks in continuous time whose units decay with time constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.nn.cells.continuous import Continuous
from sparse_engine.nn.options import FLAG, Option
from sparse_engine.ops import Euler


class Leaky(Continuous):
    """Network in continuous time whose state decays with time constants, by Euler's method.

    Args:
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        tau: time constants, in the unit of time of dt: a number, or one for each group
            ``[num_groups]``. All layers start with the same ones.
        trainable_tau: whether time constants are trained. Their logarithms are then the parameters
            ``log_tau_l0``, ..., so that time constants stay positive and an optimizer changes them
            by a factor. Otherwise time constants are the buffers ``tau_l0``, ...
        groups: number of the group of each unit, whose time constant the unit has:
            ``[hidden_size]`` integers from 0 on without gaps, the same in all layers, kept as the
            buffer ``groups``. By default each unit is a group.
        dt: length of each step of Euler's method, unless timespans are given.
        **options: arguments of :class:`Continuous`, by name.

    Raises:
        ValueError: tau that is not positive and finite, or of another shape, or groups that are not
            numbered from 0 without gaps.
    """

    options: ClassVar[dict[str, Option]] = {**Continuous.options, "trainable_tau": FLAG}
    trainable_tau: bool
    groups: Tensor | None
    solver = Euler()

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        tau: float | Tensor = 1.0,
        trainable_tau: bool = False,
        groups: Sequence[int] | Tensor | None = None,
        dt: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, trainable_tau=trainable_tau, dt=dt, **options
        )
        weight = self.weight_hh_l0
        device = weight.crow_indices.device
        if groups is not None:
            groups = torch.as_tensor(groups, device="cpu")
            check_groups(groups, hidden_size)
        self.num_groups = hidden_size if groups is None else int(groups.max()) + 1
        self.register_buffer("groups", None if groups is None else groups.to(device, copy=True))
        shape = (self.num_groups,)
        if isinstance(tau, Tensor) and tau.shape not in ((), shape):
            raise ValueError(f"expected tau of shape {[*shape]}, found {[*tau.shape]}")
        each = tau.reshape(-1).tolist() if isinstance(tau, Tensor) else [tau]
        wrong = [one for one in each if not 0 < one < math.inf]
        if wrong:
            raise ValueError(f"expected finite tau > 0, found {wrong[0]}")
        tau = torch.as_tensor(tau, dtype=weight.dtype, device=device)
        self._first_tau = torch.tensor(each, dtype=torch.float64, device="cpu")
        for name, _ in self.layers():
            own = tau.detach().expand(shape).clone()
            if trainable_tau:
                setattr(self, f"log_tau_{name}", nn.Parameter(own.log_()))
            else:
                self.register_buffer(f"tau_{name}", own)

    def of_units(self, of_groups: Tensor) -> Tensor:
        """Return the entry of each unit's group, ``[hidden_size]``."""
        return of_groups if self.groups is None else of_groups[self.groups]

    def tau(self, layer: str = "l0") -> Tensor:
        """Return the time constants ``[hidden_size]`` of a layer, such as ``"l0_reverse"``."""
        if self.trainable_tau:
            return self.of_units(getattr(self, f"log_tau_{layer}").exp())
        return self.of_units(getattr(self, f"tau_{layer}"))

    def first_values(self, name: str, parameter: Tensor) -> Tensor:
        """Return initial values of a parameter; time constants get those of the constructor."""
        if name.startswith("log_tau"):
            return self._first_tau.log().to(parameter).expand(parameter.shape)
        return super().first_values(name, parameter)

    def equation(self, layer: str) -> dict[str, Any]:
        """Return the rates at which units decay, ``1 / tau``."""
        return {"rate": 1 / self.tau(layer)}

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
