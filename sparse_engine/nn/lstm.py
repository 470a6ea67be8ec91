"""The LSTM with sparse recurrent weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sparse_engine import ops
from sparse_engine.nn._drop_in import DropIn
from sparse_engine.nn._sparse_recurrent import last_states, note_recurrence, notes


class SparseLSTM(DropIn):
    """:class:`torch.nn.LSTM` whose recurrent weights exist only as links.

    With ``i, f, g, o`` the four blocks of ``x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh``:
    ``c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)`` and ``h_t = sigmoid(o) tanh(c_t)``, every time
    step of every layer in one native operation each way. The gates of one matrix are one
    :class:`SparseWeight` of ``4 * hidden_size`` rows. Arguments, shapes and results are those of
    ``torch.nn.LSTM``; what is added is keyword-only.

    Args:
        input_size: features of the input.
        hidden_size: units of each layer.
        num_layers: layers, stacked.
        bias: whether there are b_ih and b_hh.
        batch_first: input and output are [batch, steps, features] instead of
            [steps, batch, features].
        dropout: share of each layer's output (but the last's) that is dropped in training.
        bidirectional: a second network reads each sequence backwards.
        proj_size: 0; projections are not supported.
        device: where the parameters are put.
        dtype: float32 or float64.
        density: share of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        input_density: the same for layer 0's input weights; at 1.0 they are an ordinary dense
            parameter.
        gain: scale of the initial sparse values, see :meth:`SparseWeight.erdos_renyi`.
        generator: source of randomness on the CPU.
        checkpoint_every: for long sequences: training keeps the state after so many steps only, and
            computes the steps between once more in the backward pass.
        layer_norm: whether ``W_ih x`` and ``W_hh h`` are normalised over their features, each with
            a gain and an offset of its own (Ba et al. 2016), and c
            where h is made of it. Every step is then a few operations, which takes several times as
            long.

    Parameters are named as in ``torch.nn.LSTM`` with ``.values`` for the sparse ones.

    Example:
        >>> lstm = SparseLSTM(64, 1024, density=0.05)
        >>> y, (h_n, c_n) = lstm(torch.randn(50, 32, 64))
        >>> y.shape, c_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    packable = True
    dense_type = nn.LSTM
    settings = (*DropIn.settings, "proj_size")
    gates = 4
    normed_states = ("c",)
    most_fused_inputs = 128
    states = ("h0", "c0")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        density: float,
        input_density: float = 1.0,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
        checkpoint_every: int | None = None,
        layer_norm: bool = False,
    ) -> None:
        super().__init__(
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            device=device,
            dtype=dtype,
            density=density,
            input_density=input_density,
            gain=gain,
            generator=generator,
            checkpoint_every=checkpoint_every,
            layer_norm=layer_norm,
        )

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: tuple[Tensor, Tensor] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """Runs the network over whole sequences.

        Args:
            x: ``[steps, batch, input_size]`` (``[batch, steps, input_size]`` with batch_first),
                or ``[steps, input_size]`` for a single sequence; or a PackedSequence, whose order
                of sequences the states share.
            state: ``(h0, c0)``, each ``[num_layers * directions, batch, hidden_size]``, without
                the batch for a single sequence; zeros by default.
            lengths: how many steps each sequence has, ``[batch]`` integers on the CPU; what follows
                in ``x`` is not read, and the output there is zero. By default all have all steps.

        Returns:
            The last layer's output of every step, ``[steps, batch, directions * hidden_size]``
            (or as ``x`` is laid out or packed), and every layer's final ``(h_n, c_n)``, each of the
            shape of ``h0``.

        Raises:
            ValueError: a shape does not fit, there is no step, or a length is wrong.
            TypeError: the state is not a pair.
        """
        if state is not None and (not isinstance(state, (tuple, list)) or len(state) != 2):
            raise TypeError(f"expected a pair (h0, c0), found {_described(state)}")
        y, h_n, c_n = self._run(x, *(state or (None, None)), lengths=lengths)
        return y, (h_n, c_n)

    def _configure(self, settings: Mapping[str, object]) -> None:
        super()._configure(settings)
        if self.proj_size != 0:
            raise ValueError(
                f"expected proj_size 0 (projections are not supported), found {self.proj_size}"
            )

    def _cell(
        self,
        name: str,
        x: Tensor,
        w_input: Tensor | None,
        initial: tuple[Tensor | None, ...],
        bias: Tensor | None,
        batch_sizes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        weight = getattr(self, f"weight_hh_{name}")
        h, c_n = ops.lstm(
            x,
            *initial,
            bias,
            weight.values,
            weight.pattern,
            w_input=w_input,
            batch_sizes=batch_sizes,
        )
        if notes(weight):
            x.register_hook(
                partial(note_recurrence, weight, h.detach(), initial[0], batch_sizes=batch_sizes)
            )
        return h, last_states(h, batch_sizes), c_n

    def _normed_step(
        self, norms: nn.ModuleDict, z: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        i, f, g, o = z.chunk(4, -1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(norms["c"](c)), c


def _described(state: object) -> str:
    kind = type(state).__name__
    return f"{kind} of {len(state)}" if isinstance(state, (tuple, list)) else kind
