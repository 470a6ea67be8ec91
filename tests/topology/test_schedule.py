"""Schedules against their formulas, at their ends, and what they refuse."""

from math import cos, exp, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.topology import NarangRamp
from sparse_engine.topology.schedule import (
    ConstantSchedule,
    CosineSchedule,
    CubicSchedule,
    LinearSchedule,
    Schedule,
    SigmoidSchedule,
    as_schedule,
)


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


WINDOWS = {
    "linear": lambda a, b: (LinearSchedule(a, 17, b), 0, 17),
    "cosine": lambda a, b: (CosineSchedule(a, 17, b), 0, 17),
    "cubic": lambda a, b: (CubicSchedule(a, b, 5, 22), 5, 22),
    "sigmoid": lambda a, b: (SigmoidSchedule(a, b, 5, 22), 5, 22),
}


@pytest.mark.parametrize("name", WINDOWS)
@given(a=st.floats(0.001, 1), b=st.floats(0.001, 1))
def test_meets_both_ends_exactly_and_goes_one_way_between(name, a, b):
    schedule, first, last = WINDOWS[name](a, b)
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
