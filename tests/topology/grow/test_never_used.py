"""NeverUsed: new cells first, and a memory that survives."""

import pytest
import torch

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.testing import assert_valid, random_pattern
from sparse_engine.topology import Dynamic, Magnitude, NeverUsed


def training(seed=0):
    torch.manual_seed(seed)
    weight = SparseWeight(torch.randn(20), random_pattern(8, 10, 20))
    return weight, Dynamic(weight, None, prune=Magnitude(), grow=NeverUsed(), fraction=0.5, every=1)


def test_every_cell_is_tried_before_one_is_tried_again():
    weight, rule = training()
    ever = set(weight.pattern.links.cells().tolist())
    for turn in range(1, 12):
        before = set(weight.pattern.links.cells().tolist())
        with torch.no_grad():
            weight.values.copy_(torch.randn(20))
        kept_or_old = set(before)
        rule.step()
        grown = set(weight.pattern.links.cells().tolist()) - kept_or_old
        fresh = min(10, 80 - len(ever))
        assert len(grown - ever) == fresh
        ever |= grown
        assert len(ever) == min(80, 20 + 10 * turn)
        assert_valid(weight)


def test_resume():
    weight, rule = training()
    for _ in range(3):
        rule.step()
    state, links, values = rule.state_dict(), weight.pattern.links, weight.values.detach().clone()
    other = SparseWeight(values, random_pattern(8, 10, 20))
    other.load_state_dict(weight.state_dict())
    again = Dynamic(other, None, prune=Magnitude(), grow=NeverUsed(), fraction=0.5, every=1)
    again.load_state_dict(state)
    assert torch.equal(other.pattern.links.cells(), links.cells())
    for _ in range(3):
        rule.step()
        again.step()
        assert torch.equal(other.col_indices, weight.col_indices)


def test_a_foreign_state_is_refused():
    for state in ({"x": torch.tensor([1])}, {"0": 3}, {"0": torch.tensor([2, 1])}):
        with pytest.raises(ValueError, match="expected increasing cells"):
            NeverUsed().load_state_dict(state)


def test_no_room():
    weight = SparseWeight(torch.randn(6), random_pattern(2, 3, 6))
    with pytest.raises(ValueError, match="absent"):
        NeverUsed().grow(weight, weight.pattern.links, 1, RandomKey(0))
