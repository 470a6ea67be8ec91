"""The GRU with sparse recurrent weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sparse_engine.nn._step import StepOperation
from sparse_engine.nn.cells.reset_gated import ResetGatedNetwork
from sparse_engine.nn.from_torch import DropIn
from sparse_engine.ops._native import native
from sparse_engine.ops.gru import GRU


class SparseGRU(ResetGatedNetwork, DropIn):
    """:class:`torch.nn.GRU` whose recurrent weights exist only as links.

    With ``x_r, x_z, x_n`` the three blocks of ``x_t W_ih^T + b_ih`` and ``u_r, u_z, u_n`` those of
    ``h_{t-1} W_hh^T + b_hh``: ``r = sigmoid(x_r + u_r)``, ``z = sigmoid(x_z + u_z)`` and
    ``h_t = (1 - z) tanh(x_n + r u_n) + z h_{t-1}``. The forward pass of a layer over all time
    steps is one native operation, and so is its backward pass. The three gates are blocks of rows
    of one :class:`SparseWeight` of ``3 * hidden_size`` rows. Arguments, shapes and results are
    those of ``torch.nn.GRU``; further arguments are keyword-only: density, input_density, gain,
    generator and checkpoint_every of :class:`SparseRecurrent`.

    Parameters are named as in ``torch.nn.GRU`` with ``.values`` for the sparse ones.

    Example:
        >>> gru = SparseGRU(64, 1024, density=0.05)
        >>> y, h_n = gru(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    dense_type = nn.GRU
    operation = GRU
    step_operation = StepOperation(native.gru_step.default, lambda network: (None,))
    gates = 3

    # Each class has a forward of its own: torch.compile counts recompilations by function.
    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Run the network over whole sequences: :meth:`DropIn.forward`."""
        return super().forward(input, hx, lengths=lengths, resets=resets)
