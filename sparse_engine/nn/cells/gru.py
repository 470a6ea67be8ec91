"""The GRU with sparse recurrent weights."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from sparse_engine import ops
from sparse_engine.nn._step import step_of_cell
from sparse_engine.nn.cells.reset_gated import ResetGatedCell
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.ops._dispatch.native import native


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
    ``h_t = (1 - z) tanh(x_n + r u_n) + z h_{t-1}``. The forward pass of a layer over all time
    steps is one native operation, and so is its backward pass. The three gates are blocks of rows
    of one :class:`SparseWeight` of ``3 * hidden_size`` rows. Arguments, shapes and results are
    those of ``torch.nn.GRU``; further arguments are keyword-only: density, input_density, gain,
    generator and checkpoint_every of :class:`Recurrent`.

    Parameters are named as in ``torch.nn.GRU`` with ``.values`` for the sparse ones.

    Example:
        >>> gru = SparseGRU(64, 1024, density=0.05)
        >>> y, h_n = gru(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = GRU
    step_kernel = step_of_cell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            **options,
        )
