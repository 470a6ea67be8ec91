"""Schedules against their formulas, and the papers' numbers of how much is replaced, and when."""

import math
from math import cos, exp, pi

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
    NarangRamp,
    PeriodicDeepR,
    RigL,
    Selfish,
)
from sparse_engine.topology.schedule import (
    ConstantSchedule,
    CosineSchedule,
    CubicSchedule,
    LinearSchedule,
    Schedule,
    SigmoidSchedule,
    as_schedule,
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


def logistic(x):
    return 1 / (1 + exp(-x))


def s_curve(u, k):
    return (logistic(k * (2 * u - 1)) - logistic(-k)) / (logistic(k) - logistic(-k))


FORMULAS = {
    "constant": (ConstantSchedule(0.3), lambda t: 0.3),
    "linear": (LinearSchedule(0.3, 40, 0.1), lambda t: 0.3 - 0.2 * t / 40),
    "cosine": (
        CosineSchedule(0.7, 40, 0.005),
        lambda t: 0.005 + 0.695 * (1 + cos(pi * t / 40)) / 2,
    ),
    "cubic": (CubicSchedule(1.0, 0.05, 0, 40), lambda t: 0.05 + 0.95 * (1 - t / 40) ** 3),
    "sigmoid": (SigmoidSchedule(0.5, 0.1, 0, 40), lambda t: 0.5 - 0.4 * s_curve(t / 40, 6)),
    "steep": (SigmoidSchedule(0.5, 0.1, 0, 40, 20.0), lambda t: 0.5 - 0.4 * s_curve(t / 40, 20)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_is_the_formula(name):
    schedule, formula = FORMULAS[name]
    assert [schedule.at(t) for t in range(41)] == pytest.approx([formula(t) for t in range(41)])


ENDS = {
    "linear": lambda a, b: (LinearSchedule(a, 17, b), 0, 17),
    "cosine": lambda a, b: (CosineSchedule(a, 17, b), 0, 17),
    "cubic": lambda a, b: (CubicSchedule(a, b, 5, 22), 5, 22),
    "sigmoid": lambda a, b: (SigmoidSchedule(a, b, 5, 22), 5, 22),
}


@pytest.mark.parametrize("name", ENDS)
@given(a=st.floats(0.001, 1), b=st.floats(0.001, 1))
def test_meets_both_ends_exactly_and_goes_one_way_between(name, a, b):
    schedule, first, last = ENDS[name](a, b)
    assert schedule.at(first) == schedule.at(first - 3) == a
    assert schedule.at(last) == schedule.at(last + 1000) == b
    steps = np.diff([schedule.at(t) for t in range(first, last + 1)]) * np.sign(b - a)
    assert (steps >= -1e-15).all()


def literal_ramp(i, q, f, start, ramp, end):
    """The published code, with the number f of steps between prunings left in."""
    theta = 2 * q * f / (2 * (ramp - start) + 3 * (end - ramp))
    phi = 1.5 * theta
    if i < ramp:
        return theta * (i - start + 1) / f
    return (theta * (ramp - start + 1) + phi * (i - ramp + 1)) / f


@pytest.mark.parametrize(("epochs", "f"), [(201, 14), (101, 113), (201, 1)])
@pytest.mark.parametrize("after", [1, 5])
def test_narang_ramp_is_the_published_threshold(epochs, f, after):
    ramp, end = {201: (50, 100), 101: (25, 50)}[epochs]
    schedule = NarangRamp.of_epochs(epochs, steps_per_epoch=f, after=after)
    q = 0.4
    for epoch in range(epochs):
        expected = literal_ramp(epoch * f, q, f, f, ramp * f, end * f) if after < epoch < end else 0
        assert q * schedule.at(epoch * f) == pytest.approx(expected)


class Own(Schedule):
    def at(self, step):
        return step / 10


def test_numbers_do_as_schedules():
    own = Own()
    assert as_schedule(own) is own
    for number in (0.3, 1, np.float32(0.5)):
        assert as_schedule(number) == ConstantSchedule(float(number))
        assert as_schedule(number).at(12345) == number
