"""The LSTM with sparse recurrent weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn

from sparse_engine import ops
from sparse_engine.nn._step import step_of_cell
from sparse_engine.nn.cell import Layer, Maker
from sparse_engine.nn.cells.layer_norm import LayerNormed
from sparse_engine.nn.kernel_cell import captures
from sparse_engine.nn.options import check_clip, check_integer, option
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Norm
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops._sequence import finite


@dataclass(frozen=True, kw_only=True)
class LSTM(LayerNormed):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), as :class:`torch.nn.LSTM` has it."""

    proj_size: int = option(partial(check_integer, least=0), 0)
    cell_clip: float | None = option(check_clip, None)

    states: ClassVar[tuple[str, ...]] = ("h0", "c0")
    gates: ClassVar[int] = 4
    dense_type: ClassVar[type[nn.RNNBase]] = nn.LSTM
    unitwise: ClassVar[bool] = True
    torch_options: ClassVar[tuple[str, ...]] = ("proj_size",)
    normed_states: ClassVar[tuple[str, ...]] = ("c",)
    most_fused_inputs: ClassVar[int] = 256
    operation: ClassVar[Any] = ops.lstm
    normed_operation: ClassVar[Any] = ops.normed_lstm
    step_kernel: ClassVar[Any] = native.lstm_step.default

    def step_options(self) -> tuple | None:
        """Return the arguments of the step's kernel, or None where it lacks an option."""
        return None if self.layer_norm or self.proj_size else (finite(self.cell_clip),)

    def check_sizes(self, hidden_size: int) -> None:
        """Raise ValueError for a projection that is not smaller than the state, or normalised."""
        if self.proj_size >= hidden_size:
            raise ValueError(
                f"expected proj_size of at least 0 and less than hidden_size = {hidden_size}, "
                f"found {self.proj_size}"
            )
        if self.layer_norm and self.proj_size:
            raise ValueError(f"expected no proj_size beside layer_norm, found {self.proj_size}")

    def size_of(self, state: str, hidden_size: int) -> int:
        """Return the number of features of a state."""
        return self.proj_size if state == "h0" and self.proj_size else hidden_size

    def make_recurrent(self, maker: Maker, rows: int) -> dict[str, nn.Module]:
        """Return the recurrent weight, and that of the projection."""
        made = super().make_recurrent(maker, rows)
        if self.proj_size:
            made["weight_hr"] = maker.sparse(self.proj_size, maker.hidden_size)
        return made

    def weights(self, layer: Layer) -> list[SparseWeight]:
        """Return the weights that the time loop of a layer multiplies."""
        weights = super().weights(layer)
        return [*weights, layer["weight_hr"]] if self.proj_size else weights

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return the limit and the normalisation of c, and the projection."""
        given: dict[str, Any] = {"cell_clip": self.cell_clip}
        if self.layer_norm:
            given["c_norm"] = Norm.of(layer["norm"]["c"])
        return {**given, "project": layer["weight_hr"]} if self.proj_size else given

    def kernel_options(self, layer: Layer) -> dict[str, Any]:
        """Return the same, with the projection as values and pattern."""
        given = self.arguments(layer)
        if self.proj_size:
            weight = given.pop("project")
            given["projection"] = weight.values, weight.pattern
        return given

    def goes_by_steps(self, layer: Layer, sequence: Sequence) -> bool:
        """Whether a layer runs step by step, as one with a projection does for its factors."""
        captured = self.proj_size > 0 and any(map(captures, self.weights(layer)))
        return captured or super().goes_by_steps(layer, sequence)


class SparseLSTM(Recurrent):
    """:class:`torch.nn.LSTM` whose recurrent weights exist only as links.

    With ``i, f, g, o`` the four blocks of ``x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh``:
    ``c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)`` and ``h_t = sigmoid(o) tanh(c_t)``. Arguments,
    shapes and results are those of ``torch.nn.LSTM``; further arguments are keyword-only. With a
    projection (Sak et al. 2014) the output is ``h_t W_hr^T``, and each layer has a sparse
    ``weight_hr_l0``, too.

    Args:
        cell_clip: the bound to which every c is clipped, [-cell_clip, cell_clip]; clipped entries
            pass no gradient. None for no bound.
        layer_norm: whether ``W_ih x``, ``W_hh h`` and, for the output, c are normalised over their
            features, each with its own gain and offset (Ba et al. 2016). On the CPU this is part of
            the native operation, which has to wait for means and variances twice at every step; on
            a GPU every step takes several operations of PyTorch. Not with a projection.
        **options: the keyword-only arguments of :class:`Recurrent`.

    Example:
        >>> lstm = SparseLSTM(64, 1024, density=0.05)
        >>> y, (h_n, c_n) = lstm(torch.randn(50, 32, 64))
        >>> y.shape, c_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = LSTM
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
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        layers = input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        super().__init__(*layers, device, dtype, proj_size=proj_size, **options)
