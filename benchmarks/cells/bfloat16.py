"""Networks in bfloat16, as autocast makes them, against themselves in float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks._contest import Contestant
from benchmarks.cells.family import Case, Family, parameters
from sparse_engine.nn import (
    SparseCTRNN,
    SparseGRU,
    SparseLSTM,
    SparseONLSTM,
    SparseRHN,
    SparseRNN,
)
from sparse_engine.ops import Pattern


class BFloat16(Family):
    """The same network twice.

    Attributes:
        network: makes it.
    """

    network: ClassVar[Callable[..., nn.Module]] = SparseRNN
    cases = (
        Case(4096, 0.05, against="float32"),
        Case(16384, 0.01, against="float32", target=1.3),
    )
    tolerance = 0.05

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.sparse = self.network(
            case.inputs, case.hidden, density=case.density, input_density=case.input_density
        )

    @property
    def pattern(self) -> Pattern:
        return self.sparse.weight_hh_l0.pattern

    def contestants(self) -> dict[str, Contestant]:
        leaves = parameters(self.sparse)
        return {
            "sparse_engine": Contestant(self.narrow, leaves, dtype=torch.bfloat16),
            "float32": Contestant(lambda: self.sparse(self.x)[0], leaves),
        }

    def narrow(self) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.sparse(self.x)[0]


class BFloat16Lstm(BFloat16):
    """The LSTM; its last row is the shape of Selfish-RNN."""

    network = SparseLSTM
    cases = (
        Case(1024, 0.05, against="float32"),
        Case(4096, 0.05, against="float32"),
        Case(1500, 0.33, steps=35, batch=20, inputs=1500, input_density=0.33, against="float32"),
    )


class BFloat16Gru(BFloat16):
    """The GRU."""

    network = SparseGRU
    cases = (Case(1024, 0.05, against="float32"), Case(4096, 0.05, against="float32"))


class BFloat16Rhn(BFloat16):
    """The recurrent highway network, with a depth of 10; its last row is that of Selfish-RNN."""

    network = partial(SparseRHN, recurrence_depth=10)
    cases = (
        Case(1024, 0.05, against="float32"),
        Case(4096, 0.05, steps=10, against="float32"),
        Case(830, 0.472, steps=35, batch=20, inputs=830, against="float32"),
    )

    @property
    def pattern(self) -> Pattern:
        return self.sparse.weight_hh_l0[0].pattern


class BFloat16OnLstm(BFloat16):
    """The ordered-neurons LSTM in chunks of 10; its last row is Selfish-RNN's first layer."""

    network = partial(SparseONLSTM, chunk_size=10)
    cases = (
        Case(1150, 0.05, against="float32"),
        Case(4000, 0.05, against="float32"),
        Case(1150, 0.45, steps=70, batch=20, inputs=400, against="float32"),
    )
    tiny = Case(60, 0.1, steps=5, batch=4, inputs=3)


class BFloat16Ctrnn(BFloat16):
    """Six steps of Euler's method for each input."""

    network = SparseCTRNN
    cases = (Case(1024, 0.05, against="float32"), Case(4096, 0.05, against="float32"))
