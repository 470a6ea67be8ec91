"""The liquid time-constant network: SparseLTC against dense synapses in plain torch.

- dense: synapses between all pairs of units. Their matrices are made once per training step from
  the entries of the links, with W = 0 at all other pairs, which costs what ``W * M`` would. Each
  unfold makes one array ``sigmoid(sigma * (v - mu))`` of batch x units x units, and both sums over
  it are one batched product with W and W * erev: written as the equations read, it would make and
  keep several such arrays. The sensory sums are taken once per time step.

For the backward pass autograd keeps the array of each unfold, 0.8 GB for a time step of 1024 units
and a batch of 32. T = 50 would take 40 GB, T = 4 stays below 5; both sides take time in proportion
to T.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks._contest import Contestant
from benchmarks.cells.family import Case, Family, loop
from sparse_engine.nn import SparseLTC
from sparse_engine.ops import Pattern, Synapses


class Ltc(Family):
    """Contestants that compute SparseLTC's function."""

    cases = (Case(1024, 0.05, steps=4, against="dense", target=10),)

    def __init__(self, case: Case, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(case)
        self.x, self.upstream = self.x.to(dtype), self.upstream.to(dtype)
        self.sparse = SparseLTC(case.inputs, case.hidden, density=case.density, dtype=dtype)
        self.leaves = {
            name: parameter.detach().clone().requires_grad_()
            for name, parameter in self.sparse.named_parameters()
        }

    @property
    def pattern(self) -> Pattern:
        return self.sparse.weight_hh_l0.pattern

    def to_check(self) -> Ltc:
        # The gradient of cm sums what potentials changed by, numbers that nearly cancel: in float32
        # both sides are up to 7e-4 of the greatest away from the true one.
        return Ltc(self.case, torch.float64)

    def contestants(self) -> dict[str, Contestant]:
        own, dtype = dict(self.sparse.named_parameters()), self.x.dtype
        return {
            "sparse_engine": Contestant(lambda: self.sparse(self.x)[0], own, dtype),
            "dense": Contestant(self.dense, self.leaves, dtype),
        }

    def dense(self) -> Tensor:
        gleak, vleak, cm, input_w, input_b = (
            self.leaves[f"{name}_l0"] for name in ("gleak", "vleak", "cm", "input_w", "input_b")
        )
        sensory, synaptic = self.sums("weight_ih_l0"), self.sums("weight_hh_l0")

        def cell(x: Tensor, v: Tensor) -> Tensor:
            drive, open_ = sensory(x)
            drive, open_ = drive + gleak * vleak, open_ + gleak + cm
            for _ in range(self.sparse.unfolds):
                current, conductance = synaptic(v)
                v = (cm * v + drive + current) / (open_ + conductance)
            return v

        zeros = self.x.new_zeros(self.case.batch, self.case.hidden)
        return loop(self.x * input_w + input_b, cell, zeros)

    def sums(self, name: str) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """The current and the conductance of every unit, from the potentials of the sources."""
        pattern = self.sparse.get_submodule(name).pattern
        weight, mu, sigma, erev = (
            pattern.dense(self.leaves[f"{name}.{field}"]) for field in Synapses._fields
        )
        both, offset = torch.stack([weight * erev, weight], -1), -sigma * mu

        def run(x: Tensor) -> tuple[Tensor, Tensor]:
            gate = torch.sigmoid(torch.addcmul(offset, sigma, x.unsqueeze(-2)))
            return torch.einsum("bji,jik->bjk", gate, both).unbind(-1)

        return run
