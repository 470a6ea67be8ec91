"""Thresholds that adapt or rise, read word for word."""

import math
import sys

import numpy as np
import pytest
import torch

from sparse_engine.ops import RandomKey
from sparse_engine.topology import NarangRamp
from sparse_engine.topology.prune import AdaptiveThreshold, GlobalThreshold, NarangThreshold


def simulate(vectors, fractions, start, tolerance, rewirings):
    """Numbers of links of each vector that go at each rewiring, by one threshold for all."""
    threshold, counts = start, []
    wanted = sum(f * len(vector) for f, vector in zip(fractions, vectors, strict=True))
    for _ in range(rewirings):
        counts.append([int((np.abs(vector) <= threshold).sum()) for vector in vectors])
        if sum(counts[-1]) < (1 - tolerance) * wanted:
            threshold = threshold * 2
        elif sum(counts[-1]) > (1 + tolerance) * wanted:
            threshold = threshold / 2
    return counts


def run(rule, weights, fractions, rewirings):
    keys = [RandomKey(0, 0, i) for i in range(len(weights))]
    dropped = [rule.drop_all(weights, fractions, keys) for _ in range(rewirings)]
    return [[int(gone.sum()) for gone in each] for each in dropped]


@pytest.mark.parametrize("start", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9])
def test_adaptive_thresholds_literally(start, tolerance, fraction, weight):
    literal = simulate([weight.values.detach().numpy()], [fraction], start, tolerance, 12)
    rule = AdaptiveThreshold(start, tolerance=tolerance)
    assert run(rule, [weight], [fraction], 12) == literal


def test_each_weight_has_a_threshold_of_its_own_and_a_model_one_for_all(weight_of):
    vectors = [torch.randn(50), 100 * torch.randn(20), torch.zeros(0)]
    weights = [weight_of(vector, 10, 10) for vector in vectors]
    arrays, fractions = [vector.numpy() for vector in vectors], [0.3, 0.5, 0.1]
    each = [
        simulate([array], [fraction], 0.01, 0.02, 15)
        for array, fraction in zip(arrays, fractions, strict=True)
    ]
    apart = [[count for (count,) in counts] for counts in zip(*each, strict=True)]
    assert run(AdaptiveThreshold(0.01), weights, fractions, 15) == apart
    together = simulate(arrays, fractions, 0.01, 0.02, 15)
    assert run(GlobalThreshold(0.01), weights, fractions, 15) == together
    assert apart != together


def test_one_weight_at_a_time_shares_the_global_threshold(weight_of):
    weight = weight_of(torch.arange(1.0, 11.0), 5, 5)
    rule = GlobalThreshold(1.0)
    counts = [int(rule.drop(weight, 0.8, RandomKey(0, 0, stream)).sum()) for stream in range(4)]
    assert counts == [1, 2, 4, 8]


@pytest.mark.parametrize(("value", "end"), [(0.0, sys.float_info.min), (1e300, 2.0**200)])
def test_a_threshold_finds_its_way_back(value, end, weight_of):
    weight = weight_of(torch.full((10,), value, dtype=torch.float64), 5, 5)
    rule = AdaptiveThreshold(1.0)
    for _ in range(200 if value else 1100):
        rule.drop(weight, 0.5, RandomKey(0))
    assert rule.state_dict() == {"threshold.0": end}
    ordinary = weight_of(torch.arange(1.0, 11.0), 5, 5)
    counts = [int(rule.drop(ordinary, 0.4, RandomKey(0)).sum()) for _ in range(1100)]
    assert counts[-1] == 4


def test_a_foreign_memory_is_refused():
    rule = AdaptiveThreshold()
    rule.load_state_dict({"threshold.2": 0.5})
    names = ("threshold", "threshold.a", "other.0")
    entries = [{"threshold.0": value} for value in (0.0, math.nan, "1")]
    for state in (*({name: 1.0} for name in names), *entries):
        with pytest.raises(ValueError, match=r"threshold.*found"):
            rule.load_state_dict(state)
    assert rule.state_dict() == {"threshold.2": 0.5}


RAMP = NarangRamp(10, 20, 40)


def literal(weight, density, step):
    dense = np.abs(weight.to_dense().detach().numpy()).ravel()
    q = np.sort(dense)[math.floor((1 - density) * dense.size)]
    threshold = RAMP.at(step) * q
    magnitude = np.abs(weight.values.detach().numpy())
    return magnitude <= threshold if threshold > 0 else np.zeros(len(magnitude), bool)


@pytest.mark.parametrize("density", [0.02, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("step", [0, 10, 11, 19, 20, 33, 39, 40])
def test_rising_thresholds_literally(density, step, weight):
    dropped = NarangThreshold(RAMP, density).drop(weight, 0.7, RandomKey(0, step))
    assert dropped.dtype == torch.bool
    assert np.array_equal(dropped.numpy(), literal(weight, density, step))


def test_a_density_of_less_than_one_cell_asks_for_the_largest(weight_of):
    weight = weight_of(torch.arange(1.0, 10.0), 3, 3)
    assert RAMP.at(33) == pytest.approx(0.8)
    dropped = NarangThreshold(RAMP, 1e-20).drop(weight, 0.0, RandomKey(0, 33))
    assert (~dropped).nonzero().flatten().tolist() == [7, 8]


def test_a_pause_removes_nothing_and_leaves_the_threshold(weight_of):
    weight = weight_of(torch.arange(1.0, 11.0), 5, 5)
    rule = AdaptiveThreshold(4.0)
    fractions = [0.0, 0.4, 0.0]
    assert [int(rule.drop(weight, f, RandomKey(0)).sum()) for f in fractions] == [0, 4, 0]
    assert rule.state_dict() == {"threshold.0": 4.0}
