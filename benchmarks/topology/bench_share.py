"""The share of training that rewiring every hundred steps takes: 4,096 units at 5 %, Adam."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.optim import Adam

from benchmarks._harness import Options
from benchmarks._report import Row
from benchmarks.topology.case import Case, Trained
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
TARGET = "below 3"
RULES: dict[str, tuple[Prune, Grow]] = {
    "SET": (SignedMagnitude(), RandomGrowth()),
    "RigL": (Magnitude(), GradientGrowth()),
}


@dataclass(frozen=True)
class Sizes:
    """Of a network and its input."""

    neurons: int
    links: int
    duration: int
    batch: int


FULL = Sizes(4096, 838_861, duration=50, batch=32)
QUICK = Sizes(64, 400, duration=4, batch=2)


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
        self.noted, self.weight.captured = self.weight.captured, None

    def step(self) -> None:
        """A training step."""
        self.optimizer.zero_grad()
        self.network(self.x)[0].backward(self.upstream)
        self.optimizer.step()

    def rewire(self) -> None:
        """A rewiring after a step whose gradient was noted, where the rule wants it."""
        self.weight.captured = self.noted
        self.rewiring.step()
        self.weight.captured = None


def rows(options: Options) -> list[Row]:
    """The time of a step, of a rewiring, and the share, for each method."""
    sizes = QUICK if options.quick else FULL
    return [row for method in RULES for row in measured(method, sizes, options)]


def measured(method: str, sizes: Sizes, options: Options) -> list[Row]:
    """What one method takes."""
    training = Training(sizes, *RULES[method])
    case = Case(f"{method}, training", sizes.neurons, training.weight.nnz)
    timings = options.measure({"training step": training.step, "rewiring": training.rewire})
    step, rewiring = timings["training step"].median, timings["rewiring"].median
    share = 100 * rewiring / (EVERY * step + rewiring)
    return [
        *(case.time(quantity, timing) for quantity, timing in timings.items()),
        case.row(f"a rewiring every {EVERY} steps", share, "% of time", target=TARGET),
    ]
