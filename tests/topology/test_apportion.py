"""Apportionment: exact sums, limits, and the textbook's largest remainders."""

from fractions import Fraction
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from testing import refusals

from sparse_engine.topology.apportion import apportion, apportion_logs


@pytest.mark.parametrize(
    ("total", "shares", "limits", "expected"),
    [
        (10, [1, 1, 1], None, [4, 3, 3]),
        (100, [47, 16, 15.8, 12, 6.1, 3.1], None, [47, 16, 16, 12, 6, 3]),
        (10, [5, 3, 2], None, [5, 3, 2]),
        (7, [0, 1, 0], None, [0, 7, 0]),
        (5, [0.0, 0.0], None, [3, 2]),
        (0, [], None, []),
        # Of 12, 8 are for the first, which takes 5; the other 7 are split 2 to 1.
        (12, [6, 2, 1], [5, 9, 9], [5, 5, 2]),
        # The first's excess fills the second too.
        (12, [6, 2, 1], [5, 4, 9], [5, 4, 3]),
        # Shares of 0 get what the others cannot take, evenly.
        (12, [3, 0, 0], [5, 9, 9], [5, 4, 3]),
        (12, [1, 1, 1], [4, 4, 4], [4, 4, 4]),
        (3, [1e-300, 1e300], None, [0, 3]),
        (10**18 + 1, [1, 1], None, [5 * 10**17 + 1, 5 * 10**17]),
    ],
)
def test_worked_examples(total, shares, limits, expected):
    assert apportion(total, shares, limits) == expected


SHARES = st.one_of(st.integers(0, 5), st.floats(0, 1e6), st.just(0))


@given(data=st.data(), shares=st.lists(SHARES, min_size=1, max_size=8))
def test_exact_sums_within_limits_in_proportion(data, shares):
    size = len(shares)
    limits = data.draw(st.lists(st.integers(0, 50), min_size=size, max_size=size))
    total = data.draw(st.integers(0, sum(limits)))
    parts = apportion(total, shares, limits)
    assert sum(parts) == total
    assert all(0 <= part <= limit for part, limit in zip(parts, limits, strict=True))
    # Parts below their limits differ from exact proportion to each other by less than one link.
    below = [i for i in range(size) if parts[i] < limits[i]]
    whole = sum(Fraction(shares[i]) for i in below)
    for i in below:
        even = Fraction(1, len(below))
        share = Fraction(shares[i]) / whole if whole else even
        quota = share * sum(parts[j] for j in below)
        assert abs(parts[i] - quota) < len(below)


@given(shares=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8), total=st.integers(0, 999))
def test_without_limits_every_part_is_its_quota_rounded_up_or_down(shares, total):
    exact = [Fraction(share) for share in shares]
    for part, share in zip(apportion(total, shares), exact, strict=True):
        assert abs(part - total * share / sum(exact)) < 1


test_what_cannot_be_shared_out_is_refused = refusals(
    *(
        ("finite shares of at least 0, found", lambda share=share: apportion(3, [1.0, share]))
        for share in (nan, inf, -1, -1e-9)
    ),
    ("at most the sum 7 of the limits, found 8", lambda: apportion(8, [1, 1], [3, 4])),
)


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
    counts = apportion_logs(total, np.log(weights), capacities)
    assert counts.sum() == total
    assert ((counts >= 0) & (counts <= capacities)).all()
    shares = np.array(literal_shares(total, weights, capacities))
    assert (np.abs(counts - shares) < 1 + 1e-9).all()


def test_remainders_go_to_the_largest_fractions():
    # Shares 2.2, 1.1, 0.9, 0.8: two links are left, for 0.9 and 0.8.
    counts = apportion_logs(5, np.log([2.2, 1.1, 0.9, 0.8]), [9, 9, 9, 9])
    assert counts.tolist() == [2, 1, 1, 1]
    assert apportion_logs(3, np.zeros(5), [9] * 5).tolist() == [1, 1, 1, 0, 0]


def test_weights_may_differ_by_any_factor():
    logs = -1e7 * np.arange(5.0)
    assert apportion_logs(10, logs, [4, 4, 4, 4, 4]).tolist() == [4, 4, 2, 0, 0]
    assert apportion_logs(20, logs, [4, 4, 4, 4, 4]).tolist() == [4] * 5
    big = 10**12
    assert apportion_logs(big + 1, np.log([3.0, 1.0, 1e-9]), [big, big, big]).sum() == big + 1
