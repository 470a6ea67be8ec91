"""Rules that prune by a score or a threshold: what all have, and each literally."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from testing import assert_valid, random_pattern

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.topology import (
    Magnitude,
    NarangRamp,
    RandomGrowth,
    Rewiring,
    SignedMagnitude,
    prune,
)
from sparse_engine.topology.grow import EqualPerGate
from sparse_engine.topology.prune import (
    AdaptiveThreshold,
    GlobalMagnitude,
    GlobalThreshold,
    NarangThreshold,
    SoftMagnitude,
)
from sparse_engine.topology.schedule import LinearSchedule

RULES = {
    "signed magnitude": (SignedMagnitude, RandomGrowth()),
    "global magnitude": (prune.GlobalMagnitude, RandomGrowth()),
    "threshold": (lambda: prune.AdaptiveThreshold(0.5), RandomGrowth()),
    "global threshold": (lambda: prune.GlobalThreshold(0.5), RandomGrowth()),
    "Narang": (lambda: prune.NarangThreshold(NarangRamp(0, 9, 27), 0.1), RandomGrowth()),
    "sign change": (prune.SignChange, RandomGrowth()),
    "fixed sign": (prune.AssignedSign, RandomGrowth()),
    "magnitude and gradient": (lambda: prune.GradientMagnitude(2.0), RandomGrowth()),
    "Taylor": (prune.Taylor, RandomGrowth()),
    "soft": (
        lambda: prune.SoftMagnitude(LinearSchedule(0.5, 15, end=0.9), alpha=0.5),
        RandomGrowth(),
    ),
    "importance by share": (lambda: prune.NeuronImportance(0.3), RandomGrowth()),
    "importance by threshold": (lambda: prune.NeuronImportance(threshold=5.0), RandomGrowth()),
    "per gate": (lambda: prune.PerGate(Magnitude()), RandomGrowth()),
    "Selfish": (Magnitude, EqualPerGate()),
}
# 98 % dense, sparse, full, one link, none.
SHAPES = [(8, 10, 78), (12, 9, 20), (4, 4, 16), (4, 1, 1), (4, 3, 0)]


def model_of(weight_of):
    return torch.nn.ModuleList(
        weight_of(torch.randn(nnz), rows, cols) for rows, cols, nnz in SHAPES
    )


@pytest.mark.parametrize("kind", RULES)
def test_the_number_of_links_is_exact_over_30_rewirings(kind, weight_of):
    make, grow = RULES[kind]
    model = model_of(weight_of)
    moved = [0] * len(SHAPES)

    def count(name, weight, rewired):
        moved[int(name)] += int((rewired.slot_map < 0).sum())

    rule = Rewiring(model, None, prune=make(), grow=grow, every=1, observers=(count,))
    for _ in range(30):
        for weight in model:
            weight.values.data = torch.randn(weight.nnz)
            weight.values.grad = torch.randn(weight.nnz)
        rule.step()
        assert [weight.nnz for weight in model] == [nnz for _, _, nnz in SHAPES]
    for weight in model:
        assert_valid(weight)
    assert all(moved[:3])


@pytest.mark.parametrize("kind", RULES)
def test_choosing_changes_nothing_and_repeats_itself(kind, weight_of):
    make, _ = RULES[kind]
    model = model_of(weight_of)
    for weight in model:
        weight.values.grad = torch.randn(weight.nnz)
    tensors = [*model.state_dict().values(), *(weight.values.grad for weight in model)]
    before = [tensor.clone() for tensor in tensors]
    arguments = list(model), [0.3] * len(SHAPES), [RandomKey(1, 40, i) for i in range(len(SHAPES))]
    first, second = make().drop_all(*arguments), make().drop_all(*arguments)
    for weight, one, other in zip(model, first, second, strict=True):
        assert one.shape == (weight.nnz,) and one.dtype == torch.bool
        assert torch.equal(one, other)
    assert all(torch.equal(old, new) for old, new in zip(before, tensors, strict=True))


@pytest.mark.parametrize("kind", RULES)
def test_nan_is_named(kind, with_nan, weight_of):
    weights = [weight_of(torch.randn(7), 5, 5), with_nan]
    for weight in weights:
        weight.values.grad = torch.ones(weight.nnz)
    with pytest.raises(ValueError, match=r"NaN at link \d"):
        RULES[kind][0]().drop_all(weights, [0.3, 0.3], [RandomKey(0, 0, i) for i in range(2)])


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


RULES_OF_MAGNITUDE = [
    (SignedMagnitude(), literal_signed_magnitude),
    (Magnitude(), literal_magnitude),
]


@pytest.mark.parametrize(("rule", "literal"), RULES_OF_MAGNITUDE)
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
