"""The Elman network with sparse recurrent weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn

from sparse_engine import ops
from sparse_engine.nn._step import step_of_cell
from sparse_engine.nn.cell import Layer
from sparse_engine.nn.cells.layer_norm import LayerNormed
from sparse_engine.nn.options import option
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops._sequence import check_one_of
from sparse_engine.ops.gated import ACTIVATIONS


@dataclass(frozen=True, kw_only=True)
class RNN(LayerNormed):
    """Elman's unit (1990): ``h_t = act(W_ih x_t + W_hh h_{t-1} + b)``."""

    nonlinearity: str = option(partial(check_one_of, ACTIVATIONS), "tanh")

    dense_type: ClassVar[type[nn.RNNBase]] = nn.RNN
    unitwise: ClassVar[bool] = True
    torch_options: ClassVar[tuple[str, ...]] = ("nonlinearity",)
    most_fused_inputs: ClassVar[int] = 128
    bf16_devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    operation: ClassVar[Any] = ops.rnn
    normed_operation: ClassVar[Any] = ops.normed_rnn
    step_kernel: ClassVar[Any] = native.rnn_step.default

    def step_options(self) -> tuple | None:
        """Return the arguments of the step's kernel, or None where it lacks an option."""
        return None if self.layer_norm else (ACTIVATIONS[self.nonlinearity],)

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return the nonlinearity."""
        return {"nonlinearity": self.nonlinearity}


class SparseRNN(Recurrent):
    """:class:`torch.nn.RNN` whose recurrent weights exist only as links.

    ``h_t = act(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)``. Arguments, shapes and results are
    those of ``torch.nn.RNN``; further arguments are keyword-only.

    Args:
        layer_norm: whether ``W_ih x`` and ``W_hh h`` are normalised, as in :class:`SparseLSTM`.
        **options: the keyword-only arguments of :class:`Recurrent`.

    Example:
        >>> rnn = SparseRNN(64, 1024, density=0.05)
        >>> y, h_n = rnn(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = RNN
    step_kernel = step_of_cell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        layers = input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        super().__init__(*layers, device, dtype, nonlinearity=nonlinearity, **options)
