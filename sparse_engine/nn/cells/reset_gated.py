"""Cells whose only state is h, and whose first gate resets the candidate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from sparse_engine.nn.kernel_cell import KernelCell
from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops.gated import reset_gates


class ResetGatedCell(KernelCell):
    """Cell whose first gate resets the candidate, such as a GRU."""

    most_fused_inputs: ClassVar[int] = 256
    bf16_devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def step_options(self) -> tuple:
        """Return the arguments of the step's kernel."""
        return (None,)

    def gradient_of_product(
        self, saved: Tensor | None, sequence: Sequence
    ) -> Callable[[Tensor], Tensor]:
        """Return a function that multiplies the candidate's gradient by the reset gate."""
        assert saved is not None
        return partial(_scaled, reset_gates(saved, sequence.batch_sizes, self.gates))


def _scaled(reset: Tensor, dv: Tensor) -> Tensor:
    shared, candidate = dv.tensor_split([dv.shape[-1] - reset.shape[-1]], -1)
    return torch.cat([shared, candidate * reset], -1)
