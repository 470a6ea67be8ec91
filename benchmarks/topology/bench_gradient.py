"""Growth by gradient: RigL's exact choice, and GSE's among as many random candidates as links."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks._harness import Options
from benchmarks._memory import extra_bytes, in_new_process
from benchmarks._profile import shares
from benchmarks._report import Row
from benchmarks.topology.case import Case, Trained, adam
from sparse_engine.nn import SparseWeight
from sparse_engine.topology import (
    CandidateGradientGrowth,
    GradientGrowth,
    Grow,
    Magnitude,
    Rewiring,
)


@dataclass(frozen=True)
class GradientCase(Case):
    """A case with a gradient.

    Attributes:
        grow: the rule.
        samples: time steps times batch, over which the gradient sums.
        seconds: what a rewiring should take.
        megabytes: what it should need beside the model; None to leave it unmeasured.
    """

    grow: Grow
    samples: int
    seconds: float
    megabytes: int | None = None

    def factors(self) -> tuple[Tensor, Tensor]:
        """Random ones of the dense gradient, as the backward pass notes them."""
        return torch.randn(self.samples, self.neurons), torch.randn(self.samples, self.neurons)


class Subject:
    """A weight of a case, with its optimizer and its method."""

    def __init__(self, case: GradientCase) -> None:
        self.weight: SparseWeight = case.weight()
        self.rewiring = Rewiring(
            self.weight,
            adam(self.weight),
            prune=Magnitude(),
            grow=case.grow,
            new_links=Trained(self.weight),
            every=1,
        )

    def rewire(self, factors: tuple[Tensor, Tensor]) -> None:
        """A rewiring after a step with such a gradient."""
        self.weight.captured = [[factors]]
        self.rewiring.step()


RIGL = GradientCase(
    "RigL", 4096, 838_861, GradientGrowth(), samples=1600, seconds=0.5, megabytes=200
)
GSE = GradientCase(
    "GSE", 100_000, 10_000_000, CandidateGradientGrowth(1.0), samples=1600, seconds=2.0
)
TINY = GradientCase("RigL", 64, 400, GradientGrowth(), samples=8, seconds=0.5, megabytes=200)
TINY_GSE = GradientCase("GSE", 64, 400, CandidateGradientGrowth(1.0), samples=8, seconds=2.0)


def rows(options: Options) -> list[Row]:
    """The time of each rule, and the memory of the exact one."""
    cases = [TINY, TINY_GSE] if options.quick else [RIGL, GSE]
    return [row for case in cases for row in measured(case, options)]


def measured(case: GradientCase, options: Options) -> list[Row]:
    """Time, and memory where it is asked for."""
    subject, factors = Subject(case), case.factors()

    def rewire() -> None:
        subject.rewire(factors)

    timing = options.measure({"rewiring": rewire})["rewiring"]
    target = f"at most {case.seconds}"
    found = [case.time("rewiring", timing, target=target, shares=shares(rewire))]
    if case.megabytes is not None:
        extra = in_new_process(memory, case, torch.get_num_threads())
        megabytes = None if extra is None else extra / 1e6
        target = f"at most {case.megabytes}"
        found.append(case.row("memory above the model", megabytes, "MB", target=target))
    return found


def memory(case: GradientCase, threads: int) -> int | None:
    """Bytes beside model and optimizer, those of the factors of the gradient included."""
    torch.set_num_threads(threads)
    Subject(TINY).rewire(TINY.factors())  # what libraries hold since their first call
    subject = Subject(case)
    return extra_bytes(lambda: subject.rewire(case.factors()))
