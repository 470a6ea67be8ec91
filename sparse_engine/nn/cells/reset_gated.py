"""Base of the cells whose only state is h, and whose first gate resets the candidate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from sparse_engine.nn.sparse_recurrent import Ran, SparseRecurrent, last_states
from sparse_engine.ops._reset_gated import ResetGated


class ResetGatedNetwork(SparseRecurrent):
    """Network of a cell whose first gate resets the candidate, such as a GRU.

    Attributes:
        operation: the operation that runs a layer over a sequence.
    """

    packable = True
    resettable = True
    most_fused_inputs = 256
    bf16_devices = ("cpu",)
    operation: ClassVar[ResetGated]

    def _biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        if not self.bias:
            return None, None
        return getattr(self, f"bias_ih_{name}"), getattr(self, f"bias_hh_{name}")

    def run_cell(
        self,
        layer: str,
        x: Tensor,
        w_input: Tensor | None,
        state: tuple[Tensor | None, ...],
        bias: Tensor | None,
        batch_sizes: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> Ran:
        """Run one layer in one operation."""
        weight = getattr(self, f"weight_hh_{layer}")
        h, saved = self.operation(
            x,
            state[0],
            bias,
            weight.values,
            weight.pattern,
            w_input=w_input,
            b_input=None if w_input is None else self._biases(layer)[0],
            batch_sizes=batch_sizes,
            resets=resets,
        )
        return Ran(h, (last_states(h, batch_sizes),), saved)

    def gradient_of_product(
        self, saved: Tensor, batch_sizes: Tensor | None
    ) -> Callable[[Tensor], Tensor]:
        """Return a function that multiplies the candidate's gradient by the reset gate."""
        return partial(_scaled, self.operation.reset_gates(saved, batch_sizes))


def _scaled(reset: Tensor, dv: Tensor) -> Tensor:
    shared, candidate = dv.tensor_split([dv.shape[-1] - reset.shape[-1]], -1)
    return torch.cat([shared, candidate * reset], -1)
