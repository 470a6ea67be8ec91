"""Splitting a whole number: exact sums, limits, and the textbook's largest remainders."""

from fractions import Fraction
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.topology.apportion import apportion


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


@pytest.mark.parametrize("share", [nan, inf, -1, -1e-9])
def test_shares_that_are_none(share):
    with pytest.raises(ValueError, match="expected finite shares of at least 0, found"):
        apportion(3, [1.0, share])


def test_limits_that_are_too_small():
    with pytest.raises(ValueError, match="expected at most the sum 7 of the limits, found 8"):
        apportion(8, [1, 1], [3, 4])
