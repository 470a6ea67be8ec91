"""Rewiring: the clock, which weights it reaches, and what moves with the links."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from testing import assert_valid, pattern_of, patterns
from torch import nn

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import (
    SET,
    Grow,
    NormalInit,
    RigL,
    SignedMagnitude,
)
from sparse_engine.topology.grow import ZeroInit
from sparse_engine.topology.rewiring import apply_rewiring, plan_rewiring


def test_the_clock():
    model = SparseLinear(20, 20, density=0.2)
    rule = SET(model, None, fraction=0.5, every=3)
    assert [rule.step() for _ in range(7)] == [False, False, True, False, False, True, False]
    assert model.weight.topology_version == 2
    held = [rule.step(hold=step == 9) for step in (8, 9, 10, 11, 12)]
    assert held == [False, False, False, False, True], "the wiring stays, and the clock goes on"
    rule.rewire()
    assert model.weight.topology_version == 4 and rule.steps == 12, "which is not of the clock"


def test_every_sparse_weight_of_a_network_is_rewired():
    network = SparseRNN(6, 21, 2, bidirectional=True, density=0.2, input_density=0.5)
    dense = [parameter.detach().clone() for parameter in network.parameters()]
    rule = SET(network, None, fraction=0.5, every=1)
    rule.step()
    assert len(rule.weights) == 8
    assert all(weight.topology_version == 1 for weight in rule.weights)
    for (name, parameter), before in zip(network.named_parameters(), dense, strict=True):
        assert torch.equal(parameter, before) != name.endswith(".values"), name


def test_a_model_stays_as_it_was_where_one_weight_cannot_be_rewired():
    """Growth by gradient, which the last weight has not, as it is not used."""
    model = nn.ModuleList([SparseLinear(20, 20, density=0.2) for _ in range(3)])
    rule = RigL(model, None, steps=100, every=1)
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
    rule = SET(weight, None, fraction=fraction, every=1, seed=seed)
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
    SET(weight, None, fraction=0.3, every=1).step()
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
            ~SignedMagnitude().drop(weight, 0.4, RandomKey(0))
        ].tolist()
    )
    steps, bias = float(state.get("step", 0)), layer.bias.detach().clone()
    SET(layer, optimizer, fraction=0.4, every=1).step()
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


class There(Grow):
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
    apply_rewiring(weight, optimizer, rewired, NormalInit(1.0), RandomKey(0))
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
    shown = repr(RigL(model, torch.optim.Adam(model.parameters()), steps=20, every=5))
    assert shown.startswith("RigL(links=80, prune=Magnitude(), grow=GradientGrowth(), fraction=Cos")
    assert shown.endswith("every=5)")
