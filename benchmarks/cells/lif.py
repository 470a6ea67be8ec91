"""Spiking networks against the loop that people write today.

- masked: the equations in PyTorch's own operations with the weight ``W * M``, a loop over time. The
  mask is applied once per training step and the inputs of all steps are multiplied at once.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._contest import Contestant
from benchmarks.cells.family import Case, Family, parameters
from sparse_engine.nn import SparseLIF
from sparse_engine.ops import Pattern


class Spiking(Family):
    """Contestants that compute SparseLIF's function."""

    cases = (Case(1024, 0.05), Case(1024, 0.01), Case(4096, 0.01))

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.sparse = SparseLIF(case.inputs, case.hidden, density=case.density)
        weight = self.sparse.weight_hh_l0
        biases = (self.sparse.bias_ih_l0, self.sparse.bias_hh_l0)
        self.dense = {
            "w_input": self.sparse.weight_ih_l0.detach().clone().requires_grad_(),
            "links": weight.to_dense().detach().requires_grad_(),
            "bias": sum(biases).detach().requires_grad_(),
        }
        self.mask = weight.pattern.dense(torch.ones(weight.nnz))

    @property
    def pattern(self) -> Pattern:
        return self.sparse.weight_hh_l0.pattern

    def contestants(self) -> dict[str, Contestant]:
        return {
            "sparse_engine": Contestant(lambda: self.sparse(self.x)[0], parameters(self.sparse)),
            "masked": Contestant(self.masked, self.dense),
        }

    def masked(self) -> Tensor:
        weight, unit = (self.dense["links"] * self.mask).T, self.sparse.cell.unit
        inputs = functional.linear(self.x, self.dense["w_input"], self.dense["bias"])
        spikes = v = i = self.x.new_zeros(self.case.batch, self.case.hidden)
        outputs = []
        for each in inputs:
            i = i + torch.addmm(each, spikes, weight)
            v = unit.leak * v + unit.of_current * i
            i = unit.decay * i
            spikes = unit.surrogate(v - unit.threshold)
            v = torch.where(v > unit.threshold, unit.reset, v)
            outputs.append(spikes)
        return torch.stack(outputs)
