"""Numbers of links of the weights of a model, samples within groups, and sign patterns."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import awkward_patterns, random_pattern

from sparse_engine.ops import RandomKey
from sparse_engine.topology import Dale, EqualDensity, ERKDensity, RandomSigns
from sparse_engine.topology.links import sample_groups

sizes = st.integers(0, 60)
shapes = st.lists(st.tuples(sizes, sizes), max_size=8)
densities = st.sampled_from([0.001, 0.05, 0.3, 0.9, 0.98, 1.0])


@given(shapes=shapes, density=densities, rule=st.sampled_from([ERKDensity, EqualDensity]))
def test_totals_are_exact_and_no_weight_overflows(shapes, density, rule):
    positions = [a * b for a, b in shapes]
    counts = rule(density).counts(shapes)
    assert all(type(count) is int for count in counts)
    assert sum(counts) == round(density * sum(positions))
    assert all(0 <= count <= size for count, size in zip(counts, positions, strict=True))


def literal_erk(shapes, density):
    """RigL's loop: weights whose probability exceeds 1 become dense, epsilon is solved anew."""
    dense = set()
    while True:
        left = density * sum(a * b for a, b in shapes) - sum(np.prod(shapes[i]) for i in dense)
        epsilon = left / sum(sum(shapes[i]) for i in range(len(shapes)) if i not in dense)
        raw = [epsilon * sum(shape) / np.prod(shape) for shape in shapes]
        over = [i for i, p in enumerate(raw) if p > 1 and i not in dense]
        if not over:
            return [1.0 if i in dense else p for i, p in enumerate(raw)]
        dense.update(over)


SHAPES = [(300, 784), (100, 300), (10, 100), (4, 9)]


@pytest.mark.parametrize("density", [0.01, 0.05, 0.2, 0.6, 0.95])
def test_erk_is_the_literal_rule(density):
    counts = ERKDensity(density).counts(SHAPES)
    for count, p, shape in zip(counts, literal_erk(SHAPES, density), SHAPES, strict=True):
        assert abs(count - p * np.prod(shape)) < 1


def test_erk_makes_small_weights_dense():
    assert ERKDensity(0.2).counts(SHAPES)[3] == 36
    assert ERKDensity(0.05).counts([(1000, 1000), (1000, 10)])[1] > 0.2 * 10_000


def test_equal_density_is_equal_to_one_link():
    counts = EqualDensity(0.123).counts(SHAPES)
    for count, (a, b) in zip(counts, SHAPES, strict=True):
        assert abs(count - 0.123 * a * b) < 1


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


PATTERNS = awkward_patterns()


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_random_signs_are_exact(name, share):
    links = PATTERNS[name].links
    signs = RandomSigns(share).signs(links, RandomKey(3))
    assert signs.shape == (links.nnz,)
    assert (signs == 1).sum() == round(share * links.nnz)
    assert (signs == -1).sum() == links.nnz - round(share * links.nnz)


@pytest.mark.parametrize("share", [0.0, 0.37, 0.8, 1.0])
def test_dale_gives_every_column_one_sign(share):
    links = random_pattern(60, 50, 60 * 50).links
    matrix = Dale(share).signs(links, RandomKey(3)).reshape(60, 50)
    assert (matrix == matrix[0]).all()
    assert (matrix[0] == 1).sum() == round(share * 50)
    assert (matrix[0] == -1).sum() == 50 - round(share * 50)


def test_dale_gives_a_unit_one_sign_in_all_weights():
    one, other = random_pattern(60, 50, 900).links, random_pattern(7, 50, 350).links
    dense = Dale().signs(other, RandomKey(1, 0, 4)).reshape(7, 50)
    assert torch.equal(Dale().signs(one, RandomKey(1, 0, 3)), dense[0, one.col.long()])
    assert not torch.equal(Dale().signs(other, RandomKey(2)).reshape(7, 50)[0], dense[0])
