"""Adaptive thresholds: a literal simulation, and their memory."""

import math
import sys

import numpy as np
import pytest
import torch

from sparse_engine.ops import RandomKey
from sparse_engine.topology import GlobalThreshold, Threshold


def simulate(vectors, fractions, start, tolerance, rewirings):
    """How many links of each vector go at each rewiring, one threshold for all."""
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


@pytest.mark.parametrize("start", [1e-3, 0.3, 50.0])
@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9])
def test_literally(start, tolerance, fraction, weight):
    literal = simulate([weight.values.detach().numpy()], [fraction], start, tolerance, 12)
    rule = Threshold(start, tolerance=tolerance)
    assert run(rule, [weight], [fraction], 12) == literal


def test_the_smallest_links_go_and_ties_with_the_threshold(weight_of):
    weight = weight_of(torch.tensor([0.5, -0.25, 0.26, -0.0, 0.25]), 3, 3)
    dropped = Threshold(0.25).drop(weight, 0.5, RandomKey(0))
    assert dropped.tolist() == [False, True, False, True, True]


def test_each_weight_has_a_threshold_of_its_own_and_a_model_one_for_all(weight_of):
    vectors = [torch.randn(50), 100 * torch.randn(20), torch.zeros(0)]
    weights = [weight_of(vector, 10, 10) for vector in vectors]
    arrays, fractions = [vector.numpy() for vector in vectors], [0.3, 0.5, 0.1]
    each = [
        simulate([array], [fraction], 0.01, 0.02, 15)
        for array, fraction in zip(arrays, fractions, strict=True)
    ]
    apart = [[count for (count,) in counts] for counts in zip(*each, strict=True)]
    assert run(Threshold(0.01), weights, fractions, 15) == apart
    together = simulate(arrays, fractions, 0.01, 0.02, 15)
    assert run(GlobalThreshold(0.01), weights, fractions, 15) == together
    assert apart != together


def test_one_weight_at_a_time_shares_the_global_threshold(weight_of):
    weight = weight_of(torch.arange(1.0, 11.0), 5, 5)
    rule = GlobalThreshold(1.0)
    counts = [int(rule.drop(weight, 0.8, RandomKey(0, 0, stream)).sum()) for stream in range(4)]
    assert counts == [1, 2, 4, 8]


def test_a_pause_removes_nothing_and_leaves_the_threshold(weight_of):
    weight = weight_of(torch.arange(1.0, 11.0), 5, 5)
    rule = Threshold(4.0)
    fractions = [0.0, 0.4, 0.0]
    assert [int(rule.drop(weight, f, RandomKey(0)).sum()) for f in fractions] == [0, 4, 0]
    assert rule.state_dict() == {"threshold.0": 4.0}


@pytest.mark.parametrize(("value", "end"), [(0.0, sys.float_info.min), (1e300, 2.0**200)])
def test_a_threshold_finds_its_way_back(value, end, weight_of):
    weight = weight_of(torch.full((10,), value, dtype=torch.float64), 5, 5)
    rule = Threshold(1.0)
    for _ in range(200 if value else 1100):
        rule.drop(weight, 0.5, RandomKey(0))
    assert rule.state_dict() == {"threshold.0": end}
    ordinary = weight_of(torch.arange(1.0, 11.0), 5, 5)
    counts = [int(rule.drop(ordinary, 0.4, RandomKey(0)).sum()) for _ in range(1100)]
    assert counts[-1] == 4


@pytest.mark.parametrize("kind", [Threshold, GlobalThreshold])
def test_the_memory_is_saved(kind, weight_of):
    weights = [weight_of(scale * torch.randn(40), 10, 10) for scale in (1.0, 5.0)]
    whole, first, second = (kind(0.01) for _ in range(3))
    counts = run(whole, weights, [0.3, 0.2], 8)
    run(first, weights, [0.3, 0.2], 3)
    second.load_state_dict(first.state_dict())
    assert run(second, weights, [0.3, 0.2], 5) == counts[3:]
    second.load_state_dict({})
    assert run(second, weights, [0.3, 0.2], 8) == counts


@pytest.mark.parametrize(
    "state",
    [
        {"threshold": 1.0},
        {"threshold.a": 1.0},
        {"other.0": 1.0},
        {"threshold.0": 0.0},
        {"threshold.0": math.nan},
        {"threshold.0": "1"},
    ],
)
def test_a_foreign_memory_is_refused(state):
    rule = Threshold()
    rule.load_state_dict({"threshold.2": 0.5})
    with pytest.raises(ValueError, match=r"threshold.*found"):
        rule.load_state_dict(state)
    assert rule.state_dict() == {"threshold.2": 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 0.0}, "finite start > 0, found 0.0"),
        ({"start": math.inf}, "finite start > 0, found inf"),
        ({"tolerance": -0.1}, r"tolerance in \[0, 1\), found -0.1"),
        ({"tolerance": 1.0}, r"tolerance in \[0, 1\), found 1.0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GlobalThreshold(**arguments)


@pytest.mark.parametrize("rule", [Threshold(), GlobalThreshold()])
def test_nan_is_named(rule, with_nan):
    with pytest.raises(ValueError, match="NaN at link 4"):
        rule.drop(with_nan, 0.3, RandomKey(0))
