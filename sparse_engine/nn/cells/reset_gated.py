"""Cells whose only state is h, and whose first gate resets the candidate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from sparse_engine.nn.cell import Layer
from sparse_engine.nn.kernel_cell import Given, KernelCell, LayerOutput, State
from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops._reset_gated import ResetGated


class ResetGatedCell(KernelCell):
    """Cell whose first gate resets the candidate, such as a GRU.

    Attributes:
        operation: the operation that runs a layer over a sequence.
    """

    most_fused_inputs: ClassVar[int] = 256
    bf16_devices: ClassVar[tuple[str, ...]] = ("cpu",)
    operation: ClassVar[ResetGated]

    def step_options(self) -> tuple:
        """Return the arguments of the step's kernel."""
        return (None,)

    def step(
        self, v: Tensor, product: Callable[..., Tensor], state: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Compute one time step."""
        return self.operation.step(v, product, state)

    def call(self, layer: Layer, given: Given, sequence: Sequence, state: State) -> LayerOutput:
        """Call the kernel for one layer in one direction."""
        weight = layer["weight_hh"]
        h, saved = self.operation(
            given.x,
            state[0],
            given.bias,
            weight.values,
            weight.pattern,
            w_input=given.w_input,
            b_input=given.b_input,
            batch_sizes=sequence.batch_sizes,
            resets=sequence.resets,
        )
        return LayerOutput(h, (sequence.last(h),), saved)

    def gradient_of_product(
        self, saved: Tensor | None, sequence: Sequence
    ) -> Callable[[Tensor], Tensor]:
        """Return a function that multiplies the candidate's gradient by the reset gate."""
        assert saved is not None
        return partial(_scaled, self.operation.reset_gates(saved, sequence.batch_sizes))


def _scaled(reset: Tensor, dv: Tensor) -> Tensor:
    shared, candidate = dv.tensor_split([dv.shape[-1] - reset.shape[-1]], -1)
    return torch.cat([shared, candidate * reset], -1)
