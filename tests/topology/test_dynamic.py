"""Rewiring along training: the clock, which weights it reaches, and its arguments."""

import math

import pytest
import torch
from torch import nn

from sparse_engine.nn import SparseLinear, SparseRNN
from sparse_engine.topology import SET, Constant, Dynamic, GlobalMagnitude, RigL, Static, Uniform


def test_the_clock():
    model = SparseLinear(20, 20, density=0.2)
    rule = SET(model, None, fraction=0.5, every=3)
    assert [rule.step() for _ in range(7)] == [False, False, True, False, False, True, False]
    assert model.weight.topology_version == 2


def test_rewiring_now_does_not_touch_the_clock():
    model = SparseLinear(20, 20, density=0.2)
    rule = SET(model, None, fraction=0.5, every=3)
    rule.rewire()
    assert model.weight.topology_version == 1 and rule.steps == 0


def test_a_weight_that_is_shared_is_rewired_once():
    shared = SparseLinear(20, 20, density=0.2)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    SET(model, None, fraction=0.5, every=1).step()
    assert shared.weight.topology_version == 1


def test_every_sparse_weight_of_a_network_is_rewired():
    network = SparseRNN(6, 21, 2, bidirectional=True, density=0.2, input_density=0.5)
    dense = [parameter.detach().clone() for parameter in network.parameters()]
    rule = SET(network, None, fraction=0.5, every=1)
    rule.step()
    assert len(rule.weights) == 8
    assert all(weight.topology_version == 1 for weight in rule.weights)
    for (name, parameter), before in zip(network.named_parameters(), dense, strict=True):
        assert torch.equal(parameter, before) != name.endswith(".values"), name


def test_frozen_weights_are_left_alone_until_they_thaw():
    frozen = SparseLinear(20, 20, density=0.2).requires_grad_(False)
    model = nn.Sequential(SparseLinear(20, 20, density=0.2), frozen)
    rule = SET(model, None, fraction=0.5, every=1)
    before = frozen.weight.to_dense()
    rule.step()
    assert torch.equal(frozen.weight.to_dense(), before)
    assert frozen.weight.topology_version == 0
    frozen.requires_grad_(True)
    rule.step()
    assert frozen.weight.topology_version == 1


def test_static_never_rewires():
    model = SparseLinear(20, 20, density=0.2)
    rule = Static(model)
    before = model.weight.to_dense()
    assert not any(rule.step() for _ in range(300))
    assert rule.steps == 300
    assert torch.equal(model.weight.to_dense(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 1.5}, r"fraction in \[0, 1\], found 1.5"),
        ({"fraction": -0.1}, r"fraction in \[0, 1\], found -0.1"),
        ({"fraction": math.nan}, r"fraction in \[0, 1\], found nan"),
        ({"every": 0}, "every of at least 1 step, found 0"),
        ({"every": -3}, "every of at least 1 step, found -3"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SET(SparseLinear(4, 4, density=0.5), None, **arguments)


def test_a_model_without_sparse_weights():
    with pytest.raises(ValueError, match="expected a model with sparse weights"):
        SET(nn.Linear(3, 3), None)


def test_a_cut_over_the_whole_model_is_not_filled_up_again():
    model = nn.ModuleList([SparseLinear(20, 30, density=0.5) for _ in range(2)])
    with torch.no_grad():
        model[0].weight.values.mul_(0.01)
    magnitudes = [linear.weight.values.detach().abs() for linear in model]
    least = torch.cat(magnitudes).sort().values[300]
    largest = [
        linear.weight.pattern.links.cells()[magnitude >= least].tolist()
        for linear, magnitude in zip(model, magnitudes, strict=True)
    ]
    rule = Dynamic(
        model,
        None,
        prune=GlobalMagnitude(),
        grow=Uniform(),
        fraction=0.0,
        density=Constant(0.25),
        every=1,
    )
    rule.step()
    assert [linear.weight.pattern.links.cells().tolist() for linear in model] == largest
    assert sum(map(len, largest)) == 300 and len(largest[0]) < 20


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
