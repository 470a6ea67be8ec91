"""Cells in continuous time: unfolds, timespans, and the native operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from sparse_engine.nn.capture import captures
from sparse_engine.nn.cell import Layer
from sparse_engine.nn.kernel_cell import KernelCell, State
from sparse_engine.nn.options import COUNT, DURATION, option
from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops import Euler, Solver


@dataclass(frozen=True, kw_only=True)
class Continuous(KernelCell):
    """Cell whose state follows a differential equation while each input is held.

    Attributes:
        unfolds: number of steps of the solver for each input.
        dt: length of each of these steps, unless timespans are given.
        solver: the solver of the equation.
    """

    unfolds: int = option(COUNT, 6)
    dt: float = option(DURATION, 0.1)

    solver: ClassVar[Solver] = Euler()
    bf16_devices: ClassVar[tuple[str, ...]] = ("cpu",)
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

    def run(self, layer: Layer, sequence: Sequence, state: State) -> tuple[Tensor, ...]:
        """Run one layer, whose unfolds take ``dt``, in one operation."""
        return self.solve(layer, self.input_sums(layer, sequence.x), sequence, state)

    def solve(
        self, layer: Layer, v: Tensor, sequence: Sequence, state: State
    ) -> tuple[Tensor, ...]:
        """Call the kernel, given the input's contribution ``v``."""
        weight, options = layer["weight_hh"], self.kernel_options(layer)
        given = v, *state, sequence.dt, weight.values, weight.pattern
        return self.operation.full(*given, resets=sequence.resets, **options)
