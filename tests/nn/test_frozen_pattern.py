"""A frozen pattern: values train, links stay."""

import pytest
import torch
from torch import nn

from sparse_engine.nn import SparseLinear
from sparse_engine.ops import RandomKey
from sparse_engine.topology import SET, Grow, Magnitude, RandomGrowth, Rewiring
from sparse_engine.topology.grow import ZeroInit
from sparse_engine.topology.rewiring import apply_rewiring, plan_rewiring


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
