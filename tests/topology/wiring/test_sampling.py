"""The two tools that wirings are made of, against literal readings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.topology.wiring._apportion import apportion
from sparse_engine.topology.wiring._sampling import sample_groups


@given(data=st.data())
def test_samples_are_distinct_and_within_their_group(data):
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 2, 7, 40]), max_size=12))
    counts = [data.draw(st.integers(0, size)) for size in sizes]
    groups, numbers = sample_groups(counts, sizes, np.random.default_rng(0))
    assert np.bincount(groups, minlength=len(sizes)).tolist() == counts
    for group, size in enumerate(sizes):
        mine = numbers[groups == group]
        assert (np.diff(mine) > 0).all()
        assert ((mine >= 0) & (mine < size)).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_subset_is_equally_likely(count):
    trials = 20_000
    rng = np.random.default_rng(1)
    _, numbers = sample_groups(np.full(trials, count), np.full(trials, 6), rng)
    codes = (1 << numbers.reshape(trials, count)).sum(1)
    seen = np.unique(codes, return_counts=True)[1]
    subsets = {1: 6, 2: 15, 3: 20, 4: 15, 5: 6}[count]
    assert len(seen) == subsets
    expected = trials / subsets
    # At most 19 degrees of freedom: below 50 in 99.99 % of cases.
    assert ((seen - expected) ** 2 / expected).sum() < 50


def literal_shares(total, weights, capacities):
    """One at a time: what is above its capacity becomes full, and the rest is shared anew."""
    full = set()
    while True:
        rest = [i for i in range(len(weights)) if i not in full]
        left = total - sum(capacities[i] for i in full)
        scale = left / sum(weights[i] for i in rest) if rest else 0
        over = [i for i in rest if scale * weights[i] > capacities[i]]
        if not over:
            return [capacities[i] if i in full else scale * weights[i] for i in range(len(weights))]
        full.update(over)


@given(data=st.data())
def test_shares_are_the_literal_rule(data):
    n = data.draw(st.integers(1, 12))
    weights = data.draw(st.lists(st.floats(0.01, 100), min_size=n, max_size=n))
    capacities = data.draw(st.lists(st.sampled_from([0, 1, 5, 300]), min_size=n, max_size=n))
    total = data.draw(st.integers(0, sum(capacities)))
    counts = apportion(total, np.log(weights), capacities)
    assert counts.sum() == total
    assert ((counts >= 0) & (counts <= capacities)).all()
    shares = np.array(literal_shares(total, weights, capacities))
    assert (np.abs(counts - shares) < 1 + 1e-9).all()


def test_remainders_go_to_the_largest_fractions():
    # Shares 2.2, 1.1, 0.9, 0.8: two links are left, for 0.9 and 0.8.
    counts = apportion(5, np.log([2.2, 1.1, 0.9, 0.8]), [9, 9, 9, 9])
    assert counts.tolist() == [2, 1, 1, 1]
    assert apportion(3, np.zeros(5), [9] * 5).tolist() == [1, 1, 1, 0, 0]


def test_weights_may_differ_by_any_factor():
    logs = -1e7 * np.arange(5.0)
    assert apportion(10, logs, [4, 4, 4, 4, 4]).tolist() == [4, 4, 2, 0, 0]
    assert apportion(20, logs, [4, 4, 4, 4, 4]).tolist() == [4] * 5
    big = 10**12
    assert apportion(big + 1, np.log([3.0, 1.0, 1e-9]), [big, big, big]).sum() == big + 1
