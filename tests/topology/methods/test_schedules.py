"""The numbers of the papers: how much each method replaces, and when."""

import math

import pytest
import torch

from sparse_engine.nn import SparseLinear
from sparse_engine.topology import (
    CHT,
    DSR,
    GSE,
    ITOP,
    MEST,
    SET,
    SNFS,
    CHTs,
    CHTss,
    DeepR,
    GradualPruning,
    GraNet,
    PeriodicDeepR,
    RigL,
    Selfish,
)


def sigmoid(share, steepness=6):
    low, here, high = (1 / (1 + math.exp(steepness * x)) for x in (1, 1 - 2 * share, -1))
    return (here - low) / (high - low)


def parts():
    model = SparseLinear(20, 20, density=0.5)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def half(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


#: A method, its options, how often it rewires, and the share that it replaces after so many steps.
SHARES = [
    (SET, {}, 100, {0: 0.3, 10_000: 0.3}),
    (DSR, {}, 100, {0: 0.1, 10_000: 0.1}),
    (CHT, {}, 100, {0: 0.3, 10_000: 0.3}),
    (CHTs, {"steps": 100}, 100, {0: 0.3, 10_000: 0.3}),
    (RigL, {"steps": 1000}, 100, {0: 0.3, 100: half(0.3, 0, 100 / 750), 375: 0.15, 750: 0, 900: 0}),
    (GSE, {"steps": 4000}, 1000, {0: 0.2, 1000: half(0.2, 0, 0.25), 2000: 0.1, 4000: 0}),
    (SNFS, {"steps": 1000}, 100, {0: 0.5, 500: 0.2525, 1000: 0.005}),
    (ITOP, {"steps": 9000}, 1500, {0: 0.5, 4500: 0.2525, 9000: 0.005}),
    (Selfish, {"steps": 1000, "fraction": 0.8}, 100, {250: half(0.8, 0.005, 0.25), 1000: 0.005}),
    (MEST, {"steps": 160}, 100, {0: 0.2, 89: 0.2, 90: 0.1, 119: 0.1, 120: 0, 159: 0}),
    (GraNet, {"steps": 1000, "density": 0.05}, 1000, {0: 0.5, 500: 0.2525, 1000: 0.005}),
]


@pytest.mark.parametrize(("method", "options", "every", "fractions"), SHARES)
def test_the_share_that_is_replaced(method, options, every, fractions):
    rule = method(*parts(), **options)
    assert rule.every == every
    for step, fraction in fractions.items():
        assert rule.fraction.at(step) == pytest.approx(fraction, abs=1e-12)


CUBIC = {0: 1, 100: 1, 200: 0.1 + 0.9 * 0.75**3, 500: 0.1, 999: 0.1}
S_CURVE = {0: 0.5, 250: 0.1 + 0.4 * sigmoid(0.75), 500: 0.3, 1000: 0.1, 2000: 0.1}
DENSITIES = [
    (
        GraNet,
        {"steps": 1000, "density": 0.05},
        {0: 0.5, 150: 0.05 + 0.45 / 8, 300: 0.05, 999: 0.05},
    ),
    (GradualPruning, {"density": 0.1, "first": 100, "last": 500}, CUBIC),
    (CHTss, {"steps": 1000, "density": 0.1}, S_CURVE),
]


@pytest.mark.parametrize(("method", "options", "densities"), DENSITIES)
def test_the_density_that_is_left(method, options, densities):
    rule = method(*parts(), **options)
    for step, density in densities.items():
        assert rule.density.at(step) == pytest.approx(density, abs=1e-12)


def test_the_soft_rule_becomes_stricter():
    delta = CHTs(*parts(), steps=1000).prune.delta
    assert [delta.at(step) for step in (0, 500, 1000, 2000)] == [0.5, 0.625, 0.75, 0.75]


def test_deep_rewiring_is_taken_at_each_step_and_the_periodic_one_is_not():
    assert DeepR(*parts()).every == 1
    assert PeriodicDeepR(*parts()).every == 100


@pytest.mark.parametrize("make", [RigL, GSE, ITOP, MEST, SNFS, Selfish, CHTs])
def test_as_many_links_are_replaced_as_the_schedule_says(make):
    torch.manual_seed(0)
    model, optimizer = parts()
    rule, replaced = make(model, optimizer, steps=30, every=10), []
    rule.observers.append(lambda name, weight, r: replaced.append(int((r.slot_map < 0).sum())))
    for _ in range(30):
        optimizer.zero_grad()
        model(torch.randn(8, 20)).square().mean().backward()
        optimizer.step()
        rule.step()
    assert replaced == [int(rule.fraction.at(step) * model.weight.nnz) for step in (10, 20, 30)]
    assert replaced[0] > 0
