"""Schedules and deep rewiring against their formulas and the papers' numbers."""

import math
from functools import partial
from math import cos, exp, pi

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.nn import SparseLinear, SparseLTC
from sparse_engine.nn.recurrent import recurrent_weights
from sparse_engine.ops import RandomKey
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
from sparse_engine.topology.prune import AssignedSign
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
        assert rule.fractions.at(step) == pytest.approx(fraction, abs=1e-12)


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
        assert rule.densities.at(step) == pytest.approx(density, abs=1e-12)


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
    assert replaced == [int(rule.fractions.at(step) * model.weight.nnz) for step in (10, 20, 30)]
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


def parts_of_deep_r(lr=0.1):
    model = torch.nn.Sequential(
        SparseLinear(30, 20, density=0.3), SparseLinear(20, 10, density=0.4)
    )
    groups = [{"params": model[0].parameters(), "lr": lr}, {"params": model[1].parameters()}]
    return model, torch.optim.SGD(groups, lr=0.4)


def signs_of(rule, place):
    return AssignedSign().signs(rule.weights[place], RandomKey(rule.seed, 0, place)).numpy()


def test_all_values_get_the_signs_of_their_cells():
    model, optimizer = parts_of_deep_r()
    before = [layer.weight.values.abs().detach().clone() for layer in model]
    rule = DeepR(model, optimizer, seed=5)
    for place, layer in enumerate(model):
        expected = before[place].numpy() * signs_of(rule, place)
        assert np.array_equal(layer.weight.values.detach(), expected)
        assert set(signs_of(rule, place)) == {-1, 1}


@pytest.mark.parametrize(
    "method", [partial(DeepR, temperature=0.01), partial(PeriodicDeepR, noise=0.1, every=1)]
)
def test_conductances_stay_positive(method):
    """Conductances have no sign, and a network with negative ones has no finite states."""
    network = SparseLTC(3, 12, density=0.4, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    before = [weight.nnz for weight in recurrent_weights(network)]
    rewiring = method(network, optimizer)
    changes = []
    rewiring.observers.append(lambda name, weight, rewired: changes.append(rewired.born.numel()))
    for _ in range(8):
        loss = network(torch.randn(4, 2, 3))[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        network.clip_()
        rewiring.step()
        assert loss.isfinite()
        assert all((weight.values >= 0).all() for weight in recurrent_weights(network))
    assert sum(changes) > 0
    assert [weight.nnz for weight in recurrent_weights(network)] == before


def test_the_pull_to_zero_has_the_learning_rate_of_its_group(links_of):
    model, optimizer = parts_of_deep_r()
    rule = DeepR(model, optimizer, l1=0.5, temperature=0.0, seed=1)
    expected = []
    for place, (layer, rate) in enumerate(zip(model, (0.1, 0.4), strict=True)):
        signs = signs_of(rule, place)
        theta = layer.weight.values.detach().double().numpy() * signs - rate * 0.5
        kept = theta >= 0
        positions = layer.weight.pattern.links.positions().numpy()[kept].tolist()
        expected.append(dict(zip(positions, (theta * signs)[kept].tolist(), strict=True)))
    rule.step()
    for layer, survivors in zip(model, expected, strict=True):
        after = links_of(layer.weight)
        assert 0 < len(survivors) < len(after)
        born = after.keys() - survivors.keys()
        assert all(after[position] == 0 for position in born)
        for position, value in survivors.items():
            assert after[position] == pytest.approx(value, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    ("make", "spread"),
    [
        (lambda *p: DeepR(*p, l1=0.0, temperature=0.02), math.sqrt(2 * 0.1 * 0.02)),
        (lambda *p: PeriodicDeepR(*p, l1=0.0, noise=0.3, every=1), 0.3),
    ],
)
def test_the_noise_has_its_standard_deviation(make, spread):
    model = SparseLinear(200, 200, density=0.5)
    with torch.no_grad():
        model.weight.values.fill_(100.0)
    rule = make(model, torch.optim.SGD(model.parameters(), lr=0.1))
    start = model.weight.values.detach().clone()
    rule.step()
    steps = model.weight.values.detach() - start
    assert float(steps.std()) == pytest.approx(spread, rel=0.03)
    assert abs(float(steps.mean())) < 0.03 * spread
    again = model.weight.values.detach().clone()
    rule.step()
    assert abs(np.corrcoef(steps, model.weight.values.detach() - again)[0, 1]) < 0.03


def test_the_periodic_walk_does_not_know_the_learning_rate():
    model, _ = parts_of_deep_r()
    rule = PeriodicDeepR(model, None, l1=0.02, noise=0.0, every=1)
    theta = model[0].weight.values.detach().abs()
    kept = theta > 0.02
    rule.step()
    values = model[0].weight.values.detach().abs()
    assert int((values > 0).sum()) == int(kept.sum()) < len(theta)
    torch.testing.assert_close(
        values[values > 0].sort().values, (theta[kept] - 0.02).sort().values, rtol=1e-5, atol=1e-7
    )


def test_links_that_stay_never_change_their_sign():
    model, optimizer = parts_of_deep_r(lr=0.4)
    rule = DeepR(model, optimizer, l1=0.05, temperature=0.01)
    seen = [{}, {}]
    for _ in range(60):
        optimizer.zero_grad()
        model(torch.randn(16, 30)).square().mean().backward()
        optimizer.step()
        rule.step()
        for signs, layer in zip(seen, model, strict=True):
            positions = layer.weight.pattern.links.positions().tolist()
            for position, sign in zip(positions, layer.weight.values.sign().tolist(), strict=True):
                assert sign == 0 or signs.setdefault(position, sign) == sign
    assert all(len(signs) > layer.weight.nnz for signs, layer in zip(seen, model, strict=True))


def test_frozen_weights_are_left_alone():
    model, optimizer = parts_of_deep_r()
    model[0].weight.frozen_pattern = True
    model[1].requires_grad_(False)
    before = [layer.weight.values.detach().clone() for layer in model]
    rule = DeepR(model, optimizer, l1=1.0, temperature=1.0)
    rule.step()
    for layer, values in zip(model, before, strict=True):
        assert torch.equal(layer.weight.values, values)
