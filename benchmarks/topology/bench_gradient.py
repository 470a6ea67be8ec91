"""Growth by gradient: RigL's exact choice, and GSE's among as many random candidates as links."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from benchmarks._memory import extra_bytes, in_new_process
from benchmarks._profile import as_percent, shares
from benchmarks._single import measured
from benchmarks.topology.case import Case, Trained, adam
from sparse_engine.topology import GradientGrowth, Grow, Magnitude, Rewiring
from sparse_engine.topology.grow import CandidateGradientGrowth


class GradientCase(NamedTuple):
    """A weight and what grows it.

    Attributes:
        method: its name.
        size: of the weight.
        grow: the rule.
        samples: time steps times batch, over which the gradient sums.
        target: what a rewiring should take, and need beside the model.
        memory: whether the memory is measured.
    """

    method: str
    size: Case
    grow: Grow
    samples: int
    target: str
    memory: bool = False

    def __str__(self) -> str:
        return f"{self.method}, {self.size}"

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return random ones of the dense gradient, as a backward pass captures them."""
        shape = self.samples, self.size.neurons
        return torch.randn(shape), torch.randn(shape)


class Subject:
    """A weight of a case, with its optimizer and its method."""

    def __init__(self, case: GradientCase) -> None:
        self.weight = case.size.weight()
        self.rewiring = Rewiring(
            self.weight,
            adam(self.weight),
            prune=Magnitude(),
            grow=case.grow,
            new_links=Trained(self.weight),
            every=1,
        )

    def rewire(self, factors: tuple[Tensor, Tensor]) -> None:
        """Rewire after a step with such a gradient."""
        self.weight.captured = [[factors]]
        self.rewiring.step()


EXACT, CANDIDATES = GradientGrowth(), CandidateGradientGrowth(1.0)
CASES = [
    GradientCase("RigL", Case(4096, 838_861), EXACT, 1600, "at most 0.5 s, 200 MB", memory=True),
    GradientCase("GSE", Case(100_000, 10_000_000), CANDIDATES, 1600, "at most 2 s"),
]
QUICK = [
    GradientCase("RigL", Case(64, 400), EXACT, 8, "-", memory=True),
    GradientCase("GSE", Case(64, 400), CANDIDATES, 8, "-"),
]


def test_rewiring(benchmark: BenchmarkFixture, case: GradientCase) -> None:
    """The time of each rule, and the memory of the exact one."""
    subject, factors = Subject(case), case.factors()

    def rewire() -> None:
        subject.rewire(factors)

    measured(benchmark, rewire, str(case), target=case.target)
    benchmark.extra_info["of it"] = as_percent(shares(rewire))
    if case.memory and (extra := in_new_process(memory, case, torch.get_num_threads())) is not None:
        benchmark.extra_info["MB above the model"] = extra / 1e6


def memory(case: GradientCase, threads: int) -> int | None:
    """Return the bytes beside model and optimizer, those of the gradient's factors included."""
    torch.set_num_threads(threads)
    tiny = QUICK[0]
    Subject(tiny).rewire(tiny.factors())  # what libraries hold since their first call
    subject = Subject(case)
    return extra_bytes(lambda: subject.rewire(case.factors()))
