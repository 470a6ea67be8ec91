"""Samples within groups, against literal readings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.topology.links import sample_groups


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
