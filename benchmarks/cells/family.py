"""Common parts of the contests of all cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks._contest import Contestant
from sparse_engine.ops import Pattern


@dataclass(frozen=True)
class Case:
    """Sizes of one row of the table, and the ratio that it should reach.

    Attributes:
        hidden: units.
        density: share of the recurrent weights that exist.
        steps: time steps of a sequence.
        batch: sequences at a time.
        inputs: features of the input.
        input_density: share of the input weights that exist; dense at 1.
        against: the contestant that the target speaks of.
        target: how many times longer it should take.
    """

    hidden: int
    density: float
    steps: int = 50
    batch: int = 32
    inputs: int = 64
    input_density: float = 1.0
    against: str = "masked"
    target: float | None = None


class Family(ABC):
    """All ways to compute one cell's network, with the same weights, input and upstream gradient.

    Attributes:
        cases: the rows of the table.
        tiny: a case to check the contestants with.
        tolerance: how far they may differ, see :func:`benchmarks._contest.check`.
    """

    cases: ClassVar[tuple[Case, ...]]
    tiny: ClassVar[Case] = Case(64, 0.1, steps=5, batch=4, inputs=3)
    tolerance: ClassVar[float] = 1e-4

    def __init__(self, case: Case) -> None:
        self.case = case
        self.x = torch.randn(case.steps, case.batch, case.inputs)
        self.upstream = torch.randn(case.steps, case.batch, case.hidden)

    @property
    @abstractmethod
    def pattern(self) -> Pattern:
        """The links."""

    @property
    def patterns(self) -> dict[str, Pattern]:
        """The links of every sparse weight, by the name of its leaf."""
        return {"links": self.pattern}

    @abstractmethod
    def contestants(self) -> dict[str, Contestant]:
        """Contestants by name, ``sparse_engine`` first."""

    def to_check(self) -> Family:
        """Whose contestants must agree: these, or the same in another dtype."""
        return self


def loop(
    inputs: Iterable[Tensor], cell: Callable[[Tensor, Tensor], Tensor], initial: Tensor
) -> Tensor:
    """The states of a cell over a sequence."""
    states, state = [], initial
    for step in inputs:
        state = cell(step, state)
        states.append(state)
    return torch.stack(states)


def parameters(network: torch.nn.Module) -> dict[str, Tensor]:
    """All parameters of a network of one layer, those that the loops share by their names."""
    names = {
        "weight_ih_l0": "w_input",
        "weight_ih_l0.values": "w_input",
        "weight_hh_l0": "links",
        "weight_hh_l0.values": "links",
        "bias_ih_l0": "bias",
    }
    return {names.get(name, name): p for name, p in network.named_parameters()}
