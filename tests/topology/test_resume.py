"""A run that is saved and resumed equals one that never stopped, bit for bit."""

from functools import partial

import pytest
import torch
from methods import OPTIONS, assert_same, build, make_method, train

from sparse_engine import topology
from sparse_engine.analysis import Drift
from sparse_engine.lab.train import Checkpoint
from sparse_engine.nn import SparseLinear
from sparse_engine.optim import SNTASGD
from sparse_engine.topology.grow import NeverUsed
from sparse_engine.topology.prune import (
    AdaptiveThreshold,
    AssignedSign,
    GlobalThreshold,
    SignChange,
)


def with_a_frozen_pattern(model, optimizer, seed):
    model.weight_hh_l0.frozen_pattern = True
    return make_method(topology.SNFS)(model, optimizer, seed=seed)


def tracked(model, optimizer, seed):
    rewiring = make_method(topology.GraNet)(model, optimizer, seed=seed)
    topology.Tracker(rewiring)
    return rewiring


def pruned_by(prune):
    rules = {"grow": topology.RandomGrowth(), "every": 2, "new_links": topology.NormalInit(0.1)}
    return lambda *parts, seed: topology.Rewiring(*parts, seed=seed, prune=prune(), **rules)


def averaging(parameters):
    """SNT-ASGD whose averages have begun."""
    optimizer = SNTASGD(parameters, lr=0.1, nonmono=0)
    assert [optimizer.observe(loss) for loss in (1.0, 2.0)] == [False, True]
    return optimizer


OPTIMIZERS = {
    "averages": averaging,
    "momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "Adam": partial(torch.optim.Adam, lr=1e-3, amsgrad=True),
    "RMSprop": partial(torch.optim.RMSprop, lr=0.01, momentum=0.5, centered=True),
    "groups": lambda parameters: torch.optim.AdamW([{"params": [each]} for each in parameters]),
    **{
        name: getattr(torch.optim, name)
        for name in ("NAdam", "RAdam", "Adamax", "Adadelta", "Adagrad", "ASGD", "Rprop")
    },
}
#: At 5 and 20 steps SNFS is within its window of 4 steps before the rewirings at 7 and 21.
CASES = [
    *(pytest.param(make_method(each), 5, {}, id=each.__name__) for each in OPTIONS),
    pytest.param(make_method(topology.SET), 7, {}, id="just rewired"),
    pytest.param(make_method(topology.SNFS), 20, {}, id="third window"),
    pytest.param(with_a_frozen_pattern, 5, {}, id="frozen pattern"),
    *(
        pytest.param(pruned_by(prune), 9, {}, id=prune.__name__)
        for prune in (SignChange, AdaptiveThreshold)
    ),
    pytest.param(tracked, 8, {}, id="observers"),
    *(
        pytest.param(make_method(topology.SET), 8, {"optimizer": OPTIMIZERS[name]}, id=name)
        for name in OPTIMIZERS
    ),
]


@pytest.mark.parametrize(("make", "stop", "options"), CASES)
def test_resuming_equals_never_having_stopped(make, stop, options, tmp_path):
    whole, first, second = (build(make, seed, **options) for seed in (1, 1, 2))
    train(whole, 0, 30)
    train(first, 0, stop)
    Checkpoint.of(stop, *first).save(tmp_path)
    train(second, 0, 9)
    Checkpoint.load(tmp_path).restore(*second)
    assert_same(first, second)
    train(second, stop, 30)
    assert_same(whole, second)


@pytest.mark.parametrize("state", [{"step": 3}, {"steps": 3}, {"steps": -1, "seed": 0}, {}])
def test_a_foreign_state_is_refused(state):
    rule = build(make_method(topology.SET), 1).rule
    with pytest.raises(ValueError, match="expected entries steps >= 0 and seed"):
        rule.load_state_dict(state)
    assert rule.state_dict() == {"steps": 0, "seed": 1}


SAVED = [
    ("prune", AdaptiveThreshold, {"prune.threshold.0"}),
    ("prune", GlobalThreshold, {"prune.threshold.0"}),
    ("prune", AssignedSign, {"prune.signs"}),
    ("prune", SignChange, {"prune.cells.0", "prune.signs.0"}),
    ("grow", NeverUsed, {"grow.0"}),
    ("grow", topology.GradientGrowth, {"factors.0.0.0.gradient", "factors.0.0.0.input"}),
]


@pytest.mark.parametrize(("kind", "rule", "names"), SAVED)
def test_the_names_in_saved_states_stay(kind, rule, names):
    """Files that were saved before must go on loading, whatever the classes are called by now."""
    layer = SparseLinear(20, 20, density=0.2)
    rules = {"prune": topology.Magnitude(), "grow": topology.RandomGrowth()} | {kind: rule()}
    rewiring = topology.Rewiring(layer, None, **rules, every=2)
    topology.Tracker(rewiring, measures=[Drift()])
    for _ in range(3):
        layer(torch.randn(5, 20)).square().sum().backward()
        rewiring.step()
    layer(torch.randn(5, 20)).square().sum().backward()
    tracked = {f"observer0.0.{name}" for name in ("rewirings", "founders", "founding", "ever")}
    drift = {f"observer0.measure0.0.{name}" for name in ("crow", "col")}
    assert rewiring.state_dict().keys() == {"steps", "seed"} | names | tracked | drift
