"""The GRU with sparse recurrent weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine import ops
from sparse_engine.nn._step import step_of_cell
from sparse_engine.nn.kernel_cell import KernelCell
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops.gated import reset_gates


class ResetGatedCell(KernelCell):
    """Cell whose only state is h, and whose first gate resets the candidate, such as a GRU."""

    most_fused_inputs: ClassVar[int] = 256
    unitwise: ClassVar[bool] = True

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


class GRU(ResetGatedCell):
    """Gated recurrent unit (Cho et al. 2014), with the reset gate of :class:`torch.nn.GRU`."""

    gates: ClassVar[int] = 3
    dense_type: ClassVar[type[nn.RNNBase]] = nn.GRU
    operation: ClassVar[Any] = ops.gru
    step_kernel: ClassVar[Any] = native.gru_step.default


class SparseGRU(Recurrent):
    """:class:`torch.nn.GRU` whose recurrent weights exist only as links.

    With ``x_r, x_z, x_n`` the three blocks of ``x_t W_ih^T + b_ih`` and ``u_r, u_z, u_n`` those of
    ``h_{t-1} W_hh^T + b_hh``: ``r = sigmoid(x_r + u_r)``, ``z = sigmoid(x_z + u_z)`` and
    ``h_t = (1 - z) tanh(x_n + r u_n) + z h_{t-1}``. Arguments, shapes and results are those of
    ``torch.nn.GRU``; further arguments are the keyword-only ones of :class:`Recurrent`.

    Example:
        >>> gru = SparseGRU(64, 1024, density=0.05)
        >>> y, h_n = gru(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = GRU
    step_kernel = step_of_cell
