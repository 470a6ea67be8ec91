"""The minimal gated unit with sparse recurrent weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from typing_extensions import Unpack

from sparse_engine.nn._keywords import RecurrentOptions
from sparse_engine.nn._step import StepOperation
from sparse_engine.nn.cells.reset_gated import ResetGatedNetwork
from sparse_engine.ops._native import native
from sparse_engine.ops.mgu import MGU


class SparseMGU(ResetGatedNetwork):
    """Minimal gated units (Zhou et al. 2016) whose recurrent weights exist only as links.

    This is a GRU with a single gate. With ``x_f, x_n`` the two blocks of ``x_t W_ih^T + b_ih`` and
    ``u_f, u_n`` those of ``h_{t-1} W_hh^T + b_hh``: ``f = sigmoid(x_f + u_f)`` and
    ``h_t = (1 - f) h_{t-1} + f tanh(x_n + f u_n)``. The forward pass of a layer over all time steps
    is one native operation, and so is its backward pass. The gate multiplies the recurrent product
    with its bias, as in ``torch.nn.GRU``; in the paper it multiplies the state.

    Arguments are those of :class:`SparseRecurrent`. Parameters are named as in ``torch.nn.GRU``
    with ``.values`` for the sparse ones; each weight has ``2 * hidden_size`` rows.

    Example:
        >>> mgu = SparseMGU(64, 1024, density=0.05)
        >>> y, h_n = mgu(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    operation = MGU
    step_operation = StepOperation(native.mgu_step.default, lambda network: (None,))
    gates = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, density=density, **options)

    # Each class has a forward of its own: torch.compile counts recompilations by function.
    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Run the network over whole sequences, with the arguments of :meth:`SparseGRU.forward`."""
        return self.run(input, *self.states_of(hx), lengths=lengths, resets=resets)
