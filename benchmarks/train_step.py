"""One training step, forward and backward: SparseRNN against what people use today.

The contestants have the same weights and compute the same function:

- masked: h_t = tanh(x_t W_ih^T + b + h_{t-1} (W * M)^T), a loop over time in PyTorch. The mask is
  applied once per training step, which is the best a masked network can do.
- masked each step: the same with the mask applied inside the cell, as most code has it.
- nn.RNN: the dense network, which has no sparsity at all.
- torch CSR: the loop with torch.sparse's CSR matrix and autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor

from benchmarks.harness import Options, measure, progress, report, step
from benchmarks.ops.case import torch_csr
from sparse_engine.nn import SparseRNN


@dataclass(frozen=True)
class Case:
    """Sizes of one row, and the ratio that it must reach."""

    hidden: int
    density: float
    steps: int = 50
    batch: int = 32
    inputs: int = 64
    against: str = "masked"
    target: float | None = None


CASES = [
    Case(1024, 0.10, target=9),
    Case(1024, 0.05, target=11),
    Case(1024, 0.01, target=16),
    Case(4096, 0.10, target=18),
    Case(4096, 0.05, target=30),
    Case(4096, 0.01, target=70),
    Case(128, 0.05, steps=500, batch=12, inputs=1, against="nn.RNN", target=4),
]
QUICK = [Case(64, 0.1, steps=5, batch=4, inputs=3)]


def loop(x: Tensor, cell: Callable[[Tensor, Tensor], Tensor], hidden: int) -> Tensor:
    """The states of a cell over a sequence."""
    h = x.new_zeros(x.shape[1], hidden)
    states = []
    for x_t in x:
        h = cell(x_t, h)
        states.append(h)
    return torch.stack(states)


class Contest:
    """One case's networks, all of the same weights, with the same input and upstream gradient."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.sparse = SparseRNN(case.inputs, case.hidden, density=case.density)
        self.dense = self.sparse.to_dense()
        weight = self.sparse.weight_hh_l0
        self.mask = weight.to_dense().detach() != 0
        self.w_input = self.sparse.weight_ih_l0.detach().clone().requires_grad_()
        self.bias = (self.sparse.bias_ih_l0 + self.sparse.bias_hh_l0).detach().requires_grad_()
        self.w_dense = weight.to_dense().detach().requires_grad_()
        self.w_csr = torch_csr(weight).requires_grad_()
        self.x = torch.randn(case.steps, case.batch, case.inputs)
        self.upstream = torch.randn(case.steps, case.batch, case.hidden)

    def run_sparse(self) -> Tensor:
        return self.sparse(self.x)[0]

    def run_masked(self) -> Tensor:
        weight = self.w_dense * self.mask

        def cell(x, h):
            return torch.tanh(x @ self.w_input.T + self.bias + h @ weight.T)

        return loop(self.x, cell, self.case.hidden)

    def run_masked_each_step(self) -> Tensor:
        def cell(x, h):
            weight = self.w_dense * self.mask
            return torch.tanh(x @ self.w_input.T + self.bias + h @ weight.T)

        return loop(self.x, cell, self.case.hidden)

    def run_dense(self) -> Tensor:
        return self.dense(self.x)[0]

    def run_csr(self) -> Tensor:
        def cell(x, h):
            return torch.tanh(x @ self.w_input.T + self.bias + (self.w_csr @ h.T).T)

        return loop(self.x, cell, self.case.hidden)

    def contestants(self) -> dict[str, Callable[[], Tensor]]:
        """The forward pass of each, by name."""
        contestants = {
            "sparse_engine": self.run_sparse,
            "masked": self.run_masked,
            "masked each step": self.run_masked_each_step,
            "nn.RNN": self.run_dense,
            "torch CSR": self.run_csr,
        }
        if self.case.hidden > 2048:  # more than ten seconds a step, and nothing new
            del contestants["masked each step"]
        return contestants

    def leaves(self, name: str) -> list[Tensor]:
        """What receives a gradient from a contestant."""
        modules = {"sparse_engine": self.sparse, "nn.RNN": self.dense}
        if name in modules:
            return [*modules[name].parameters()]
        return [self.w_input, self.bias, self.w_csr if name == "torch CSR" else self.w_dense]

    def check(self) -> None:
        """All contestants compute the same states."""
        results = {name: run().detach() for name, run in self.contestants().items()}
        for name, states in results.items():
            torch.testing.assert_close(
                states,
                results["sparse_engine"],
                rtol=1e-3,
                atol=1e-4,
                msg=lambda m, n=name: f"{n}: {m}",
            )

    def steps(self) -> dict[str, Callable[[], None]]:
        """A training step of each: its gradients cleared, forward, backward."""
        return {
            name: step(forward, self.leaves(name), self.upstream)
            for name, forward in self.contestants().items()
        }


def run(options: Options) -> None:
    """Measures all cases and reports them."""
    options.prepare()
    rows = []
    for case in progress(QUICK if options.quick else CASES, "train_step"):
        contest = Contest(case)
        contest.check()
        median = measure(contest.steps(), seconds=options.seconds)
        ours = median["sparse_engine"]
        row = {
            "hidden": case.hidden,
            "density": case.density,
            "T": case.steps,
            "B": case.batch,
            "ms": 1e3 * ours,
        }
        row |= {f"{name} ms": 1e3 * median[name] for name in median if name != "sparse_engine"}
        row |= {f"x {name}": median[name] / ours for name in median if name != "sparse_engine"}
        rows.append(row | {"target": f"{case.target} x {case.against}"})
    report("train_step", rows, options)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
