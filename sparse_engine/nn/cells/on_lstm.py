"""The ordered-neurons LSTM with sparse recurrent weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sparse_engine import ops
from sparse_engine.nn.kernel_cell import KernelCell
from sparse_engine.nn.options import check_count, option
from sparse_engine.nn.recurrent import Recurrent


@dataclass(frozen=True, kw_only=True)
class ONLSTM(KernelCell):
    """Ordered-neurons LSTM (Shen et al. 2019), whose master gates order its units."""

    chunk_size: int = option(check_count)

    states: ClassVar[tuple[str, ...]] = ("h0", "c0")
    separate_biases: ClassVar[bool] = False
    packable: ClassVar[bool] = False
    operation: ClassVar[Any] = ops.on_lstm

    def check_sizes(self, hidden_size: int) -> None:
        """Raise ValueError for a ``chunk_size`` that does not divide ``hidden_size``."""
        if hidden_size % self.chunk_size:
            expected = f"expected chunk_size that divides hidden_size {hidden_size}"
            raise ValueError(f"{expected}, found {self.chunk_size}")

    def blocks(self, hidden_size: int) -> tuple[int, ...]:
        """Return the rows of two master gates, then of four gates of ``hidden_size`` rows."""
        return (hidden_size // self.chunk_size,) * 2 + (hidden_size,) * 4


class SparseONLSTM(Recurrent):
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

    where the master gates are repeated over their chunks.

    Args:
        chunk_size: number of units that share master gates; it divides hidden_size.
        **options: the other arguments of :class:`Recurrent`.

    Example:
        >>> lstm = SparseONLSTM(64, 1150, chunk_size=10, density=0.45)
        >>> y, (h_n, c_n) = lstm(torch.randn(50, 32, 64))
        >>> y.shape, c_n.shape
        (torch.Size([50, 32, 1150]), torch.Size([1, 32, 1150]))
    """

    cell_type = ONLSTM
