"""SparseRNN in bfloat16, as autocast makes it, against itself in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks._contest import Contestant
from benchmarks.cells.family import Case, Family, parameters
from sparse_engine.nn import SparseRNN
from sparse_engine.ops import Pattern


class BFloat16(Family):
    """The same network twice."""

    cases = (
        Case(4096, 0.05, against="float32"),
        Case(16384, 0.01, against="float32", target=1.3),
    )
    tolerance = 0.05

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.sparse = SparseRNN(case.inputs, case.hidden, density=case.density)

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
