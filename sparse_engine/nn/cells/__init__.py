"""The recurrent cells, and the registry that tests, benchmarks and documentation read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from sparse_engine import ops
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
    """One recurrent cell: what makes it, what it equals, and what it supports.

    Calling the entry makes a network: ``entry(input_size, hidden_size, density=..., **options)``,
    where the options that the cell cannot do without have small values by default.

    Attributes:
        network: the class.
        operation: the native operation of a sequence, ``sparse_engine.ops.<operation>``.
        required: values of the options without a default, for ``hidden_size`` a multiple of 7.
        cuda: whether there are kernels for a GPU.
    """

    network: type[Recurrent]
    operation: str
    required: Mapping[str, object] = field(default_factory=dict)
    cuda: bool = True

    def __call__(self, *arguments: object, **options: object) -> Recurrent:
        """Return a network; what is not given is as in ``required``."""
        return self.network(*arguments, **{**self.required, **options})

    @property
    def reference(self) -> Callable:
        """The reference implementation of the operation, in plain torch."""
        return getattr(ops, f"{self.operation}_ref")

    @property
    def dense(self) -> type[nn.RNNBase] | None:
        """The counterpart in torch.nn, which ``from_dense`` takes and ``to_dense`` returns."""
        return getattr(self.network, "dense_type", None)

    @property
    def packed(self) -> bool:
        """Whether the network takes sequences of different lengths."""
        return self.network.packable

    @property
    def bf16_devices(self) -> tuple[str, ...]:
        """The types of devices on which activations stay in bfloat16 under autocast."""
        return self.network.bf16_devices

    @property
    def timespans(self) -> bool:
        """Whether the network takes how long each input is held."""
        return "dt" in self.network.step_inputs

    @property
    def gradient_growth(self) -> bool:
        """Whether rules such as RigL's can grow links by the gradient of absent ones."""
        return self.network.gradient_growth

    @property
    def layer_norm(self) -> bool:
        """Whether the network has layer normalisation as an option."""
        return "layer_norm" in self.network.options


#: Every cell of the package, by name.
CELLS: dict[str, CellEntry] = {
    "rnn": CellEntry(SparseRNN, "rnn"),
    "lstm": CellEntry(SparseLSTM, "lstm"),
    "gru": CellEntry(SparseGRU, "gru"),
    "mgu": CellEntry(SparseMGU, "mgu"),
    "rhn": CellEntry(SparseRHN, "rhn", {"recurrence_depth": 2}),
    "on_lstm": CellEntry(SparseONLSTM, "on_lstm", {"chunk_size": 7}),
    "ctrnn": CellEntry(SparseCTRNN, "ctrnn"),
    "rate_rnn": CellEntry(SparseRateRNN, "rate_rnn"),
    "neural_ode": CellEntry(SparseNeuralODE, "ctrnn"),
    "ltc": CellEntry(SparseLTC, "ltc"),
}
