"""The ordered-neurons LSTM's contestants.

- masked: the cell in PyTorch's own operations with the weight ``W * M``, a loop over time. The mask
  is applied once per training step and the inputs of all steps are multiplied at once: the fastest
  way to write it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._contest import Contestant
from benchmarks.cells.family import Case, Family, parameters
from sparse_engine.nn import SparseONLSTM
from sparse_engine.ops import Pattern


class OrderedNeurons(Family):
    """Contestants that compute SparseONLSTM's function.

    Selfish-RNN's first layer has 400 inputs, 1,150 units in chunks of 10, and a density of 45 %.
    """

    cases = (
        Case(1150, 0.45, steps=70, batch=20, inputs=400),
        Case(1150, 0.10),
        Case(1150, 0.05),
        Case(1150, 0.01),
    )
    tiny = Case(60, 0.1, steps=5, batch=4, inputs=3)
    chunk_size = 10

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.sparse = SparseONLSTM(
            case.inputs, case.hidden, chunk_size=self.chunk_size, density=case.density
        )
        weight = self.sparse.weight_hh_l0
        self.leaves = {
            name: leaf.detach().clone().requires_grad_()
            for name, leaf in parameters(self.sparse).items()
        }
        self.leaves["links"] = weight.to_dense().detach().requires_grad_()
        self.mask = weight.pattern.dense(torch.ones(weight.nnz))

    @property
    def pattern(self) -> Pattern:
        return self.sparse.weight_hh_l0.pattern

    def contestants(self) -> dict[str, Contestant]:
        return {
            "sparse_engine": Contestant(lambda: self.sparse(self.x)[0], parameters(self.sparse)),
            "masked": Contestant(self.masked, self.leaves),
        }

    def masked(self) -> Tensor:
        weight = self.leaves["links"] * self.mask
        bias = self.leaves["bias"] + self.leaves["bias_hh_l0"]
        chunks = self.case.hidden // self.chunk_size
        sizes = (chunks, chunks, *(self.case.hidden,) * 4)
        h = c = self.x.new_zeros(self.case.batch, self.case.hidden)
        states = []
        for step in functional.linear(self.x, self.leaves["w_input"], bias):
            u = torch.addmm(step, h, weight.T)
            *masters, o, g, i, f = u.split(sizes, -1)
            master_i, master_f = (
                master.softmax(-1).cumsum(-1).repeat_interleave(self.chunk_size, -1)
                for master in masters
            )
            master_i = 1 - master_i
            both = master_i * master_f
            forget = torch.sigmoid(f) * both + (master_f - both)
            c = forget * c + (torch.sigmoid(i) * both + (master_i - both)) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.stack(states)
