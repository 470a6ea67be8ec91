"""The recurrent highway network's contestants.

- masked: the cell in PyTorch's own operations with the weights ``R * M``, a loop over time and
  levels. The masks are applied once per training step and the inputs of all steps are multiplied at
  once: the fastest way to write it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._contest import Contestant
from benchmarks.cells.family import Case, Family
from sparse_engine.nn import SparseRHN
from sparse_engine.ops import Pattern


class Highway(Family):
    """Contestants that compute SparseRHN's function, with coupled gates and a depth of 10.

    Selfish-RNN's network has 830 inputs and units and a density of 47 %.
    """

    cases = (
        Case(830, 0.472, steps=35, batch=20, inputs=830),
        Case(1024, 0.10),
        Case(1024, 0.05),
        Case(1024, 0.01),
    )
    depth = 10

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.sparse = SparseRHN(
            case.inputs, case.hidden, recurrence_depth=self.depth, density=case.density
        )
        levels = self.sparse.weight_hh_l0
        self.w_input = self.sparse.weight_ih_l0.detach().clone().requires_grad_()
        self.bias = self.sparse.bias_hh_l0.detach().clone().requires_grad_()
        self.dense = [weight.to_dense().detach().requires_grad_() for weight in levels]
        self.masks = [weight.pattern.dense(torch.ones(weight.nnz)) for weight in levels]

    @property
    def pattern(self) -> Pattern:
        return self.sparse.weight_hh_l0[0].pattern

    def contestants(self) -> dict[str, Contestant]:
        own = {
            "w_input": self.sparse.weight_ih_l0,
            "bias": self.sparse.bias_hh_l0,
            "links": self.sparse.weight_hh_l0[0].values,
        }
        own |= {
            f"links {level}": weight.values
            for level, weight in enumerate(self.sparse.weight_hh_l0)
            if level > 0
        }
        dense = {"w_input": self.w_input, "bias": self.bias, "links": self.dense[0]}
        dense |= {f"matrix {level}": weight for level, weight in enumerate(self.dense) if level > 0}
        return {
            "sparse_engine": Contestant(lambda: self.sparse(self.x)[0], own),
            "masked": Contestant(self.masked, dense),
        }

    def masked(self) -> Tensor:
        weights = [w * mask for w, mask in zip(self.dense, self.masks, strict=True)]
        states, s = [], self.x.new_zeros(self.case.batch, self.case.hidden)
        for step in functional.linear(self.x, self.w_input):
            for level, weight in enumerate(weights):
                u = torch.addmm(self.bias[level], s, weight.T)
                h, t = (u + step if level == 0 else u).chunk(2, -1)
                s = torch.lerp(s, torch.tanh(h), torch.sigmoid(t))
            states.append(s)
        return torch.stack(states)
