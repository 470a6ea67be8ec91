"""Cells in continuous time: unfolds, timespans, and the native operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from sparse_engine.nn.capture import captures
from sparse_engine.nn.cell import Layer
from sparse_engine.nn.kernel_cell import Given, KernelCell, LayerOutput, State
from sparse_engine.nn.options import COUNT, DURATION, option
from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops import Euler, Solver
from sparse_engine.ops.continuous import ContinuousOperation


@dataclass(frozen=True, kw_only=True)
class Continuous(KernelCell):
    """Cell whose state follows a differential equation while each input is held.

    Attributes:
        unfolds: number of steps of the solver for each input.
        dt: length of each of these steps, unless timespans are given.
        solver: the solver of the equation.
        operation: the native operation, with the differential equation.
    """

    unfolds: int = option(COUNT, 6)
    dt: float = option(DURATION, 0.1)

    solver: ClassVar[Solver] = Euler()
    bf16_devices: ClassVar[tuple[str, ...]] = ("cpu",)
    timed: ClassVar[bool] = True
    packable: ClassVar[bool] = False
    operation: ClassVar[ContinuousOperation]

    def method(self, layer: Layer) -> dict[str, Any]:
        """Return the arguments of the operation beside the weight, by name."""
        return {"unfolds": self.unfolds, "solver": self.solver, "rate": None}

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return what :meth:`step` needs of a layer: the solver's method and the rates."""
        return self.method(layer)

    def biases(self, layer: Layer) -> tuple[Tensor | None, Tensor | None]:
        """Return the sum of both biases as that of the input."""
        if "bias_hh" not in layer:
            return None, None
        return layer["bias_ih"] + layer["bias_hh"], None

    def goes_by_steps(self, layer: Layer, sequence: Sequence) -> bool:
        """Whether factors are captured: every stage captures its own use of the weight."""
        return captures(layer["weight_hh"])

    def step(
        self,
        v: Tensor,
        product: Callable[..., Tensor],
        state: tuple[Tensor, ...],
        *,
        dt: Tensor,
        **method: Any,
    ) -> tuple[Tensor, ...]:
        """Integrate over one input."""
        return self.operation.step(v, product, state, dt=dt, **method)

    def call(self, layer: Layer, given: Given, sequence: Sequence, state: State) -> LayerOutput:
        """Run one layer, whose unfolds take ``dt``, in one operation."""
        weight = layer["weight_hh"]
        assert sequence.dt is not None
        links = weight.values, weight.pattern
        h, h_n = self.operation(
            given.x, state[0], sequence.dt, *links, resets=sequence.resets, **self.method(layer)
        )
        return LayerOutput(h, (h_n,))
