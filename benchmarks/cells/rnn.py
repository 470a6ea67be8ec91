"""The Elman network: SparseRNN against what people use today.

- masked: ``h = tanh(x_t W_ih^T + b + h (W * M)^T)``, a loop over time in PyTorch. The mask is
  applied once per training step, which is the best that a masked network can do.
- masked, input first: the same with the inputs of all steps in one product, and one fused
  multiply-add per step: the fastest way to write the dense loop.
- masked each step: the first with the mask applied inside the cell, as most code has it.
- nn.RNN: the dense network, which has no sparsity at all.
- torch CSR: the loop with torch.sparse's CSR matrix and autograd. States are hidden x batch, as
  MKL wants them. ``torch.sparse.addmm`` has a sparse weight gradient; that of ``csr @ h`` is dense.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._contest import Contestant
from benchmarks._peers import torch_csr
from benchmarks.cells.family import Case, Family, loop, parameters
from sparse_engine.nn import SparseRNN
from sparse_engine.ops import Pattern

# Above this many units, masking in every step takes more than ten seconds, and says nothing new.
MOST_MASKED_EACH_STEP = 2048


class Elman(Family):
    """Contestants that compute SparseRNN's function."""

    cases = (
        Case(1024, 0.10, target=10),
        Case(1024, 0.05, target=16),
        Case(1024, 0.01, target=30),
        Case(4096, 0.10, target=20),
        Case(4096, 0.05, target=36),
        Case(4096, 0.01, target=80),
        Case(128, 0.05, steps=500, batch=12, inputs=1, against="nn.RNN", target=4),
    )

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.sparse = SparseRNN(case.inputs, case.hidden, density=case.density)
        self.dense = self.sparse.to_dense()
        weight = self.sparse.weight_hh_l0
        self.w_input = self.sparse.weight_ih_l0.detach().clone().requires_grad_()
        self.bias = (self.sparse.bias_ih_l0 + self.sparse.bias_hh_l0).detach().requires_grad_()
        self.w_dense = weight.to_dense().detach().requires_grad_()
        self.mask = weight.pattern.dense(torch.ones(weight.nnz))
        self.w_csr = torch_csr(weight).requires_grad_()

    @property
    def pattern(self) -> Pattern:
        return self.sparse.weight_hh_l0.pattern

    def contestants(self) -> dict[str, Contestant]:
        dense = {"w_input": self.w_input, "bias": self.bias, "links": self.w_dense}
        contestants = {
            "sparse_engine": Contestant(lambda: self.sparse(self.x)[0], parameters(self.sparse)),
            "masked": Contestant(self.masked, dense),
            "masked, input first": Contestant(self.masked_input_first, dense),
            "masked each step": Contestant(self.masked_each_step, dense),
            "nn.RNN": Contestant(lambda: self.dense(self.x)[0], parameters(self.dense)),
            "torch CSR": Contestant(self.torch_csr, dense | {"links": self.w_csr}),
        }
        if self.case.hidden > MOST_MASKED_EACH_STEP:
            del contestants["masked each step"]
        return contestants

    def masked(self) -> Tensor:
        weight = self.w_dense * self.mask

        def cell(x: Tensor, h: Tensor) -> Tensor:
            return torch.tanh(x @ self.w_input.T + self.bias + h @ weight.T)

        return loop(self.x, cell, self.zeros())

    def masked_input_first(self) -> Tensor:
        weight = self.w_dense * self.mask

        def cell(z: Tensor, h: Tensor) -> Tensor:
            return torch.tanh(torch.addmm(z, h, weight.T))

        return loop(functional.linear(self.x, self.w_input, self.bias), cell, self.zeros())

    def masked_each_step(self) -> Tensor:
        def cell(x: Tensor, h: Tensor) -> Tensor:
            weight = self.w_dense * self.mask
            return torch.tanh(x @ self.w_input.T + self.bias + h @ weight.T)

        return loop(self.x, cell, self.zeros())

    def torch_csr(self) -> Tensor:
        z = functional.linear(self.x, self.w_input, self.bias).transpose(1, 2).contiguous()

        def cell(z: Tensor, h: Tensor) -> Tensor:
            return torch.tanh(torch.sparse.addmm(z, self.w_csr, h))

        return loop(z, cell, self.zeros().T.contiguous()).transpose(1, 2)

    def zeros(self) -> Tensor:
        return self.x.new_zeros(self.case.batch, self.case.hidden)
