"""The ordered-neurons LSTM with sparse recurrent weights."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from typing_extensions import Unpack

from sparse_engine import ops
from sparse_engine.nn._keywords import RecurrentOptions
from sparse_engine.nn.options import COUNT, Option
from sparse_engine.nn.sparse_recurrent import Ran, SparseRecurrent


class SparseONLSTM(SparseRecurrent):
    """Ordered-neurons LSTM (Shen et al. 2019) whose recurrent weights exist only as links.

    Every chunk of ``chunk_size`` neighbouring units shares a master input gate and a master forget
    gate. With ``mi, mf, o, g, i, f`` the blocks of
    ``x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh``, the first two of ``hidden_size / chunk_size``
    features and the others of ``hidden_size``::

        master_i, master_f = 1 - cumsum(softmax(mi)), cumsum(softmax(mf))
        both = master_i * master_f
        forget = sigmoid(f) * both + master_f - both
        input = sigmoid(i) * both + master_i - both
        c_t = forget * c_{t-1} + input * tanh(g)
        h_t = sigmoid(o) * tanh(c_t)

    where the master gates are repeated over their chunks. The forward pass of a layer over all time
    steps is one native operation, and so is its backward pass. All gates are blocks of rows of one
    :class:`SparseWeight`.

    Args:
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        chunk_size: number of units that share master gates; it divides hidden_size.
        **options: the other arguments of :class:`SparseRecurrent` by name: bias, batch_first,
            dropout, bidirectional, device, dtype, input_density, gain, generator,
            checkpoint_every.

    Parameters are named as in ``torch.nn.LSTM`` with ``.values`` for the sparse ones.

    Example:
        >>> lstm = SparseONLSTM(64, 1150, chunk_size=10, density=0.45)
        >>> y, (h_n, c_n) = lstm(torch.randn(50, 32, 64))
        >>> y.shape, c_n.shape
        (torch.Size([50, 32, 1150]), torch.Size([1, 32, 1150]))
    """

    options: ClassVar[dict[str, Option]] = {**SparseRecurrent.options, "chunk_size": COUNT}
    chunk_size: int
    states = ("h0", "c0")
    resettable = True
    bf16_devices = ("cpu",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        chunk_size: int,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, density=density, chunk_size=chunk_size, **options
        )

    @property
    def blocks(self) -> tuple[int, ...]:
        """Rows of each gate: two master gates, then four gates of ``hidden_size`` rows."""
        return (self.hidden_size // self.chunk_size,) * 2 + (self.hidden_size,) * 4

    # Each class has a forward of its own: torch.compile counts recompilations by function.
    def forward(
        self,
        input: Tensor,
        hx: tuple[Tensor, Tensor] | None = None,
        *,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run the network over whole sequences: :meth:`Recurrent.forward` with ``(h0, c0)``."""
        return super().forward(input, hx, resets=resets)

    def check_options(self) -> None:
        """Raise ValueError for a ``chunk_size`` that does not divide ``hidden_size``."""
        if self.hidden_size % self.chunk_size:
            raise ValueError(
                f"expected chunk_size that divides hidden_size {self.hidden_size}, found "
                f"{self.chunk_size}"
            )

    def run_cell(
        self,
        layer: str,
        x: Tensor,
        w_input: Tensor | None,
        state: tuple[Tensor | None, ...],
        bias: Tensor | None,
        resets: Tensor | None = None,
    ) -> Ran:
        """Run one layer in one operation."""
        weight = getattr(self, f"weight_hh_{layer}")
        h0, c0 = state
        h, c_n = ops.on_lstm(x, h0, c0, bias, weight.values, weight.pattern, resets=resets)
        return Ran(h, (h[-1], c_n))
