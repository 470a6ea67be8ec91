"""LSTM and GRU: SparseLSTM and SparseGRU against what people use today.

- masked: the cell in PyTorch's own operations with the weight ``W * M``, a loop over time. The mask
  is applied once per training step and the inputs of all steps are multiplied at once: the fastest
  way to write it.
- nn.LSTM, nn.GRU: the dense network, which has no sparsity at all.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._contest import Contestant
from benchmarks.cells.family import Case, Family, parameters
from sparse_engine.nn import SparseGRU, SparseLSTM, SparseWeight
from sparse_engine.ops import Pattern


class Gated(Family):
    """Contestants that compute the function of a network with gates.

    Attributes:
        network: its sparse form.
        dense_name: of its form in torch.
    """

    network: type[SparseLSTM] | type[SparseGRU]
    dense_name: str

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.sparse = self.network(
            case.inputs, case.hidden, density=case.density, input_density=case.input_density
        )
        self.dense = self.sparse.to_dense()
        self.leaves = {
            name: leaf.detach().clone().requires_grad_()
            for name, leaf in parameters(self.dense).items()
        }
        self.masks = {
            name: pattern.dense(torch.ones(pattern.nnz)) for name, pattern in self.patterns.items()
        }

    @property
    def pattern(self) -> Pattern:
        return self.sparse.weight_hh_l0.pattern

    @property
    def patterns(self) -> dict[str, Pattern]:
        weight = self.sparse.weight_ih_l0
        sparse_input = {"w_input": weight.pattern} if isinstance(weight, SparseWeight) else {}
        return super().patterns | sparse_input

    def contestants(self) -> dict[str, Contestant]:
        return {
            "sparse_engine": Contestant(lambda: self.sparse(self.x)[0], parameters(self.sparse)),
            "masked": Contestant(self.masked, self.leaves),
            self.dense_name: Contestant(lambda: self.dense(self.x)[0], parameters(self.dense)),
        }

    def masked(self) -> Tensor:
        masked = {name: self.leaves[name] * mask for name, mask in self.masks.items()}
        leaves = self.leaves | masked
        inputs = functional.linear(self.x, leaves["w_input"], leaves["bias"])
        return self.states(inputs, leaves["links"], leaves["bias_hh_l0"])

    @abstractmethod
    def states(self, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """All h, from the input's contribution at every step and the recurrent weight."""

    def zeros(self) -> Tensor:
        return self.x.new_zeros(self.case.batch, self.case.hidden)
