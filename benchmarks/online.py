"""Learning online: a step with its gradient, against exact influence as a dense tensor in torch.

Both compute the same gradients of links, which is checked first. The dense tensor has a column for
each weight of a masked matrix, as implementations of RTRL in torch have it. Cases that would take
more than a minute or two gigabytes that way have no contestant; "influence MB" is what is kept from
step to step, and "extra MB" the most that two steps take beyond the network.

Gradients of approximations are compared with the exact one, too: for tanh networks with ten links
into each unit that have to recall their input of three steps ago, summed over 100 steps.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import tyro
from torch import Tensor
from torch.testing import assert_close

from benchmarks._harness import Options
from benchmarks._memory import extra_bytes
from benchmarks._report import progress, quartiles, report
from sparse_engine.nn import SparseRNN
from sparse_engine.online import RFLO, RTRL, Learner, SnAp

LEARNERS: dict[str, Callable[[SparseRNN], Learner]] = {
    "RTRL": RTRL,
    "RTRL, bfloat16": partial(RTRL, storage=torch.bfloat16),
    "SnAp-1": SnAp,
}


class Case(NamedTuple):
    """A network of tanh units with one input, and how it learns."""

    learner: str
    units: int
    links: float  # into each unit, in the mean
    lanes: int
    dense: bool = False


CASES = [
    Case("RTRL", 256, 12.8, 8, dense=True),
    Case("RTRL", 1024, 10.24, 1),
    Case("RTRL", 4096, 10, 1),
    Case("RTRL, bfloat16", 4096, 10, 1),
    Case("SnAp-1", 100_000, 150, 1),
]
QUICK = [Case("RTRL", 12, 3, 2, dense=True), Case("SnAp-1", 12, 3, 1)]


#: Learners whose gradients are compared with that of the first.
APPROXIMATIONS: dict[str, Callable[[SparseRNN], Learner]] = {
    "RTRL": RTRL,
    "SnAp-3": partial(SnAp, order=3),
    "SnAp-2": partial(SnAp, order=2),
    "SnAp-1": SnAp,
    "RFLO": RFLO,
}
UNITS, SEEDS = (32, 64, 128, 256, 512, 1024), 3


class DenseInfluence:
    """RTRL of the masked recurrent weight, ``[lanes, units, units * units]`` numbers."""

    def __init__(self, network: SparseRNN, lanes: int) -> None:
        n = network.hidden_size
        self.network, self.h = network, torch.zeros(lanes, n)
        self.weight = network.weight_hh_l0.to_dense().detach()
        self.mask = network.weight_hh_l0.pattern.dense(torch.ones(network.weight_hh_l0.nnz))
        self.influence = torch.zeros(lanes, n, n * n)
        self.unit = torch.arange(n)

    def step(self, x: Tensor, upstream: Tensor) -> Tensor:
        """Return the gradient of the weight by one step's loss, given that by its output."""
        net, lanes, n = self.network, len(x), len(self.unit)
        with torch.no_grad():
            bias = net.bias_ih_l0 + net.bias_hh_l0
            before, self.h = (
                self.h,
                torch.tanh(x @ net.weight_ih_l0.t() + self.h @ self.weight.t() + bias),
            )
            slope = 1 - self.h.square()
            self.influence = self.weight @ self.influence
            by_row = self.influence.view(lanes, n, n, n)
            by_row[:, self.unit, self.unit] += before.unsqueeze(1)
            self.influence *= slope.unsqueeze(2)
            gradient = torch.einsum("bi,bip->p", upstream, self.influence)
        return gradient.view(n, n) * self.mask


def row(case: Case, options: Options) -> dict:
    """Checks and measures one case."""
    network = SparseRNN(1, case.units, density=case.links / case.units)
    x, upstream = torch.randn(case.lanes, 1), torch.randn(case.lanes, case.units)
    learner = LEARNERS[case.learner](network)

    def step() -> None:
        network.zero_grad()
        learner.step(x)
        learner.backward(upstream)

    network(x.unsqueeze(0))[0].sum().backward()  # makes what belongs to the network
    extra = extra_bytes(lambda: (step(), step()))
    contestants: dict[str, Callable[[], object]] = {"sparse_engine": step}
    if case.dense:
        dense = DenseInfluence(network, case.lanes)
        learner = LEARNERS[case.learner](network)
        for _ in range(3):
            step()
            wanted = dense.step(x, upstream)
        found = network.weight_hh_l0.pattern.dense(network.weight_hh_l0.values.grad)
        assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        contestants["dense influence"] = lambda: dense.step(x, upstream)
    timings = options.measure(contestants)
    ours = timings["sparse_engine"].median
    found = {
        "learner": case.learner,
        "units": case.units,
        "links": network.weight_hh_l0.nnz,
        "B": case.lanes,
        "ms": 1e3 * ours,
        "influence MB": learner.memory / 1e6,
        "extra MB": None if extra is None else extra / 1e6,
    }
    if case.dense:
        theirs = timings["dense influence"].median
        found |= {"dense ms": 1e3 * theirs, "x dense": theirs / ours}
    gc.collect()
    return found | quartiles(timings)


def of_approximations(units: int, seed: int) -> list[dict]:
    """Distance from the exact gradient of the links over its norm, and bytes, of each learner."""
    found, exact = [], None
    for name, learner_of in APPROXIMATIONS.items():
        torch.manual_seed(seed)
        network = SparseRNN(1, units, density=min(1, 10 / units))
        learner, readout = learner_of(network), torch.randn(units) / units**0.5
        x = torch.randn(103, 1, 1)
        for t in range(3, len(x)):
            error = learner.step(x[t]) @ readout - x[t - 3, 0]
            learner.backward(error.square().sum())
        gradient = network.weight_hh_l0.values.grad
        exact = gradient if exact is None else exact
        error = ((gradient - exact).norm() / exact.norm()).item()
        found.append({"learner": name, "units": units, "seed": seed, "error": error,
                      "bytes": learner.memory})  # fmt: skip
    return found


def run(options: Options) -> None:
    """Measures all cases and reports them."""
    options.prepare()
    cases, units, seeds = (QUICK, (12,), 1) if options.quick else (CASES, UNITS, SEEDS)
    rows = [row(case, options) for case in progress(cases, "online")]
    pairs = progress([(n, seed) for n in units for seed in range(seeds)], "errors")
    errors = [found for pair in pairs for found in of_approximations(*pair)]
    report("online", rows, options, errors=errors)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
