"""Rewiring: exact counts, literal rules, and what moves along with the links."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight
from sparse_engine.ops import sample_absent
from sparse_engine.testing import assert_valid, random_pattern
from sparse_engine.topology import (
    SET,
    Dynamic,
    Grow,
    Magnitude,
    Normal,
    Prune,
    Static,
    TwoSided,
    Uniform,
)


def links_of(weight, values=None):
    """Cell -> value."""
    values = weight.values.detach() if values is None else values
    return dict(zip(weight.pattern.links.cells().tolist(), values.tolist(), strict=True))


def literal_set(values, fraction):
    """Which links SET keeps, read word for word with sorted lists."""
    gone = np.zeros(len(values), bool)
    for sign in (1, -1):
        side = [i for i in range(len(values)) if sign * values[i] > 0]
        side.sort(key=lambda i: (sign * values[i], i))
        gone[side[: int(fraction * len(side))]] = True
    return gone | (values == 0)


VALUES = {
    "ordinary": np.random.default_rng(0).normal(size=60),
    "ties": np.random.default_rng(1).integers(-2, 3, 60).astype(float),
    "all positive": np.arange(1.0, 61.0),
    "all negative": -np.arange(1.0, 61.0),
    "zeros": np.zeros(60),
    "one": np.array([-3.0]),
    "none": np.zeros(0),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.3, 1.0])
def test_two_sided_cut_is_the_literal_rule(kind, fraction):
    values = VALUES[kind]
    weight = SparseWeight(torch.tensor(values), random_pattern(10, 12, len(values)))
    dropped = TwoSided().drop(weight, fraction).numpy()
    assert np.array_equal(dropped, literal_set(values, fraction))


@pytest.mark.parametrize("kind", VALUES)
def test_magnitude_is_the_literal_rule(kind):
    values = VALUES[kind]
    weight = SparseWeight(torch.tensor(values), random_pattern(10, 12, len(values)))
    dropped = Magnitude().drop(weight, 0.3).numpy()
    order = sorted(range(len(values)), key=lambda i: (abs(values[i]), i))
    assert set(np.flatnonzero(dropped)) == set(order[: int(0.3 * len(values))])


@given(data=st.data())
def test_counts_stay_exact_over_many_rewirings(data):
    rows, cols = data.draw(st.integers(1, 25)), data.draw(st.integers(1, 25))
    share = data.draw(st.sampled_from([0.0, 0.05, 0.3, 0.98, 1.0]))
    nnz = round(share * rows * cols)
    weight = SparseWeight(torch.randn(nnz), random_pattern(rows, cols, nnz, seed=rows))
    rule = SET(weight, None, fraction=data.draw(st.floats(0, 1)), every=1)
    for _ in range(40):
        rule.step()
        assert weight.nnz == nnz
        with torch.no_grad():
            weight.values.add_(torch.randn(nnz).round())
    assert_valid(weight)


def test_survivors_keep_their_values_and_new_links_start_at_zero():
    weight = SparseWeight(torch.randn(500), random_pattern(60, 50, 500))
    before = links_of(weight)
    dropped = TwoSided().drop(weight, 0.3)
    kept = weight.pattern.links.cells()[~dropped].tolist()
    parameter, storage = weight.values, weight.values.data_ptr()
    SET(weight, None, fraction=0.3, every=1).step()
    after = links_of(weight)
    assert weight.values is parameter and weight.values.data_ptr() == storage
    assert {cell: after[cell] for cell in kept} == {cell: before[cell] for cell in kept}
    assert all(after[cell] == 0 for cell in after.keys() - set(kept))
    assert len(after) == 500


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_state_and_gradient_move_with_the_links(name):
    layer = SparseLinear(40, 30, density=0.2)
    optimizer = OPTIMIZERS[name](layer.parameters())
    for _ in range(3):
        layer(torch.randn(8, 40)).square().sum().backward()
        optimizer.step()
    weight = layer.weight
    state = optimizer.state[weight.values]
    moments = {k: v for k, v in state.items() if torch.is_tensor(v) and v.shape == (weight.nnz,)}
    assert moments
    before = {key: links_of(weight, moment) for key, moment in moments.items()}
    before["grad"] = links_of(weight, weight.values.grad)
    kept = set(weight.pattern.links.cells()[~TwoSided().drop(weight, 0.4)].tolist())
    SET(layer, optimizer, fraction=0.4, every=1).step()
    after = {key: links_of(weight, optimizer.state[weight.values][key]) for key in moments}
    after["grad"] = links_of(weight, weight.values.grad)
    for key in after:
        for cell, value in after[key].items():
            assert value == (before[key][cell] if cell in kept else 0), key
    layer(torch.randn(8, 40)).square().sum().backward()
    optimizer.step()


def test_an_optimizer_without_state_yet():
    layer = SparseLinear(40, 30, density=0.2)
    SET(layer, torch.optim.Adam(layer.parameters()), every=1).step()
    assert_valid(layer.weight)


def test_schedule_and_shared_and_frozen_weights():
    shared = SparseLinear(20, 20, density=0.2)
    frozen = SparseLinear(20, 20, density=0.2).requires_grad_(False)
    model = nn.Sequential(shared, shared, frozen)
    rule = SET(model, None, fraction=0.5, every=3)
    before = frozen.weight.to_dense()
    assert [rule.step() for _ in range(7)] == [False, False, True, False, False, True, False]
    assert len(rule.weights) == 2
    assert shared.weight.topology_version == 2
    assert frozen.weight.topology_version == 0
    assert torch.equal(frozen.weight.to_dense(), before)


def test_static_never_rewires():
    model = SparseLinear(20, 20, density=0.2)
    rule = Static(model)
    assert not any(rule.step() for _ in range(300))
    assert model.weight.topology_version == 0


def test_new_links_can_start_elsewhere():
    weight = SparseWeight(torch.ones(300), random_pattern(40, 40, 300))
    SET(weight, None, fraction=0.5, every=1, birth=Normal(0.1)).step()
    born = weight.values.detach()[weight.values.detach() != 1]
    assert born.numel() == 150
    assert 0.07 < born.std() < 0.13


class DropLast(Prune):
    def drop(self, weight, fraction):
        gone = torch.zeros(weight.nnz, dtype=torch.bool)
        gone[weight.nnz - int(fraction * weight.nnz) :] = True
        return gone


class FirstAbsent(Grow):
    def grow(self, weight, kept, count, key):
        return sample_absent(kept, kept.absent, key)[:count]


class Existing(Grow):
    def grow(self, weight, kept, count, key):
        return kept.cells()[:count]


class TooFew(Grow):
    def grow(self, weight, kept, count, key):
        return sample_absent(kept, count - 1, key)


def test_rules_of_ones_own():
    weight = SparseWeight(torch.randn(10), random_pattern(5, 5, 10))
    kept = weight.pattern.links.cells()[:6].tolist()
    absent = [cell for cell in range(25) if cell not in kept][:4]
    Dynamic(weight, None, prune=DropLast(), grow=FirstAbsent(), fraction=0.4, every=1).step()
    assert sorted(links_of(weight)) == sorted(kept + absent)


@pytest.mark.parametrize(
    ("grow", "message"), [(Existing(), "an existing link"), (TooFew(), "expected 4 cells from")]
)
def test_a_wrong_grow_rule_is_refused_and_nothing_changes(grow, message):
    weight = SparseWeight(torch.randn(10), random_pattern(5, 5, 10))
    before = links_of(weight)
    rule = Dynamic(weight, None, prune=DropLast(), grow=grow, fraction=0.4, every=1)
    with pytest.raises(ValueError, match=message):
        rule.step()
    assert links_of(weight) == before
    assert_valid(weight)


def test_nan_is_refused_and_nothing_changes():
    weight = SparseWeight(torch.randn(10), random_pattern(5, 5, 10))
    with torch.no_grad():
        weight.values[4] = torch.nan
    with pytest.raises(ValueError, match="NaN at link 4"):
        SET(weight, None, every=1).step()
    assert_valid(weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 1.5}, r"fraction in \[0, 1\], found 1.5"),
        ({"every": 0}, "every of at least 1 step, found 0"),
    ],
)
def test_argument_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        SET(SparseLinear(4, 4, density=0.5), None, **arguments)


def test_a_model_without_sparse_weights():
    with pytest.raises(ValueError, match="expected a model with sparse weights"):
        SET(nn.Linear(3, 3), None)


def train(steps, model, optimizer, rule, start=0):
    for step in range(start, start + steps):
        x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x)[0].square().mean().backward()
        optimizer.step()
        rule.step()


def setup():
    model = SparseRNN(3, 40, num_layers=2, density=0.1, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, optimizer, SET(model, optimizer, every=7, seed=3)


def test_resuming_equals_never_having_stopped():
    whole = setup()
    train(40, *whole)
    first = setup()
    train(20, *first)
    saved = [part.state_dict() for part in first]
    second = setup()
    train(3, *second)
    for part, state in zip(second, saved, strict=True):
        part.load_state_dict(state)
    train(20, *second, start=20)
    for name, value in whole[0].state_dict().items():
        assert torch.equal(second[0].state_dict()[name], value), name


def test_a_foreign_state_is_refused():
    rule = setup()[2]
    with pytest.raises(ValueError, match="expected entries steps >= 0 and seed"):
        rule.load_state_dict({"step": 3})


def test_uniform_growth_allows_cells_that_were_just_removed():
    weight = SparseWeight(torch.ones(9), random_pattern(3, 3, 9))
    Dynamic(weight, None, prune=Magnitude(), grow=Uniform(), fraction=0.5, every=1).step()
    assert weight.nnz == 9
