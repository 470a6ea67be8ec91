"""Recurrent cells, and their registry for tests, benchmarks and documentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn

from sparse_engine.nn.cells.ctrnn import SparseCTRNN
from sparse_engine.nn.cells.gru import SparseGRU
from sparse_engine.nn.cells.lstm import SparseLSTM
from sparse_engine.nn.cells.ltc import SparseLTC
from sparse_engine.nn.cells.mgu import SparseMGU
from sparse_engine.nn.cells.neural_ode import SparseNeuralODE
from sparse_engine.nn.cells.on_lstm import SparseONLSTM
from sparse_engine.nn.cells.rate_rnn import SparseRateRNN
from sparse_engine.nn.cells.rhn import SparseRHN
from sparse_engine.nn.cells.rnn import SparseRNN
from sparse_engine.nn.options import STACK
from sparse_engine.nn.recurrent import Recurrent

__all__ = [
    "CELLS",
    "SparseCTRNN",
    "SparseGRU",
    "SparseLSTM",
    "SparseLTC",
    "SparseMGU",
    "SparseNeuralODE",
    "SparseONLSTM",
    "SparseRHN",
    "SparseRNN",
    "SparseRateRNN",
]


@dataclass(frozen=True)
class CellEntry:
    """Recurrent cell: its class, its reference implementation, and what it supports.

    Calling the entry makes a network: ``entry(input_size, hidden_size, density=..., **options)``.
    Options without a default in the class get the small values in ``required``.

    Attributes:
        network: class of the network.
        required: values of the options without a default, for a ``hidden_size`` that 7 divides.
        cuda: whether there are kernels for a GPU.
    """

    network: type[Recurrent]
    required: Mapping[str, Any] = field(default_factory=dict)
    cuda: bool = True

    def __call__(self, *arguments: Any, **options: Any) -> Recurrent:
        """Return a network, with options that are not given from ``required``."""
        return self.network(*arguments, **{**self.required, **options})

    @property
    def operation(self) -> str:
        """The name of the native operation, ``sparse_engine.ops.<operation>``."""
        return self.network.cell_type.operation.__name__

    @property
    def reference(self) -> Callable:
        """The reference implementation of the operation in plain torch."""
        return self.network.cell_type.operation.reference

    @property
    def options(self) -> tuple[str, ...]:
        """The arguments that describe the network, without its densities."""
        cell = self.network.cell_type
        own = [each.name for each in fields(cell) if each.repr]
        return *(name for name in STACK if name not in cell.lacks), *own

    @property
    def dense(self) -> type[nn.RNNBase] | None:
        """The counterpart in torch.nn, for ``from_dense`` and ``to_dense``, or None."""
        return self.network.cell_type.dense_type

    @property
    def packed(self) -> bool:
        """Whether the network takes sequences of different lengths."""
        return self.network.cell_type.packable

    @property
    def bf16_devices(self) -> tuple[str, ...]:
        """The types of devices on which activations stay in bfloat16 under autocast."""
        return self.network.cell_type.bf16_devices

    @property
    def timespans(self) -> bool:
        """Whether the network takes timespans: how long each input is held."""
        return self.network.cell_type.timed

    @property
    def gradient_growth(self) -> bool:
        """Whether methods such as RigL can grow links by the gradient of absent ones."""
        return self.network.cell_type.gradient_growth

    @property
    def layer_norm(self) -> bool:
        """Whether the network has layer normalisation as an option."""
        return "layer_norm" in self.options


#: Every cell of the package, by name.
CELLS: dict[str, CellEntry] = {
    "rnn": CellEntry(SparseRNN),
    "lstm": CellEntry(SparseLSTM),
    "gru": CellEntry(SparseGRU),
    "mgu": CellEntry(SparseMGU),
    "rhn": CellEntry(SparseRHN, {"recurrence_depth": 2}),
    "on_lstm": CellEntry(SparseONLSTM, {"chunk_size": 7}),
    "ctrnn": CellEntry(SparseCTRNN),
    "rate_rnn": CellEntry(SparseRateRNN),
    "neural_ode": CellEntry(SparseNeuralODE),
    "ltc": CellEntry(SparseLTC),
}
