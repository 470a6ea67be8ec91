"""The ordered-neurons LSTM with sparse recurrent weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor
from typing_extensions import Unpack

from sparse_engine import ops
from sparse_engine.nn._checks import check_integer
from sparse_engine.nn._options import RecurrentOptions
from sparse_engine.nn._sparse_recurrent import SparseRecurrent, note_recurrence, notes, pair


class SparseONLSTM(SparseRecurrent):
    """Ordered-neurons LSTM (Shen et al. 2019) whose recurrent weights exist only as links.

    Units come in chunks of ``chunk_size`` neighbours, each of which has a master input gate and a
    master forget gate. With ``mi, mf, o, g, i, f`` the blocks of
    ``x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh``, the first two of ``hidden_size / chunk_size``
    features and the others of ``hidden_size``::

        master_i, master_f = 1 - cumsum(softmax(mi)), cumsum(softmax(mf))
        both = master_i * master_f
        forget = sigmoid(f) * both + master_f - both
        input = sigmoid(i) * both + master_i - both
        c_t = forget * c_{t-1} + input * tanh(g)
        h_t = sigmoid(o) * tanh(c_t)

    with the masters repeated over their chunks; every time step of every layer in one native
    operation each way. All gates of one matrix are one :class:`SparseWeight`.

    Args:
        input_size: features of the input.
        hidden_size: units of each layer.
        num_layers: layers, stacked.
        density: share of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        chunk_size: units that share their masters; divides hidden_size.
        **options: by name, what else :class:`SparseRecurrent` takes: bias, batch_first, dropout,
            bidirectional, device, dtype, input_density, gain, generator, checkpoint_every.

    Parameters are named as in ``torch.nn.LSTM`` with ``.values`` for the sparse ones.

    Example:
        >>> lstm = SparseONLSTM(64, 1150, chunk_size=10, density=0.45)
        >>> y, (h_n, c_n) = lstm(torch.randn(50, 32, 64))
        >>> y.shape, c_n.shape
        (torch.Size([50, 32, 1150]), torch.Size([1, 32, 1150]))
    """

    settings = (*SparseRecurrent.settings, "chunk_size")
    states = ("h0", "c0")
    narrow = ("cpu",)

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
    def rows(self) -> int:
        """Of each weight: those of the masters, then four gates."""
        return 2 * (self.hidden_size // self.chunk_size) + 4 * self.hidden_size

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Runs the network over whole sequences.

        Args:
            input: ``[steps, batch, input_size]`` (``[batch, steps, input_size]`` with batch_first),
                or ``[steps, input_size]`` for a single sequence.
            hx: ``(h0, c0)``, each ``[num_layers * directions, batch, hidden_size]``, without
                the batch for a single sequence; zeros by default.

        Returns:
            The last layer's output of every step, ``[steps, batch, directions * hidden_size]``
            (or as ``input`` is laid out), and every layer's final ``(h_n, c_n)``, each of the shape
            of ``h0``.

        Raises:
            InputError: a shape or dtype does not fit, or there is no step.
            TypeError: the state is no pair of tensors, or the input no tensor.
        """
        y, h_n, c_n = self._run(input, *pair(hx))
        return y, (h_n, c_n)

    def _configure(self, settings: Mapping[str, object]) -> None:
        super()._configure(settings)
        check_integer("chunk_size", self.chunk_size, least=1)
        if self.hidden_size % self.chunk_size:
            raise ValueError(
                f"expected chunk_size that divides hidden_size {self.hidden_size}, found "
                f"{self.chunk_size}"
            )

    def _cell(
        self,
        name: str,
        x: Tensor,
        w_input: Tensor | None,
        initial: tuple[Tensor | None, ...],
        bias: Tensor | None,
    ) -> tuple[Tensor, ...]:
        weight = getattr(self, f"weight_hh_{name}")
        h, c_n = ops.on_lstm(x, *initial, bias, weight.values, weight.pattern)
        if notes(weight):
            x.register_hook(partial(note_recurrence, weight, h.detach(), initial[0]))
        return h, h[-1], c_n
