"""Rewiring: the clock, what it reaches, what moves with the links, rules and loops of one's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from testing import assert_valid, pattern_of, patterns
from torch import nn

from sparse_engine import topology
from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.ops.topology import sample_absent
from sparse_engine.topology import SET, RigL
from sparse_engine.topology.grow import ZeroInit
from sparse_engine.topology.rewiring import apply_rewiring, plan_rewiring


def test_the_clock():
    model = SparseLinear(20, 20, density=0.2)
    rule = topology.SET(model, None, fraction=0.5, every=3)
    assert [rule.step() for _ in range(7)] == [False, False, True, False, False, True, False]
    assert model.weight.topology_version == 2
    held = [rule.step(hold=step == 9) for step in (8, 9, 10, 11, 12)]
    assert held == [False, False, False, False, True], "the wiring stays, and the clock goes on"
    rule.rewire()
    assert model.weight.topology_version == 4 and rule.steps_taken == 12, (
        "which is not of the clock"
    )


def test_every_sparse_weight_of_a_network_is_rewired():
    network = SparseRNN(6, 21, 2, bidirectional=True, density=0.2, input_density=0.5)
    dense = [parameter.detach().clone() for parameter in network.parameters()]
    rule = topology.SET(network, None, fraction=0.5, every=1)
    rule.step()
    assert len(rule.weights) == 8
    assert all(weight.topology_version == 1 for weight in rule.weights)
    for (name, parameter), before in zip(network.named_parameters(), dense, strict=True):
        assert torch.equal(parameter, before) != name.endswith(".values"), name


def test_a_model_stays_as_it_was_where_one_weight_cannot_be_rewired():
    """Growth by gradient, which the last weight has not, as it is not used."""
    model = nn.ModuleList([SparseLinear(20, 20, density=0.2) for _ in range(3)])
    rule = topology.RigL(model, None, steps=100, every=1)
    before = [linear.weight.to_dense() for linear in model]
    model[1](model[0](torch.randn(5, 20))).square().sum().backward()
    with pytest.raises(ValueError, match="expected a backward pass through the weight"):
        rule.step()
    for linear, dense in zip(model, before, strict=True):
        assert torch.equal(linear.weight.to_dense(), dense)
        assert linear.weight.topology_version == 0


DRAWS = {
    "ordinary": torch.randn,
    "ties": lambda n: torch.randint(-2, 3, (n,)).float(),
    "positive": torch.rand,
    "negative": lambda n: -torch.rand(n),
    "zeros": torch.zeros,
    "some zeros": lambda n: torch.randn(n) * (torch.rand(n) < 0.5),
}


@settings(max_examples=60)
@given(
    pattern=patterns(),
    fraction=st.one_of(st.sampled_from([0.0, 0.3, 1.0]), st.floats(0, 1)),
    draw=st.sampled_from(list(DRAWS)),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_structure_stays_valid(pattern, fraction, draw, seed):
    weight = SparseWeight(DRAWS[draw](pattern.nnz), pattern)
    rule = topology.SET(weight, None, fraction=fraction, every=1, seed=seed)
    for _ in range(40):
        rule.step()
        assert weight.nnz == pattern.nnz
        positions = weight.pattern.links.positions()
        assert (positions.diff() > 0).all()
        with torch.no_grad():
            weight.values.add_(DRAWS[draw](pattern.nnz))
    assert_valid(weight)


def test_the_parameter_and_its_memory_stay(weight_of):
    weight = weight_of(torch.randn(500), 60, 50)
    weight.values.grad = torch.randn(500)
    parameter, grad = weight.values, weight.values.grad
    tensors = (parameter, grad, weight.crow_indices, weight.col_indices)
    places = [tensor.data_ptr() for tensor in tensors]
    before = weight.col_indices.clone()
    topology.SET(weight, None, fraction=0.3, every=1).step()
    assert weight.values is parameter and weight.values.grad is grad
    tensors = (parameter, grad, weight.crow_indices, weight.col_indices)
    assert [tensor.data_ptr() for tensor in tensors] == places
    assert not torch.equal(weight.col_indices, before)
    assert weight.topology_version == 1


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    "Adam alone": lambda p: torch.optim.Adam(p, lr=0.1, foreach=False),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("density", [0.2, 1 / 1200])
def test_state_and_gradient_move_with_the_links(name, density, links_of):
    layer = SparseLinear(40, 30, density=density)
    optimizer = OPTIMIZERS[name](layer.parameters())
    for _ in range(3):
        layer(torch.randn(8, 40)).square().sum().backward()
        optimizer.step()
    weight, state = layer.weight, optimizer.state[layer.weight.values]
    moments = {key: entry for key, entry in state.items() if key != "step"}
    assert moments
    before = {key: links_of(weight, moment) for key, moment in moments.items()}
    before |= {"grad": links_of(weight, weight.values.grad), "values": links_of(weight)}
    kept = set(
        weight.pattern.links.positions()[
            ~topology.SignedMagnitude().drop(weight, 0.4, RandomKey(0))
        ].tolist()
    )
    steps, bias = float(state.get("step", 0)), layer.bias.detach().clone()
    topology.SET(layer, optimizer, fraction=0.4, every=1).step()
    after = {key: links_of(weight, moment) for key, moment in moments.items()}
    after |= {"grad": links_of(weight, weight.values.grad), "values": links_of(weight)}
    for key, entries in after.items():
        assert entries.keys() >= kept
        for position, entry in entries.items():
            assert entry == (before[key][position] if position in kept else 0), key
    assert all(state[key] is moment for key, moment in moments.items())
    assert float(state.get("step", 0)) == steps and torch.equal(layer.bias, bias)
    layer(torch.randn(8, 40)).square().sum().backward()
    optimizer.step()


class There(topology.Grow):
    """Grows at the given positions."""

    def __init__(self, positions):
        self.positions = torch.tensor(positions, dtype=torch.int64)

    def grow(self, weight, kept, count, key):
        return self.positions


@pytest.mark.parametrize("keep_returning", [False, True])
@pytest.mark.parametrize("grown", [[1, 2, 5], [2, 4, 6], [3], [], [4]])
def test_a_link_that_returns_starts_afresh_or_stays(keep_returning, grown):
    """Links 2 and 4 go, of 0, 2, 4 and 8 among nine positions."""
    mask = torch.zeros(9, dtype=torch.bool)
    mask[[0, 2, 4, 8]] = True
    weight = SparseWeight(torch.tensor([1.0, 2.0, 3.0, 4.0]), pattern_of(mask.view(3, 3)))
    optimizer = torch.optim.Adam(weight.parameters())
    weight.values.grad = torch.tensor([5.0, 6.0, 7.0, 8.0])
    optimizer.step()
    names = ("exp_avg", "exp_avg_sq")
    of_position = dict(zip([0, 2, 4, 8], weight.values.tolist(), strict=True))
    before = [optimizer.state[weight.values][name].tolist() for name in names]
    rewired = plan_rewiring(
        weight,
        torch.tensor([False, True, True, False]),
        len(grown),
        There(grown),
        RandomKey(0),
        keep_returning=keep_returning,
    )
    apply_rewiring(weight, optimizer, rewired, topology.NormalInit(1.0), RandomKey(0))
    stay = {0, 8} | ({2, 4} & {*grown} if keep_returning else set())
    positions = weight.pattern.links.positions().tolist()
    assert positions == sorted({0, 8, *grown})
    assert {positions[slot] for slot in rewired.born} == {*positions} - stay
    for slot, position in enumerate(positions):
        assert (weight.values[slot] == of_position.get(position)) == (position in stay)
        old = [0, 2, 4, 8].index(position) if position in stay else None
        assert weight.values.grad[slot] == (0 if old is None else [5, 6, 7, 8][old])
        for name, entries in zip(names, before, strict=True):
            entry = optimizer.state[weight.values][name][slot]
            assert entry == (0 if old is None else entries[old])
    assert [int(slot) for slot in rewired.slot_map] == [
        positions.index(position) if position in stay else -1 for position in (0, 2, 4, 8)
    ]
    assert_valid(weight)


@pytest.mark.parametrize("positions", [[2, 2], [0, 2], [2, 1]])
def test_wrong_positions_are_refused_where_links_may_return(positions):
    weight = SparseWeight.from_dense(torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match="expected"):
        rewired = plan_rewiring(
            weight,
            torch.tensor([False, True]),
            2,
            There(positions),
            RandomKey(0),
            keep_returning=True,
        )
        apply_rewiring(weight, None, rewired, ZeroInit(), RandomKey(0))
    assert weight.topology_version == 0


def test_a_rewiring_shows_its_rules_and_links():
    model = SparseRNN(3, 20, density=0.2)
    shown = repr(topology.RigL(model, torch.optim.Adam(model.parameters()), steps=20, every=5))
    assert shown.startswith("RigL(links=80, prune=Magnitude(), grow=GradientGrowth(), fractions=")
    assert shown.endswith("every=5)")


class DropLast(topology.Prune):
    def drop(self, weight, fraction, key):
        return torch.arange(weight.nnz) >= weight.nnz - int(fraction * weight.nnz)


class FirstAbsent(topology.Grow):
    def grow(self, weight, kept, count, key):
        return sample_absent(kept, kept.absent, key)[:count]


class Numbered(topology.NewLinkInit):
    def values(self, weight, count, key):
        return torch.arange(1.0, count + 1)


def test_rules_of_ones_own(weight_of, links_of):
    weight = weight_of(torch.randn(10), 5, 5)
    before = links_of(weight)
    kept = weight.pattern.links.positions()[:6].tolist()
    absent = [position for position in range(25) if position not in kept][:4]
    rules = {"prune": DropLast(), "grow": FirstAbsent(), "new_links": Numbered()}
    topology.Rewiring(weight, None, **rules, fraction=0.4, every=1).step()
    expected = {position: before[position] for position in kept}
    expected |= dict(zip(absent, [1.0, 2.0, 3.0, 4.0], strict=True))
    assert links_of(weight) == expected


def growing(choose):
    """A grow rule that returns what ``choose`` makes of the links it must not touch."""

    class Wrong(topology.Grow):
        def grow(self, weight, kept, count, key):
            return choose(kept, sample_absent(kept, count, key))

    return {"grow": Wrong()}


def dropping(choose):
    class Wrong(topology.Prune):
        def drop(self, weight, fraction, key):
            return choose(topology.SignedMagnitude().drop(weight, fraction, key))

    return {"prune": Wrong()}


class TooFew(topology.NewLinkInit):
    def values(self, weight, count, key):
        return torch.zeros(count - 1)


COUNT, ORDER = r"expected \d+ positions from .* found shape", "expected cells strictly increasing"
WRONG = [
    (growing(lambda kept, cells: kept.positions()[: len(cells)]), "found an existing link at row"),
    (growing(lambda kept, cells: cells[1:]), COUNT),
    (growing(lambda kept, cells: cells[None]), COUNT),
    (growing(lambda kept, cells: cells.flip(0)), ORDER),
    (growing(lambda kept, cells: cells.clamp(max=cells[0])), ORDER),
    (growing(lambda kept, cells: cells + 1200), ORDER),
    (growing(lambda kept, cells: cells - 1200), ORDER),
    (growing(lambda kept, cells: cells.int()), "cells of dtype int64, found int32"),
    (dropping(lambda gone: gone[1:]), "expected dropped of shape"),
    (dropping(lambda gone: gone.int()), "expected dropped of dtype bool, found int32"),
    ({"new_links": TooFew()}, "shape mismatch"),
]


@pytest.mark.parametrize(("rules", "message"), WRONG)
def test_a_wrong_rule_is_refused_and_nothing_changes(rules, message):
    layer = SparseLinear(40, 30, density=0.2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.randn(8, 40)).square().sum().backward()
    optimizer.step()
    values = layer.weight.values
    state = optimizer.state[values]
    tensors = [*layer.weight.pattern, values, values.grad, state["exp_avg"], state["exp_avg_sq"]]
    before = [tensor.detach().clone() for tensor in tensors]
    rules = {"prune": topology.SignedMagnitude(), "grow": topology.RandomGrowth()} | rules
    rule = topology.Rewiring(layer, optimizer, **rules, fraction=0.4, every=1)
    with pytest.raises((ValueError, RuntimeError), match=message):
        rule.step()
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor, old)
    assert layer.weight.topology_version == 0
    assert_valid(layer.weight)


METHODS = {
    "SET": lambda m, o: SET(m, o, fraction=0.3, every=4, seed=3),
    "RigL": lambda m, o: RigL(m, o, steps=1000, every=4, seed=3),
}
DATA = [torch.randn(16, 20, generator=torch.Generator().manual_seed(i)) for i in range(12)]


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def network(seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = [SparseLinear(20, 20, density=0.2, generator=generator) for _ in range(2)]
    return nn.Sequential(layers[0], nn.Tanh(), layers[1]).double()


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.01)


def loss_of(model, x):
    return model(x.double()).square().mean()


def train(model, optimizer, rule, data=DATA):
    for x in data:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()
        rule.step()


def assert_same(model, other, exactly=True):
    tolerance = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-9, "atol": 1e-12}
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, **tolerance, msg=name)


def cleared_after_the_step(model, optimizer, rule):
    for x in DATA:
        loss_of(model, x).backward()
        optimizer.step()
        optimizer.zero_grad()
        rule.step()


def accumulated(model, optimizer, rule):
    for x in DATA:
        optimizer.zero_grad()
        for part in x.split(4):
            (loss_of(model, part) / 4).backward()
        optimizer.step()
        rule.step()


def evaluating_between(model, optimizer, rule):
    for x in DATA:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()
        with torch.no_grad():
            loss_of(model, DATA[0])
        loss_of(model, DATA[1])
        rule.step()


def skipping(overflow):
    """A step that the scaler skips leaves no trace."""

    def loop(model, optimizer, rule):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for x in [*DATA[:overflow], torch.full_like(DATA[0], torch.inf), *DATA[overflow:]]:
            optimizer.zero_grad()
            scaler.scale(loss_of(model, x)).backward()
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            (rule.skip if scaler.get_scale() < scale else rule.step)()

    return loop


# 3: the very step before a rewiring, whose gradient RigL looks at.
LOOPS = [cleared_after_the_step, accumulated, evaluating_between, *map(skipping, (0, 3, 5))]


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_that_say_the_same_end_alike(method, loop):
    plain, model = network(), network()
    optimizers = [adam(plain), adam(model)]
    train(plain, optimizers[0], method(plain, optimizers[0]))
    rule = method(model, optimizers[1])
    loop(model, optimizers[1], rule)
    assert rule.steps_taken == len(DATA)
    assert_same(plain, model, exactly=loop is not accumulated)


def test_an_optimizer_for_each_weight_in_turn(method):
    # A rewiring knows one optimizer; state of another one would stay with the old links.
    model, together = network(), network()
    parts = [[*model[i].parameters()] for i in (0, 2)]
    rule = method(model, None)
    optimizers = [torch.optim.SGD(part, lr=0.1) for part in parts]
    for x in DATA:
        model.zero_grad()
        loss_of(model, x).backward()
        for optimizer in optimizers:
            optimizer.step()
        rule.step()
    one = torch.optim.SGD(together.parameters(), lr=0.1)
    train(together, one, method(together, one))
    assert_same(together, model)


def test_a_weight_that_is_used_twice_is_rewired_once_by_the_sum_of_its_gradients():
    layer = SparseLinear(20, 20, bias=False, density=0.2, dtype=torch.float64)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    rule = RigL(model, None, steps=1000, every=1)
    batches = [x.double() for x in DATA[:2]]
    for x in batches:
        loss_of(model, x).backward()
    dense = layer.weight.to_dense().detach().requires_grad_()
    sum((torch.tanh(x @ dense.T) @ dense.T).square().mean() for x in batches).backward()
    assert len(rule.weights) == 1 and len(layer.weight.captured[0]) == 4
    seen = []
    rule.observers.append(lambda name, weight, rewired: seen.append(rewired))
    rule.step()
    (rewired,) = seen
    positions = rewired.links.positions()
    born = torch.zeros(positions.numel(), dtype=torch.bool)
    born[rewired.born.long()] = True
    dense.grad.view(-1)[positions[~born]] = 0
    strongest = dense.grad.abs().flatten().argsort(descending=True)[: int(born.sum())]
    assert layer.weight.topology_version == 1 and born.any()
    assert {*positions[born].tolist()} == {*strongest.tolist()}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_state_that_begins_late(method, momentum):
    # Neither optimizer has state before its first step, one of them never.
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    rule = method(model, optimizer)
    for _ in range(4):
        loss_of(model, DATA[0]).backward()
        rule.step()
    assert model[0].weight.topology_version == 1 and not optimizer.state
    train(model, optimizer, rule)
    assert model[0].weight.topology_version == 4
    for layer in (model[0], model[2]):
        assert_valid(layer.weight)
        buffer = optimizer.state[layer.weight.values].get("momentum_buffer")
        assert (buffer is None) == (momentum == 0)
        assert buffer is None or buffer.shape == (layer.weight.nnz,)


def test_lbfgs_is_refused():
    model = network()
    with pytest.raises(ValueError, match="one entry of state per link, found LBFGS"):
        SET(model, torch.optim.LBFGS(model.parameters()))
