"""Recurrent cells, and their registry for tests, benchmarks and documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sparse_engine.nn.cell import Cell
from sparse_engine.nn.cells.ctrnn import SparseCTRNN
from sparse_engine.nn.cells.gru import SparseGRU
from sparse_engine.nn.cells.lif import SparseLIF
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
    "SparseLIF",
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
    """Network of the registry, whose options without a default have small values.

    Calling the entry makes a network: ``entry(input_size, hidden_size, density=..., **options)``.

    Attributes:
        network: class of the network.
        required: values of the options without a default, for a ``hidden_size`` that 7 divides.
    """

    network: type[Recurrent]
    required: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *arguments: Any, **options: Any) -> Recurrent:
        """Return a network, with options that are not given from ``required``."""
        return self.network(*arguments, **{**self.required, **options})

    @property
    def cell(self) -> type[Cell]:
        """The class of the network's cell, which says what the network supports."""
        return self.network.cell_type

    @property
    def options(self) -> tuple[str, ...]:
        """The arguments that describe the network, without its densities."""
        own = [each.name for each in fields(self.cell) if each.repr]
        return *(name for name in STACK if name not in self.cell.lacks), *own


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
    "lif": CellEntry(SparseLIF),
}
