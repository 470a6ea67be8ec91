"""A run that is saved and resumed equals one that never stopped, bit for bit."""

import io

import pytest
import torch

from sparse_engine.analysis import Drift
from sparse_engine.nn import SparseLinear, SparseRNN
from sparse_engine.topology import (
    SET,
    GradientGrowth,
    Magnitude,
    NormalInit,
    RandomGrowth,
    Rewiring,
    Tracker,
)
from sparse_engine.topology.grow import NeverUsed
from sparse_engine.topology.prune import (
    AdaptiveThreshold,
    AssignedSign,
    GlobalThreshold,
    SignChange,
)

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


def setup(optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    model = SparseRNN(3, 40, 2, density=0.1, input_density=0.5, generator=generator)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    return model, optimizer, SET(model, optimizer, every=7, seed=seed, new_links=NormalInit(0.1))


def train(parts, first, last):
    model, optimizer, rule = parts
    for step in range(first, last):
        x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x)[0].square().mean().backward()
        optimizer.step()
        rule.step()


def moments(parts):
    states = parts[1].state_dict()["state"].values()
    return [entry for state in states for entry in state.values() if torch.is_tensor(entry)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop", [1, 6, 7, 20])
def test_resuming_equals_never_having_stopped(optimizer, stop):
    whole, first, second = setup(optimizer, 1), setup(optimizer, 1), setup(optimizer, 2)
    train(whole, 0, 30)
    train(first, 0, stop)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    train(second, 0, 9)
    for part, state in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(second, stop, 30)
    assert whole[2].state_dict() == second[2].state_dict()
    for name, tensor in whole[0].state_dict().items():
        assert torch.equal(second[0].state_dict()[name], tensor), name
    for tensor, other in zip(moments(whole), moments(second), strict=True):
        assert torch.equal(tensor, other)


@pytest.mark.parametrize("state", [{"step": 3}, {"steps": 3}, {"steps": -1, "seed": 0}, {}])
def test_a_foreign_state_is_refused(state):
    rule = setup("Adam", 1)[2]
    with pytest.raises(ValueError, match="expected entries steps >= 0 and seed"):
        rule.load_state_dict(state)
    assert rule.state_dict() == {"steps": 0, "seed": 1}


SAVED = [
    ("prune", AdaptiveThreshold, {"prune.threshold.0"}),
    ("prune", GlobalThreshold, {"prune.threshold.0"}),
    ("prune", AssignedSign, {"prune.signs"}),
    ("prune", SignChange, {"prune.cells.0", "prune.signs.0"}),
    ("grow", NeverUsed, {"grow.0"}),
    ("grow", GradientGrowth, {"factors.0.0.0.gradient", "factors.0.0.0.input"}),
]


@pytest.mark.parametrize(("kind", "rule", "names"), SAVED)
def test_the_names_in_saved_states_stay(kind, rule, names):
    """Files that were saved before must go on loading, whatever the classes are called by now."""
    layer = SparseLinear(20, 20, density=0.2)
    rules = {"prune": Magnitude(), "grow": RandomGrowth()} | {kind: rule()}
    rewiring = Rewiring(layer, None, **rules, every=2)
    Tracker(rewiring, measures=[Drift()])
    for _ in range(3):
        layer(torch.randn(5, 20)).square().sum().backward()
        rewiring.step()
    layer(torch.randn(5, 20)).square().sum().backward()
    tracked = {f"observer0.0.{name}" for name in ("rewirings", "founders", "founding", "ever")}
    drift = {f"observer0.measure0.0.{name}" for name in ("crow", "col")}
    assert rewiring.state_dict().keys() == {"steps", "seed"} | names | tracked | drift
