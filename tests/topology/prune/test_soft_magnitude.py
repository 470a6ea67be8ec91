"""Sampled pruning: the score word for word, and the odds of every outcome."""

import itertools
import math

import numpy as np
import pytest
import torch

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.testing import random_pattern
from sparse_engine.topology import Linear, Magnitude, SoftMagnitude


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_score_literally(alpha, weight):
    dense = np.abs(weight.to_dense().detach().numpy())
    rows, columns = dense.sum(1, keepdims=True), dense.sum(0, keepdims=True)
    with np.errstate(invalid="ignore"):
        score = dense / 2 / (alpha + (1 - alpha) * rows)
        score += dense / 2 / (alpha + (1 - alpha) * columns)
    score[dense == 0] = 0
    expected = score.ravel()[weight.pattern.links.cells().numpy()]
    found = SoftMagnitude(alpha=alpha).score(weight).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def odds_of_survivors(scores, stay):
    """The odds of each set of ``stay`` links that are drawn one after the other."""
    odds = {}
    for order in itertools.permutations(range(len(scores)), stay):
        left, odd = sum(scores), 1.0
        for i in order:
            odd *= scores[i] / left
            left -= scores[i]
        kept = tuple(sorted(order))
        odds[kept] = odds.get(kept, 0.0) + odd
    return odds


@pytest.mark.parametrize(("delta", "power"), [(0.0, 0), (0.5, 1), (2 / 3, 2)])
def test_the_odds_of_every_outcome(delta, power, weight_of):
    values = [1.0, -2.0, 3.0, -0.5, 1.5]
    odds = odds_of_survivors([abs(value) ** power for value in values], stay=3)
    weight, rule = weight_of(torch.tensor(values), 3, 3), SoftMagnitude(delta)
    draws, counts = 4000, dict.fromkeys(odds, 0)
    for step in range(draws):
        dropped = rule.drop(weight, 0.4, RandomKey(5, step))
        counts[tuple((~dropped).nonzero().flatten().tolist())] += 1
    assert len(odds) == 10
    deviation = sum((counts[k] - draws * odds[k]) ** 2 / (draws * odds[k]) for k in odds)
    # Chi-square of 9 degrees of freedom: 99.9 % below 27.9.
    assert deviation < 27.9


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 1.0])
def test_exactly_as_many_as_asked_for(fraction, weight):
    for alpha in (0.0, 1.0):
        for delta in (0.0, 0.5):
            dropped = SoftMagnitude(delta, alpha=alpha).drop(weight, fraction, RandomKey(0))
            assert int(dropped.sum()) == int(fraction * weight.nnz)


def test_near_1_the_small_links_go(weight_of):
    values = torch.linspace(0.5, 3, 40)[torch.randperm(40)]
    weight = weight_of(values, 10, 10)
    key = RandomKey(0)
    soft, hard = (SoftMagnitude(delta).drop(weight, 0.3, key) for delta in (0.5, 0.9999))
    assert torch.equal(hard, Magnitude().drop(weight, 0.3, key))
    assert not torch.equal(soft, hard)


def test_links_of_0_go_first_unless_all_are_alike(weight_of):
    weight = weight_of(torch.tensor([1e-300, 0, 5, 0, 1e300], dtype=torch.float64), 3, 3)
    for step in range(50):
        dropped = SoftMagnitude(0.75).drop(weight, 0.4, RandomKey(0, step))
        assert dropped.tolist() == [False, True, False, True, False]
    uniform = [SoftMagnitude(0.0).drop(weight, 0.4, RandomKey(0, step)) for step in range(50)]
    assert all(torch.stack(uniform).any(0))


def test_the_schedule_counts_from_the_keys_step(weight_of):
    weight = weight_of(torch.randn(40), 10, 10)
    rule = SoftMagnitude(Linear(0.5, 100, end=0.75))
    for step, delta in ((0, 0.5), (50, 0.625), (300, 0.75)):
        key = RandomKey(1, step)
        expected = SoftMagnitude(delta).drop(weight, 0.5, key)
        assert torch.equal(rule.drop(weight, 0.5, key), expected)


def test_a_key_determines_everything(threads):
    weight = SparseWeight(torch.randn(100_000), random_pattern(1000, 1000, 100_000))
    rule, key = SoftMagnitude(alpha=0.5), RandomKey(1, 2, 3)
    first = rule.drop(weight, 0.3, key)
    threads(2)
    assert torch.equal(rule.drop(weight, 0.3, key), first)
    for other in (RandomKey(0, 2, 3), RandomKey(1, 0, 3), RandomKey(1, 2, 0)):
        assert not torch.equal(rule.drop(weight, 0.3, other), first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delta": 1.0}, r"delta in \[0, 1\), found 1.0"),
        ({"delta": -0.5}, r"delta in \[0, 1\), found -0.5"),
        ({"delta": math.nan}, "found nan"),
        ({"delta": "soft"}, "a number or a Schedule, found 'soft'"),
        ({"alpha": 1.5}, r"alpha in \[0, 1\], found 1.5"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SoftMagnitude(**arguments)


def test_a_schedule_that_leaves_the_range_is_named(weight_of):
    with pytest.raises(ValueError, match=r"delta in \[0, 1\), found 1.0"):
        SoftMagnitude(Linear(0.5, 10, end=1.0)).drop(
            weight_of(torch.ones(3), 2, 2), 0.3, RandomKey(0, 10)
        )


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_nan_is_named(alpha, with_nan):
    with pytest.raises(ValueError, match="NaN at link"):
        SoftMagnitude(alpha=alpha).drop(with_nan, 0.3, RandomKey(0))
