"""Networks in continuous time against what people use today.

- masked: the equations in PyTorch's own operations with the weight ``W * M``, a loop over time and
  unfolds. The mask is applied once per training step and the inputs of all steps are multiplied at
  once: the fastest way to write it. Autograd keeps every stage.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._contest import Contestant
from benchmarks.cells.family import Case, Family, loop, parameters
from sparse_engine.nn import SparseCTRNN, SparseNeuralODE, SparseRateRNN
from sparse_engine.ops import Pattern

TAU = 0.5


class Continuous(Family):
    """Contestants that compute the function of a network in continuous time."""

    cases = (Case(1024, 0.05), Case(1024, 0.01), Case(4096, 0.01))
    sparse: SparseCTRNN | SparseNeuralODE | SparseRateRNN

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        weight = self.sparse.weight_hh_l0
        biases = (p for name, p in self.sparse.named_parameters() if name.startswith("bias"))
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
        weight = (self.dense["links"] * self.mask).T

        def cell(held: Tensor, h: Tensor) -> Tensor:
            for _ in range(self.sparse.unfolds):
                h = self.unfold(held, h, weight)
            return h

        inputs = functional.linear(self.x, self.dense["w_input"], self.dense["bias"])
        return loop(inputs, cell, self.x.new_zeros(self.case.batch, self.case.hidden))

    @abstractmethod
    def unfold(self, held: Tensor, h: Tensor, weight: Tensor) -> Tensor:
        """The state after one step of the solver."""


class Ctrnn(Continuous):
    """Contestants that compute SparseCTRNN's function."""

    def __init__(self, case: Case) -> None:
        self.sparse = SparseCTRNN(case.inputs, case.hidden, density=case.density, tau=TAU)
        super().__init__(case)

    def unfold(self, held: Tensor, h: Tensor, weight: Tensor) -> Tensor:
        dt = self.sparse.dt
        return (1 - dt / TAU) * h + dt * torch.tanh(torch.addmm(held, h, weight))


class RateRnn(Continuous):
    """Contestants that compute SparseRateRNN's function."""

    def __init__(self, case: Case) -> None:
        self.sparse = SparseRateRNN(case.inputs, case.hidden, density=case.density, tau=TAU)
        super().__init__(case)

    def unfold(self, held: Tensor, h: Tensor, weight: Tensor) -> Tensor:
        share = self.sparse.dt / TAU
        return (1 - share) * h + share * torch.addmm(held, h.relu(), weight)


class NeuralOde(Continuous):
    """Contestants that compute SparseNeuralODE's function.

    The last network is run for 10 steps, of which the masked one takes 10 seconds.
    """

    cases = (*Continuous.cases[:2], Case(4096, 0.01, steps=10))

    def __init__(self, case: Case) -> None:
        self.sparse = SparseNeuralODE(case.inputs, case.hidden, density=case.density)
        super().__init__(case)

    def unfold(self, held: Tensor, h: Tensor, weight: Tensor) -> Tensor:
        dt = self.sparse.dt
        k_1 = torch.tanh(torch.addmm(held, h, weight))
        k_2 = torch.tanh(torch.addmm(held, h + dt / 2 * k_1, weight))
        k_3 = torch.tanh(torch.addmm(held, h + dt / 2 * k_2, weight))
        k_4 = torch.tanh(torch.addmm(held, h + dt * k_3, weight))
        return h + dt / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
