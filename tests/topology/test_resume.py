"""A resumed run equals one that never stopped, and another seed gives another one."""

from functools import partial
from itertools import combinations

import pytest
import torch
from methods import OPTIONS, assert_same, build, make_method, train

from sparse_engine import topology
from sparse_engine.analysis import Drift
from sparse_engine.lab.train import Checkpoint
from sparse_engine.nn import SparseLinear, SparseLTC, SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.optim import SNTASGD
from sparse_engine.topology import SET, DeepR, ErdosRenyi, NormalInit, WattsStrogatz, wire
from sparse_engine.topology.grow import EqualPerGate, NeverUsed
from sparse_engine.topology.prune import (
    AdaptiveThreshold,
    AssignedSign,
    GlobalThreshold,
    SignChange,
    SoftMagnitude,
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


#: Of the last three, ``hash`` is 0, -2 and -2.
SEEDS = (0, 1, 2**32, 2**61 - 1, -1, -2)


def weight():
    return SparseWeight.erdos_renyi(40, 40, density=0.3, generator=torch.Generator().manual_seed(0))


def wired(rule, **options):
    model = weight()
    wire(model, rule, **options)
    return model.to_dense()


def walked(seed):
    model = weight()
    with torch.no_grad():
        model.values.fill_(5.0)
    rule = DeepR(model, torch.optim.SGD(model.parameters(), lr=0.5), temperature=0.1, seed=seed)
    rule.rewire()
    return model.to_dense().abs()


def entries_of_new_links(seed):
    model = SparseLTC(2, 30, density=0.2, generator=torch.Generator().manual_seed(0))
    SET(model, None, every=1, seed=seed).rewire()
    return torch.cat([entries.detach().sort().values for entries in model.parameters()])


DRAWS = {
    "values of new links": lambda seed: NormalInit(0.1).values(weight(), 30, RandomKey(seed)),
    "other entries of new links": entries_of_new_links,
    "soft pruning": lambda seed: SoftMagnitude().drop(weight(), 0.5, RandomKey(seed)),
    "noise": walked,
    "signs of positions": lambda seed: AssignedSign().signs(weight(), RandomKey(seed)),
    "growth by gates": lambda seed: EqualPerGate().grow(
        weight(), weight().pattern.links, 40, RandomKey(seed)
    ),
    "a random wiring": lambda seed: wired(ErdosRenyi(density=0.2), seed=seed) != 0,
    "a rewired ring": lambda seed: wired(WattsStrogatz(8, 0.5), seed=seed) != 0,
    "wired values": lambda seed: wired(ErdosRenyi(density=1.0), seed=seed),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_other_seeds_draw_other_numbers(kind):
    drawn = [DRAWS[kind](seed) for seed in SEEDS]
    assert torch.equal(drawn[1], DRAWS[kind](1))
    for (one, first), (other, second) in combinations(zip(SEEDS, drawn, strict=True), 2):
        assert not torch.equal(first, second), (one, other)


@pytest.mark.parametrize(
    "draw",
    [
        lambda key: NormalInit(0.1).values(weight(), 30, key),
        lambda key: SoftMagnitude(alpha=0.5).drop(weight(), 0.5, key),
        lambda key: EqualPerGate().grow(weight(), weight().pattern.links, 40, key),
    ],
)
def test_seed_step_and_stream_of_a_key_all_count(draw):
    drawn = [draw(RandomKey(*key)) for key in ((1, 2, 3), (0, 2, 3), (1, 0, 3), (1, 2, 0))]
    assert torch.equal(drawn[0], draw(RandomKey(1, 2, 3)))
    assert not any(torch.equal(one, other) for one, other in combinations(drawn, 2))
