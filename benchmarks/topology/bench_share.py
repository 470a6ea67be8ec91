"""The share of training that rewiring every hundred steps takes: 4,096 units at 5 %, Adam."""

from __future__ import annotations

import timeit
from typing import NamedTuple

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.optim import Adam

from benchmarks._single import measured
from benchmarks.topology.case import Trained
from sparse_engine.nn import SparseRNN
from sparse_engine.topology import (
    GradientGrowth,
    Grow,
    Magnitude,
    Prune,
    RandomGrowth,
    Rewiring,
    SignedMagnitude,
)

EVERY = 100
INPUTS = 64
TARGET = "below 3 % of the time"
RULES: dict[str, tuple[Prune, Grow]] = {
    "SET": (SignedMagnitude(), RandomGrowth()),
    "RigL": (Magnitude(), GradientGrowth()),
}


class Sizes(NamedTuple):
    """Sizes of a network and of its input."""

    neurons: int
    links: int
    duration: int
    batch: int

    def __str__(self) -> str:
        return f"n={self.neurons}, {self.links} links"


CASES = [Sizes(4096, 838_861, duration=50, batch=32)]
QUICK = [Sizes(64, 400, duration=4, batch=2)]


class Training:
    """A recurrent network of one layer that trains and is rewired."""

    def __init__(self, sizes: Sizes, prune: Prune, grow: Grow) -> None:
        density = sizes.links / sizes.neurons**2
        self.network = SparseRNN(INPUTS, sizes.neurons, density=density)
        self.weight = self.network.weight_hh_l0
        self.optimizer = Adam(self.network.parameters(), lr=1e-6)
        self.x = torch.randn(sizes.duration, sizes.batch, INPUTS)
        self.upstream = torch.randn(sizes.duration, sizes.batch, sizes.neurons)
        new_links = Trained(self.weight)
        self.rewiring = Rewiring(
            self.network, self.optimizer, prune=prune, grow=grow, new_links=new_links, every=1
        )
        self.step()
        self.captured, self.weight.captured = self.weight.captured, None

    def step(self) -> None:
        """Make a training step."""
        self.optimizer.zero_grad()
        self.network(self.x)[0].backward(self.upstream)
        self.optimizer.step()

    def rewire(self) -> None:
        """Rewire after a step whose gradient was captured, where the rule wants it."""
        self.weight.captured = self.captured
        self.rewiring.step()
        self.weight.captured = None


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("part", ["training step", "rewiring"])
def test_training(benchmark: BenchmarkFixture, case: Sizes, part: str, method: str) -> None:
    """A training step, and a rewiring with the share of the time that it takes every so often."""
    training = Training(case, *RULES[method])
    group = f"{method}, training, {case}"
    if part == "training step":
        measured(benchmark, training.step, group)
        return
    rewiring = measured(benchmark, training.rewire, group, target=TARGET)
    step = min(timeit.repeat(training.step, number=1, repeat=5))
    share = 100 * rewiring / (EVERY * step + rewiring)
    benchmark.extra_info[f"% of time, every {EVERY} steps"] = share
