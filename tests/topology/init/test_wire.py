"""Wiring whole models, and wirings at scale."""

import tracemalloc

import numpy as np
import pytest
import torch
from testing import assert_valid
from torch import nn
from torch.nn.utils import parametrize

from sparse_engine import topology
from sparse_engine.nn import GroupedWeight, SparseLinear, SparseRNN, SparseWeight
from sparse_engine.ops import RandomKey


def model_of(seed=0):
    generator = torch.Generator().manual_seed(seed)
    first = SparseLinear(20, 30, density=0.2, generator=generator)
    rnn = SparseRNN(30, 24, num_layers=2, density=0.3, generator=generator)
    return nn.ModuleDict({"first": first, "rnn": rnn})


def weights_of(model):
    modules = model.named_modules()
    return {name: module for name, module in modules if isinstance(module, SparseWeight)}


RULES = [
    topology.ErdosRenyi(density=0.1),
    topology.ConstantFanIn(4),
    topology.WattsStrogatz(4, 0.2),
    topology.BarabasiAlbert(2),
    topology.StochasticBlockModel.modular(2, within=0.5, between=0.1),
    topology.ReceptiveField(0.2, 0.3),
    topology.ERKDensity(0.1),
    topology.EqualDensity(0.25),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_wire_makes_the_same_from_any_model(rule):
    one, other = model_of(1), model_of(2)
    parameters = list(one.parameters())
    for model in (one, other):
        topology.wire(model, rule, seed=7)
    assert all(a is b for a, b in zip(parameters, one.parameters(), strict=True))
    for (name, a), b in zip(weights_of(one).items(), weights_of(other).values(), strict=True):
        assert_valid(a)
        assert a.topology_version == 1
        assert torch.equal(a.crow_indices, b.crow_indices), name
        assert torch.equal(a.col_indices, b.col_indices)
        assert torch.equal(a.values, b.values)
    y, _ = one["rnn"](one["first"](torch.randn(5, 3, 20)))
    y.square().mean().backward()
    optimizer = torch.optim.Adam(one.parameters())
    optimizer.step()
    topology.SET(one, optimizer, every=1).step()
    before = one["rnn"].weight_hh_l0.col_indices.clone()
    topology.wire(one, rule, seed=8)
    assert not torch.equal(before, one["rnn"].weight_hh_l0.col_indices)


def test_weights_of_one_shape_are_wired_differently():
    model = nn.Sequential(SparseLinear(20, 30, density=0.2), SparseLinear(20, 30, density=0.2))
    topology.wire(model, topology.ConstantFanIn(4), signs=topology.RandomSigns())
    one, other = model[0].weight, model[1].weight
    assert not torch.equal(one.col_indices, other.col_indices)
    assert not torch.equal(one.values.abs(), other.values.abs())
    assert not torch.equal(one.values.sign(), other.values.sign())


def test_values_follow_the_new_fan_in():
    layer = SparseLinear(500, 400, density=0.5, dtype=torch.float64)
    layer.weight.values.grad = torch.ones_like(layer.weight.values)
    topology.wire(layer, topology.BarabasiAlbert(20), gain=3.0)
    weight = layer.weight
    bound = 3 / weight.fan_in().double().sqrt()
    scaled = weight.values.detach() / bound[weight.rows()]
    assert scaled.abs().max() <= 1
    assert scaled.var() == pytest.approx(1 / 3, rel=0.05)
    assert weight.values.dtype == torch.float64
    assert weight.values.grad is None


def test_allocations_share_out_over_the_model():
    model = model_of()
    topology.wire(model, topology.ERKDensity(0.2))
    weights = weights_of(model).values()
    shapes = [weight.shape for weight in weights]
    assert [weight.nnz for weight in weights] == topology.ERKDensity(0.2).counts(shapes)


def test_dale_holds_across_the_weights_of_a_model():
    model = model_of()
    topology.wire(model, topology.ErdosRenyi(density=0.9), signs=topology.Dale(0.75))
    within, onward = model["rnn"].weight_hh_l0.to_dense(), model["rnn"].weight_ih_l1.to_dense()
    of_unit = torch.cat([within, onward]).sign()
    assert ((of_unit >= 0).all(0) | (of_unit <= 0).all(0)).all()
    assert (of_unit.sum(0) > 0).sum() == 18


def without_gradient(layer):
    layer.requires_grad_(False)


def frozen(layer):
    layer.weight.frozen_pattern = True


def grouped(layer):
    layer.weight = GroupedWeight(layer.weight.values, layer.weight.pattern)


STAY = [without_gradient, frozen, grouped]


@pytest.mark.parametrize("hold", STAY)
def test_weights_whose_links_are_held_stay_and_keep_their_place(hold):
    model, held = model_of(), model_of()
    hold(held["first"])
    before = held["first"].weight.to_dense()
    for each in (model, held):
        topology.wire(each, topology.ConstantFanIn(4))
    assert torch.equal(held["first"].weight.to_dense(), before)
    assert torch.equal(held["rnn"].weight_hh_l1.to_dense(), model["rnn"].weight_hh_l1.to_dense())
    topology.wire(held, topology.ERKDensity(0.1))
    trained = [weight for name, weight in weights_of(held).items() if name != "first.weight"]
    positions = sum(weight.shape[0] * weight.shape[1] for weight in trained)
    assert sum(weight.nnz for weight in trained) == round(0.1 * positions)


@pytest.mark.parametrize("hold", [*STAY, None])
def test_a_model_without_a_weight_to_wire_is_refused(hold):
    model = nn.Linear(4, 4) if hold is None else SparseLinear(4, 4, density=0.5)
    if hold is not None:
        hold(model)
    with pytest.raises(ValueError, match=f"found none among {int(hold is not None)} sparse"):
        topology.wire(model, topology.ConstantFanIn(1))


class Transposed(topology.Wiring):
    def links(self, out_features, in_features, key):
        return topology.ConstantFanIn(1).links(in_features, out_features, key)


class TooFew(topology.SignInit):
    def signs(self, links, key):
        return torch.ones(min(7, links.nnz), dtype=torch.int8)


class Doubled(nn.Module):
    def forward(self, values):
        return 2 * values


# A rule, its options and what it says of the last layer, which does not suit it as others do.
UNSUITED = [
    (topology.ConstantFanIn(7), {}, "fan_in of at most 4, found 7"),
    (Transposed(), {}, r"a pattern of shape \(9, 4\) .* found \(4, 9\)"),
    (topology.ConstantFanIn(1), {"signs": TooFew()}, "expected 9 signs from .*, found shape .7."),
    (topology.ConstantFanIn(1), {}, "a module without parametrizations"),
]


@pytest.mark.parametrize(("rule", "options", "message"), UNSUITED)
def test_a_model_stays_as_it_was_where_one_weight_cannot_be_wired(rule, options, message):
    model = nn.Sequential(*(SparseLinear(n, n, density=0.5) for n in (7, 7)))
    last = SparseLinear(4, 9, density=0.5)
    if "parametrizations" in message:
        parametrize.register_parametrization(last.weight, "values", Doubled())
    model.append(last)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        topology.wire(model, rule, **options)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


N = 100_000
SPACE = np.random.default_rng(0).random((N, 2))
LARGE = [
    topology.ErdosRenyi(nnz=10**6),
    topology.ConstantFanIn(10),
    topology.WattsStrogatz(10, 0.1),
    topology.BarabasiAlbert(10),
    topology.StochasticBlockModel(np.where(np.eye(50), 4.02e-3, 2e-5).tolist()),
    topology.ReceptiveField(1e-4, 0.0),
    topology.ReceptiveField(1e-4, 0.5),
    topology.ExponentialDistance(SPACE, SPACE, scale=0.01, density=1e-4, candidates=16),
]


@pytest.mark.parametrize("rule", LARGE, ids=lambda rule: type(rule).__name__)
def test_a_million_links_between_a_hundred_thousand_units(rule):
    tracemalloc.start()
    try:
        links = rule.links(N, N, RandomKey(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert links.nnz == 10**6
    # Some arrays of a number for each link; the matrix has 10^10 positions.
    assert peak < 150e6
