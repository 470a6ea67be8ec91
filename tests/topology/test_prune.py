"""Prune rules, read word for word with sorted lists."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.testing import random_pattern
from sparse_engine.topology import Magnitude, TwoSided

VALUES = {
    "ordinary": np.random.default_rng(0).normal(size=60),
    "ties": np.random.default_rng(1).integers(-2, 3, 60).astype(float),
    "all positive": np.arange(1.0, 61.0),
    "all negative": -np.arange(1.0, 61.0),
    "zeros": np.zeros(60),
    "signed zeros": np.array([0.0, -0.0] * 30),
    "infinite": np.array([np.inf, -np.inf, 1.0, -1.0] * 5),
    "tiny": np.array([1e-310, -1e-310, 5e-324, -5e-324, 1e-300]),
    "one": np.array([-3.0]),
    "none": np.zeros(0),
}
FRACTIONS = [0.0, 0.01, 0.1, 0.29, 0.3, 0.5, 0.99, 1.0]


def literal_two_sided(values, fraction):
    gone = values == 0
    for sign in (1, -1):
        side = [i for i in range(len(values)) if sign * values[i] > 0]
        side.sort(key=lambda i: (sign * values[i], i))
        gone[side[: int(fraction * len(side))]] = True
    return gone


def literal_magnitude(values, fraction):
    order = sorted(range(len(values)), key=lambda i: (abs(values[i]), i))
    gone = np.zeros(len(values), bool)
    gone[order[: int(fraction * len(values))]] = True
    return gone


RULES = [(TwoSided(), literal_two_sided), (Magnitude(), literal_magnitude)]


def check(rule, literal, values, fraction, dtype):
    weight = SparseWeight(torch.tensor(values, dtype=dtype), random_pattern(10, 12, len(values)))
    before = weight.values.detach().clone()
    dropped = rule.drop(weight, fraction, RandomKey(0))
    assert dropped.dtype == torch.bool
    assert np.array_equal(dropped.numpy(), literal(before.numpy(), fraction))
    assert torch.equal(weight.values, before)


@pytest.mark.parametrize(("rule", "literal"), RULES)
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_literally(rule, literal, kind, dtype):
    for fraction in FRACTIONS:
        check(rule, literal, VALUES[kind], fraction, dtype)


@pytest.mark.parametrize(("rule", "literal"), RULES)
@given(
    values=st.lists(st.one_of(st.floats(-9, 9, width=32), st.integers(-2, 2)), max_size=120),
    fraction=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_any_values_literally(rule, literal, values, fraction, dtype):
    check(rule, literal, [float(value) for value in values], fraction, dtype)


@pytest.mark.parametrize("rule", [TwoSided(), Magnitude()])
def test_nan_is_named(rule):
    values = torch.randn(10)
    values[4] = torch.nan
    with pytest.raises(ValueError, match="NaN at link 4"):
        rule.drop(SparseWeight(values, random_pattern(5, 5, 10)), 0.3, RandomKey(0))
