"""Pruning by magnitude, read word for word with sorted lists."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from testing import random_pattern

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import Magnitude, SignedMagnitude
from sparse_engine.topology.prune import GlobalMagnitude, SoftMagnitude
from sparse_engine.topology.schedule import LinearSchedule


def literal_signed_magnitude(values, fraction):
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


RULES = [(SignedMagnitude(), literal_signed_magnitude), (Magnitude(), literal_magnitude)]


@pytest.mark.parametrize(("rule", "literal"), RULES)
@settings(max_examples=100)
@given(
    values=st.lists(
        st.one_of(st.floats(allow_nan=False, width=32), st.integers(-2, 2)), max_size=120
    ),
    fraction=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_any_values_literally(rule, literal, values, fraction, dtype):
    values = torch.tensor([float(value) for value in values], dtype=dtype)
    weight = SparseWeight(values, random_pattern(10, 12, len(values)))
    dropped = rule.drop(weight, fraction, RandomKey(0))
    assert dropped.dtype == torch.bool
    assert np.array_equal(dropped.numpy(), literal(values.numpy(), fraction))


def literal_global_magnitude(vectors, fractions):
    count = sum(int(f * len(vector)) for f, vector in zip(fractions, vectors, strict=True))
    links = [(abs(v), i, j) for i, vector in enumerate(vectors) for j, v in enumerate(vector)]
    gone = [[False] * len(vector) for vector in vectors]
    for _, i, j in sorted(links)[:count]:
        gone[i][j] = True
    return gone


@pytest.mark.parametrize("fractions", [(0.3, 0.3, 0.3, 0.3), (1.0, 0.0, 0.5, 0.9), (0.0,) * 4])
@pytest.mark.parametrize("kind", ["ordinary", "ties", "zeros"])
def test_global_magnitude_literally(fractions, kind, weight_of):
    vectors = [scale * torch.randn(n) for scale, n in ((1, 40), (0.1, 30), (9, 0), (3, 1))]
    if kind != "ordinary":
        vectors = [vector.round() * (kind == "ties") for vector in vectors]
    weights = [weight_of(vector, 8, 6) for vector in vectors]
    dropped = GlobalMagnitude().drop_all(weights, fractions, [RandomKey(0)] * 4)
    assert [gone.tolist() for gone in dropped] == literal_global_magnitude(
        [v.tolist() for v in vectors], fractions
    )


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_score_literally(alpha, weight):
    dense = np.abs(weight.to_dense().detach().numpy())
    rows, columns = dense.sum(1, keepdims=True), dense.sum(0, keepdims=True)
    with np.errstate(invalid="ignore"):
        score = dense / 2 / (alpha + (1 - alpha) * rows)
        score += dense / 2 / (alpha + (1 - alpha) * columns)
    score[dense == 0] = 0
    expected = score.ravel()[weight.pattern.links.positions().numpy()]
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
    draws, counts = 1000, dict.fromkeys(odds, 0)
    for step in range(draws):
        dropped = rule.drop(weight, 0.4, RandomKey(5, step))
        counts[tuple((~dropped).nonzero().flatten().tolist())] += 1
    assert len(odds) == 10
    deviation = sum((counts[k] - draws * odds[k]) ** 2 / (draws * odds[k]) for k in odds)
    # Chi-square of 9 degrees of freedom: 99.9 % below 27.9.
    assert deviation < 27.9


def test_links_of_0_go_first_unless_all_are_alike(weight_of):
    weight = weight_of(torch.tensor([1e-300, 0, 5, 0, 1e300], dtype=torch.float64), 3, 3)
    for step in range(50):
        dropped = SoftMagnitude(0.75).drop(weight, 0.4, RandomKey(0, step))
        assert dropped.tolist() == [False, True, False, True, False]
    uniform = [SoftMagnitude(0.0).drop(weight, 0.4, RandomKey(0, step)) for step in range(50)]
    assert all(torch.stack(uniform).any(0))


def test_the_schedule_counts_from_the_keys_step(weight_of):
    weight = weight_of(torch.randn(40), 10, 10)
    rule = SoftMagnitude(LinearSchedule(0.5, 100, end=0.75))
    for step, delta in ((0, 0.5), (50, 0.625), (300, 0.75)):
        key = RandomKey(1, step)
        expected = SoftMagnitude(delta).drop(weight, 0.5, key)
        assert torch.equal(rule.drop(weight, 0.5, key), expected)


def test_a_schedule_that_leaves_the_range_is_named(weight_of):
    with pytest.raises(ValueError, match=r"delta in \[0, 1\), found 1.0"):
        SoftMagnitude(LinearSchedule(0.5, 10, end=1.0)).drop(
            weight_of(torch.ones(3), 2, 2), 0.3, RandomKey(0, 10)
        )


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 1.0])
def test_exactly_as_many_as_asked_for(fraction, weight):
    for alpha in (0.0, 1.0):
        for delta in (0.0, 0.5):
            dropped = SoftMagnitude(delta, alpha=alpha).drop(weight, fraction, RandomKey(0))
            assert int(dropped.sum()) == int(fraction * weight.nnz)
