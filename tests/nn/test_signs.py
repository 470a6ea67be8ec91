"""Signs that stay, and patterns that do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from testing import assert_valid, patterns, random_pattern
from torch import nn

from sparse_engine.nn import DaleSigns, FixedSigns, GroupedWeight, SparseLinear, SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import SET, Grow, Magnitude, NormalInit, RandomGrowth, Rewiring
from sparse_engine.topology.grow import ZeroInit
from sparse_engine.topology.rewiring import apply_rewiring, plan_rewiring


def clamped(values, signs):
    """The rule, for one link after the other."""
    pairs = zip(values.tolist(), signs.tolist(), strict=True)
    return np.array([0.0 if value * sign < 0 else value for value, sign in pairs])


def read(weight):
    return weight.values.detach().numpy().copy()


def cells_of(weight):
    return weight.pattern.links.positions().tolist()


def push(weight, seed):
    """Moves the values far, so that many cross 0."""
    with torch.no_grad():
        weight.values.add_(
            2 * torch.randn(weight.nnz, generator=torch.Generator().manual_seed(seed))
        )


def integers_of(nnz):
    return torch.randint(-2, 3, (nnz,), dtype=torch.float64)


@given(pattern=patterns())
def test_fixed_signs_clamp_what_crosses_zero(pattern):
    weight = SparseWeight(integers_of(pattern.nnz), pattern)
    constraint, signs = FixedSigns(weight), np.sign(read(weight))
    for _ in range(4):
        with torch.no_grad():
            weight.values.add_(integers_of(pattern.nnz))
        expected = clamped(read(weight), signs)
        constraint.apply()
        assert np.array_equal(read(weight), expected)
        signs = np.where(signs == 0, np.sign(expected), signs)
        assert np.array_equal(constraint.signs().numpy(), signs)


@given(pattern=patterns())
def test_dale_signs_clamp_what_crosses_zero(pattern):
    weight = SparseWeight(torch.randn(pattern.nnz), pattern)
    excitatory, magnitudes = torch.rand(pattern.shape[1]) < 0.7, np.abs(read(weight))
    signs = np.array([1 if excitatory[col] else -1 for col in weight.col_indices.tolist()])
    constraint = DaleSigns(weight, excitatory)
    assert np.array_equal(read(weight), magnitudes * signs)
    push(weight, 0)
    expected = clamped(read(weight), signs)
    constraint.apply()
    assert np.array_equal(read(weight), expected)


def test_given_signs_hold_at_once():
    weight = SparseWeight(torch.tensor([1.0, -2.0, 3.0, -4.0, 0.0]), random_pattern(3, 3, 5))
    FixedSigns(weight, torch.tensor([-1, -1, 0, 1, 1]))
    assert weight.values.tolist() == [-1.0, -2.0, 3.0, 4.0, 0.0]


def test_steps_are_projected_gradient_steps():
    weight = SparseWeight(torch.randn(200, dtype=torch.float64), random_pattern(20, 20, 200))
    constraint = FixedSigns(weight)
    signs = constraint.signs().clone()
    optimizer = torch.optim.SGD([weight.values], lr=0.5)
    handle = constraint.attach(optimizer)
    before, gradient = weight.values.detach().clone(), torch.randn(200).double()
    weight.values.grad = gradient
    optimizer.step()
    expected = clamped(before - 0.5 * gradient, signs)
    assert np.array_equal(read(weight), expected)
    assert 20 < (expected == 0).sum() < 180
    handle.remove()
    optimizer.step()
    assert np.array_equal(read(weight), expected - 0.5 * gradient.numpy())


@pytest.mark.parametrize("new_links", [ZeroInit(), NormalInit(0.5)])
@pytest.mark.parametrize(("optimizer", "lr"), [(torch.optim.SGD, 0.005), (torch.optim.Adam, 0.1)])
def test_fixed_signs_go_with_their_links(optimizer, lr, new_links):
    model = nn.Sequential(SparseLinear(20, 30, density=0.2), SparseLinear(30, 5, density=0.3))
    weight = model[0].weight
    optimizer = optimizer(model.parameters(), lr=lr)
    constraint, rule = FixedSigns(weight), SET(model, optimizer, every=3, new_links=new_links)
    constraint.attach(optimizer)
    rule.observers.append(constraint)
    known = dict(zip(cells_of(weight), np.sign(read(weight)), strict=True))

    def carry(name, rewired_weight, rewired):
        if rewired_weight is weight:
            cells = cells_of(weight)
            for slot in rewired.born.tolist():
                known[cells[slot]] = np.sign(read(weight)[slot])
            for cell in known.keys() - set(cells):
                del known[cell]

    rule.observers.append(carry)
    held = 0
    for _ in range(30):
        optimizer.zero_grad()
        (model(torch.randn(8, 20)) - 1).square().sum().backward()
        optimizer.step()
        for cell, value in zip(cells_of(weight), read(weight), strict=True):
            known[cell] = known[cell] or np.sign(value)
            held += value == 0
            assert value * known[cell] >= 0
        rule.step()
        assert constraint.signs().tolist() == [known[cell] for cell in cells_of(weight)]
    assert 10 < held < 30 * weight.nnz / 2
    assert_valid(weight)


@pytest.mark.parametrize("new_links", [ZeroInit(), NormalInit(0.5)])
def test_new_links_obey_dales_law(new_links):
    layer = SparseLinear(20, 30, density=0.2)
    excitatory = torch.arange(20) % 3 > 0
    constraint = DaleSigns(layer.weight, excitatory)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9)
    constraint.attach(optimizer)
    rule = SET(layer, optimizer, every=2, new_links=new_links)
    rule.observers.append(constraint)
    born = []
    rule.observers.append(lambda name, weight, rewired: born.append(rewired.born.long()))
    for _ in range(20):
        optimizer.zero_grad()
        (layer(torch.randn(8, 20)) - 1).square().mean().backward()
        optimizer.step()
        rewired = rule.step()
        dense = layer.weight.to_dense()
        assert (dense[:, excitatory] >= 0).all() and (dense[:, ~excitatory] <= 0).all()
        if rewired and new_links != ZeroInit():
            assert layer.weight.values[born[-1]].count_nonzero() == born[-1].numel() > 0
    assert dense.count_nonzero() > 60


def test_a_rewiring_turns_new_links_only():
    layer = SparseLinear(20, 30, density=0.2)
    constraint = DaleSigns(layer.weight, torch.arange(20) % 3 > 0)
    push(layer.weight, 0)
    before = read(layer.weight)
    wrong = before * constraint.signs().numpy() < 0
    moved = []
    rule = SET(layer, None, every=1, new_links=NormalInit(0.5))
    rule.observers += [constraint, lambda *told: moved.append(told[2].slot_map.numpy())]
    rule.step()
    kept = moved[0] >= 0
    assert (kept & wrong).sum() > 10
    assert np.array_equal(read(layer.weight)[moved[0][kept]], before[kept])
    constraint.apply()
    assert not read(layer.weight)[moved[0][kept & wrong]].any()


def test_a_change_that_was_not_observed_is_named():
    layer = SparseLinear(20, 20, density=0.3)
    constraint = FixedSigns(layer.weight)
    SET(layer, None, every=1).step()
    with pytest.raises(ValueError, match="version 0, and 1 of the weight; append this object"):
        constraint.apply()


def test_saved_signs_are_those_of_links_at_zero_too():
    weight, other = (SparseWeight(torch.randn(200), random_pattern(20, 20, 200)) for _ in "ab")
    constraint, resumed = FixedSigns(weight), FixedSigns(other)
    push(weight, 3)
    constraint.apply()
    assert (constraint.state_dict()["signs"][weight.values == 0] != 0).any()
    other.load_state_dict(weight.state_dict())
    resumed.load_state_dict(constraint.state_dict())
    for each, own in ((weight, constraint), (other, resumed)):
        push(each, 4)
        own.apply()
    assert torch.equal(weight.values, other.values)
    assert torch.equal(constraint.signs(), resumed.signs())


def test_gains_of_groups_keep_their_signs():
    base, group = torch.randn(40), torch.arange(40) % 4
    gain = torch.tensor([1.0, -1.0, 2.0, 0.0])
    weight = GroupedWeight(base, random_pattern(8, 8, 40), group, gain=gain)
    constraint = FixedSigns(weight)
    with torch.no_grad():
        weight.gain.copy_(torch.tensor([-1.0, 1.0, 1.0, -1.0]))
    constraint.apply()
    assert weight.gain.tolist() == [0.0, 0.0, 1.0, -1.0]
    assert constraint.signs().tolist() == [1, -1, 1, -1]


def grouped():
    return GroupedWeight(torch.ones(8), random_pattern(4, 4, 8))


ERRORS = {
    "few signs": (
        lambda w: FixedSigns(w, torch.ones(3).int()),
        r"signs of shape \[8\], found \[3\]",
    ),
    "float signs": (lambda w: FixedSigns(w, torch.ones(8)), "signs of an integer dtype"),
    "another sign": (
        lambda w: FixedSigns(w, torch.tensor([0, 1, -1, 1, 2, 1, 1, 3])),
        "signs of 1, -1 or 0, found 2 at position 4",
    ),
    "no signs": (lambda w: FixedSigns(w).load_state_dict({}), r"one entry signs, found \[\]"),
    "few saved": (
        lambda w: FixedSigns(w).load_state_dict({"signs": torch.ones(3).int()}),
        r"signs of shape \[8\], found \[3\]",
    ),
    "few neurons": (
        lambda w: DaleSigns(w, torch.ones(3) > 0),
        r"excitatory of dtype torch.bool and shape \[4\], found torch.bool of shape \[3\]",
    ),
    "signs of neurons": (lambda w: DaleSigns(w, torch.ones(4)), "found torch.float32 of shape"),
    "groups": (
        lambda w: DaleSigns(grouped(), torch.ones(4) > 0),
        "whose values are a Parameter, found GroupedWeight.* keep its gains positive",
    ),
}


@pytest.mark.parametrize("error", ERRORS)
def test_wrong_arguments_are_named(error):
    make, message = ERRORS[error]
    weight = SparseWeight(torch.randn(8), random_pattern(4, 4, 8))
    before = read(weight)
    with pytest.raises(ValueError, match=message):
        make(weight)
    assert np.array_equal(read(weight), before)


class Looking(Grow):
    """Grows at random, after a look at two steps of factors."""

    window = 2

    def grow(self, weight, kept, count, key):
        assert len(weight.captured) == 2 and all(weight.captured)
        return RandomGrowth().grow(weight, kept, count, key)


def looking(model):
    return Rewiring(model, None, prune=Magnitude(), grow=Looking(), every=3)


def two_layers():
    generator = torch.Generator().manual_seed(1)
    return nn.Sequential(
        *(SparseLinear(20, 20, density=0.2, generator=generator) for _ in range(2))
    )


def train(model, rule, steps, optimizer=None):
    for _ in range(steps):
        model.zero_grad()
        model(torch.randn(5, 20)).square().sum().backward()
        if optimizer is not None:
            optimizer.step()
        rule.step()


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_values_train_and_links_stay(optimizer):
    model = two_layers()
    frozen = model[0].weight
    frozen.frozen_pattern = True
    links = [part.clone() for part in frozen.pattern]
    values = frozen.values.detach().clone()
    optimizer = optimizer(model.parameters(), lr=0.01)
    train(model, SET(model, optimizer, every=2), 6, optimizer)
    assert all(map(torch.equal, frozen.pattern, links))
    assert (frozen.topology_version, model[1].weight.topology_version) == (0, 3)
    assert (frozen.values != values).all()


def test_others_are_rewired_as_if_nothing_were_frozen():
    model, twin = two_layers(), two_layers()
    model[0].weight.frozen_pattern = True
    for each in (model, twin):
        SET(each, None, every=1, seed=3).step()
    ours, theirs = ([each[i].weight.col_indices for i in (0, 1)] for each in (model, twin))
    assert torch.equal(ours[1], theirs[1])
    assert not torch.equal(ours[0], theirs[0])


def test_nothing_is_noted_for_a_frozen_pattern():
    model = two_layers()
    model[0].weight.frozen_pattern = True
    rule = looking(model)
    train(model, rule, 2)
    assert model[0].weight.captured is None
    assert len(model[1].weight.captured) == 2
    train(model, rule, 4)
    assert (model[0].weight.topology_version, model[1].weight.topology_version) == (0, 2)


def test_links_are_not_set_by_hand():
    weight, other = (SparseLinear(20, 30, density=0.2).weight for _ in range(2))
    before = weight.to_dense()
    weight.frozen_pattern = True
    with pytest.raises(ValueError, match=r"pattern is not frozen, found SparseWeight\(30 x 20"):
        weight.set_pattern(other.pattern, other.values)
    assert torch.equal(weight.to_dense(), before) and weight.topology_version == 0
    weight.reset_parameters()
    assert torch.equal(weight.to_dense() != 0, before != 0)
    weight.frozen_pattern = False
    weight.set_pattern(other.pattern, other.values)
    assert torch.equal(weight.to_dense(), other.to_dense())


def test_rewiring_by_hand_is_refused():
    weight = SparseLinear(4, 4, density=0.5).weight
    weight.frozen_pattern = True
    with pytest.raises(ValueError, match=r"pattern is not frozen, found SparseWeight\(4 x 4"):
        rewired = plan_rewiring(
            weight, torch.zeros(8, dtype=torch.bool), 0, RandomGrowth(), RandomKey(0)
        )
        apply_rewiring(weight, None, rewired, ZeroInit(), RandomKey(0))
