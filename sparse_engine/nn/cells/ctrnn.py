"""The continuous-time recurrent network, and bases of all cells in continuous time."""

from __future__ import annotations

import math
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine import ops
from sparse_engine.nn.cell import Layer, Maker
from sparse_engine.nn.kernel_cell import KernelCell, State, captures
from sparse_engine.nn.options import check_clip, check_count, check_duration, check_flag, option
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops._sequence import States
from sparse_engine.ops.continuous import Euler, Solver


@dataclass(frozen=True, kw_only=True)
class Continuous(KernelCell):
    """Cell whose state follows a differential equation while each input is held.

    Attributes:
        unfolds: number of steps of the solver for each input.
        dt: length of each of these steps, unless timespans are given.
        solver: the solver of the equation.
    """

    unfolds: int = option(check_count, 6)
    dt: float = option(check_duration, 0.1)

    solver: ClassVar[Solver] = Euler()
    timed: ClassVar[bool] = True
    packable: ClassVar[bool] = False

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return the solver's arguments by name."""
        return {"unfolds": self.unfolds, "solver": self.solver}

    def biases(self, layer: Layer) -> tuple[Tensor | None, Tensor | None]:
        """Return the sum of both biases as that of the input."""
        if "bias_hh" not in layer:
            return None, None
        return layer["bias_ih"] + layer["bias_hh"], None

    def goes_by_steps(self, layer: Layer, sequence: Sequence) -> bool:
        """Whether factors are captured: every stage captures its own use of the weight."""
        return captures(layer["weight_hh"])

    def run(self, layer: Layer, sequence: Sequence, state: State) -> States:
        """Run one layer, whose unfolds take ``dt``, in one operation."""
        return self.solve(layer, self.input_sums(layer, sequence.x), sequence, state)

    def solve(self, layer: Layer, v: Tensor, sequence: Sequence, state: State) -> States:
        """Call the kernel, given the input's contribution ``v``."""
        weight, options = layer["weight_hh"], self.kernel_options(layer)
        given = v, *state, sequence.dt, weight.values, weight.pattern
        return self.operation.full(*given, resets=sequence.resets, **options)


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

    trainable_tau: bool = option(check_flag, False)
    first_tau: float | Tensor = field(default=1.0, repr=False, compare=False)
    first_groups: Ordered[int] | Tensor | None = field(default=None, repr=False, compare=False)

    shared: ClassVar[tuple[str, ...]] = ("groups",)
    unitwise: ClassVar[bool] = True

    def check_sizes(self, hidden_size: int) -> None:
        """Raise ValueError for groups or time constants that do not fit."""
        if self.first_groups is not None:
            check_groups(torch.as_tensor(self.first_groups, device="cpu"), hidden_size)
        tau, shape = self.first_tau, (self.num_groups(hidden_size),)
        if isinstance(tau, Tensor) and tau.shape not in ((), shape):
            raise ValueError(f"expected tau of shape {[*shape]}, found {[*tau.shape]}")
        each = tau.detach().flatten().tolist() if isinstance(tau, Tensor) else [tau]
        wrong = [one for one in each if not 0 < one < math.inf]
        if wrong:
            raise ValueError(f"expected finite tau > 0, found {wrong[0]}")

    def num_groups(self, hidden_size: int) -> int:
        """Return the number of groups."""
        if self.first_groups is None:
            return hidden_size
        return int(torch.as_tensor(self.first_groups, device="cpu").max()) + 1

    def make_shared(self, maker: Maker) -> dict[str, Tensor | None]:
        """Return the groups."""
        if self.first_groups is None:
            return {"groups": None}
        groups = torch.as_tensor(self.first_groups, device="cpu")
        return {"groups": groups.to(maker.uniform(0).device, copy=True)}

    def make(self, maker: Maker, inputs: int, first: bool) -> dict[str, Any]:
        """Return what a layer has, with its time constants or their logarithms."""
        made = super().make(maker, inputs, first)
        blank = maker.full(0.0, self.num_groups(maker.hidden_size)).detach()
        tau = torch.as_tensor(self.first_tau, dtype=blank.dtype, device=blank.device)
        own = tau.detach().expand(blank.shape).clone()
        if self.trainable_tau:
            return {**made, "log_tau": nn.Parameter(own.log_())}
        return {**made, "tau": own}

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
        groups: Ordered[int] | Tensor | None = None,
        **options: Any,
    ) -> None:
        own: dict[str, Any] = {"first_tau": tau, "first_groups": groups}
        super().__init__(input_size, hidden_size, num_layers, **own, **options)

    def tau(self, layer: str = "l0") -> Tensor:
        """Return the time constants ``[hidden_size]`` of a layer, such as ``"l0_reverse"``."""
        return self.cell.tau(self.layer(layer))


@dataclass(frozen=True, kw_only=True)
class CTRNN(Leaky):
    """Leaky unit in continuous time (Funahashi & Nakamura 1993)."""

    cell_clip: float | None = option(check_clip, None)

    operation: ClassVar[Any] = ops.ctrnn

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return the solver's arguments, the rates, and the limit of states."""
        return {**super().arguments(layer), "clip": self.cell_clip}


class SparseCTRNN(LeakyNetwork):
    """Leaky units in continuous time (Funahashi & Nakamura 1993), connected by links only.

    While input ``x_t`` is held, the state follows ``dh/ds = -h / tau + tanh(x_t W_ih^T + b_ih +
    h W_hh^T + b_hh)``. It is integrated by ``unfolds`` steps of Euler's method,
    ``h + dt * dh/ds``, which is stable for dt < 2 tau. Training keeps one state per time step,
    for any number of unfolds.

    Args:
        tau: time constants, in the unit of time of dt: a number, or one for each unit
            ``[hidden_size]``, or one for each group. All layers start with the same ones.
        trainable_tau: whether time constants are trained. Their logarithms are then the parameters
            ``log_tau_l0``, ..., so that time constants stay positive and an optimizer changes them
            by a factor. Otherwise time constants are the buffers ``tau_l0``, ...
        groups: group of each unit, for units that share time constants: ``[hidden_size]`` integers
            from 0 on without gaps.
        unfolds: number of steps of Euler's method for each input.
        dt: length of each of these steps, unless timespans are given.
        cell_clip: c to clip the state to [-c, c] after each unfold; no gradient passes a clipped
            state. None for no clipping.
        **options: the other arguments of :class:`Recurrent`.

    Raises:
        ValueError: tau or dt that is not positive, unfolds below 1, a cell_clip that is not
            positive, or groups that are not numbered so.

    Example:
        >>> rnn = SparseCTRNN(64, 1024, density=0.05, tau=0.5)
        >>> y, h_n = rnn(torch.randn(50, 32, 64), timespans=torch.rand(50))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = CTRNN


def of_units(of_groups: Tensor, groups: Tensor | None) -> Tensor:
    """Return the entry of each unit's group."""
    return of_groups if groups is None else of_groups[groups]


def check_groups(groups: Tensor, units: int) -> None:
    """Raise ValueError for groups of units that are not numbered from 0 without gaps."""
    if groups.dtype != torch.int64 or groups.shape != (units,):
        raise ValueError(
            f"expected groups of shape [{units}] and dtype int64, found {[*groups.shape]} and "
            f"{groups.dtype}".replace("torch.", "")
        )
    found = groups.unique().tolist()
    if found != [*range(len(found))]:
        raise ValueError(f"expected groups numbered from 0 without gaps, found {found}")
