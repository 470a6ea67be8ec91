"""Every published method on a network that is small enough to train within a test."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from sparse_engine.nn import SparseRNN
from sparse_engine.topology import (
    CHT,
    DSR,
    GSE,
    ITOP,
    MEST,
    SET,
    SNFS,
    CHTs,
    CHTss,
    DeepR,
    GradualPruning,
    GraNet,
    ImportanceSET,
    NarangPruning,
    NarangRamp,
    NormalInit,
    PeriodicDeepR,
    Rewiring,
    RigL,
    Selfish,
    Static,
)

STEPS = 40

#: Makes the method for a model, its optimizer and a seed; it rewires every 7 steps or more often.
METHODS = {
    SET: lambda m, o, seed: SET(m, o, every=7, seed=seed, new_links=NormalInit(0.1)),
    Static: lambda m, o, seed: Static(m, o),
    ImportanceSET: lambda m, o, seed: ImportanceSET(
        m, o, every=7, prune_every=2, prune_after=1, seed=seed
    ),
    DeepR: lambda m, o, seed: DeepR(m, o, l1=0.1, temperature=0.01, seed=seed),
    PeriodicDeepR: lambda m, o, seed: PeriodicDeepR(m, o, l1=0.01, noise=0.1, every=7, seed=seed),
    RigL: lambda m, o, seed: RigL(m, o, steps=STEPS, every=7, seed=seed),
    GSE: lambda m, o, seed: GSE(m, o, steps=STEPS, every=7, seed=seed),
    SNFS: lambda m, o, seed: SNFS(m, o, steps=STEPS, every=7, window=4, seed=seed),
    DSR: lambda m, o, seed: DSR(m, o, threshold=0.02, every=7, seed=seed),
    ITOP: lambda m, o, seed: ITOP(m, o, steps=STEPS, every=7, seed=seed),
    CHT: lambda m, o, seed: CHT(m, o, every=7, seed=seed),
    CHTs: lambda m, o, seed: CHTs(m, o, steps=STEPS, every=7, seed=seed),
    CHTss: lambda m, o, seed: CHTss(m, o, steps=STEPS, density=0.1, start=0.25, every=7, seed=seed),
    MEST: lambda m, o, seed: MEST(m, o, steps=STEPS, every=7, seed=seed),
    Selfish: lambda m, o, seed: Selfish(m, o, steps=STEPS, every=7, seed=seed),
    GraNet: lambda m, o, seed: GraNet(
        m, o, steps=STEPS, density=0.05, start=0.25, last=30, every=7, seed=seed
    ),
    GradualPruning: lambda m, o, seed: GradualPruning(
        m, o, density=0.05, start=0.25, last=30, every=7, seed=seed
    ),
    NarangPruning: lambda m, o, seed: NarangPruning(
        m, o, density=0.05, ramp=NarangRamp(1, 15, 30), every=7, seed=seed
    ),
}


class Parts(NamedTuple):
    """Parts of a training."""

    model: nn.Module
    optimizer: Optimizer
    rule: Rewiring


@pytest.fixture
def methods() -> set[type[Rewiring]]:
    """All that are tested."""
    return set(METHODS)


@pytest.fixture(params=METHODS, ids=lambda method: method.__name__)
def method(request) -> type[Rewiring]:
    """Each of the published methods."""
    return request.param


@pytest.fixture
def build(method):
    """Makes a network, its Adam and the method, all of one seed."""

    def make(seed: int, hidden: int = 24) -> Parts:
        generator = torch.Generator().manual_seed(seed)
        model = SparseRNN(3, hidden, 2, density=0.2, input_density=0.5, generator=generator)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return Parts(model, optimizer, METHODS[method](model, optimizer, seed))

    return make


@pytest.fixture
def train():
    """Trains from one step to another; calls ``after_step`` after each."""

    def run(parts: Parts, first: int, last: int, after_step=lambda step: None) -> None:
        for step in range(first, last):
            x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(step))
            parts.optimizer.zero_grad()
            parts.model(x)[0].square().mean().backward()
            parts.optimizer.step()
            parts.rule.step()
            after_step(step + 1)

    return run


@pytest.fixture
def assert_same():
    """Checks that model, optimizer and method of two trainings are the same, bit for bit."""

    def check(parts: Parts, others: Parts) -> None:
        state, other = _state_of(parts), _state_of(others)
        assert state.keys() == other.keys()
        for name, entry in state.items():
            same = torch.equal if torch.is_tensor(entry) else type(entry).__eq__
            assert same(entry, other[name]), name

    return check


def _state_of(parts: Parts) -> dict[str, object]:
    """Everything a training is, as one flat dictionary."""
    moments = parts.optimizer.state_dict()["state"].items()
    state = {f"optimizer.{i}.{name}": entry for i, all_ in moments for name, entry in all_.items()}
    state |= {f"model.{name}": entry for name, entry in parts.model.state_dict().items()}
    return state | {f"rule.{name}": entry for name, entry in parts.rule.state_dict().items()}
