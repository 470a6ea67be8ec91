"""Cells with a reset gate and no counterpart in torch, against what people would write today.

- masked: the cell in PyTorch's own operations with the weight ``W * M``, a loop over time. The mask
  is applied once per training step and the inputs of all steps are multiplied at once: the fastest
  way to write it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._contest import Contestant
from benchmarks.cells.family import Case, Family, loop, parameters
from sparse_engine.nn.cells import CellEntry
from sparse_engine.ops import Pattern


class ResetGated(Family):
    """Contestants that compute the function of such a network.

    Attributes:
        entry: the cell.
    """

    cases = (Case(1024, 0.05), Case(1024, 0.01))
    entry: ClassVar[CellEntry]

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.sparse = self.entry(case.inputs, case.hidden, density=case.density)
        weight = self.sparse.weight_hh_l0
        self.mask = weight.pattern.dense(torch.ones(weight.nnz))
        self.leaves = {
            name: (weight.to_dense() if name == "links" else leaf).detach().clone().requires_grad_()
            for name, leaf in parameters(self.sparse).items()
        }

    @property
    def pattern(self) -> Pattern:
        return self.sparse.weight_hh_l0.pattern

    def contestants(self) -> dict[str, Contestant]:
        return {
            "sparse_engine": Contestant(lambda: self.sparse(self.x)[0], parameters(self.sparse)),
            "masked": Contestant(self.masked, self.leaves),
        }

    def masked(self) -> Tensor:
        step = self.sparse.cell.step
        weight, bias = (self.leaves["links"] * self.mask).T, self.leaves["bias_hh_l0"]
        inputs = functional.linear(self.x, self.leaves["w_input"], self.leaves["bias"])
        zeros = self.x.new_zeros(self.case.batch, self.case.hidden)
        return loop(
            inputs, lambda v, h: step(v, lambda h: torch.addmm(bias, h, weight), (h,))[0], zeros
        )


def family_of(entry: CellEntry) -> type[ResetGated]:
    """The contestants of a cell."""
    return type(entry.network.__name__, (ResetGated,), {"entry": entry})
