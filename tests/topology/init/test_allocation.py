"""Numbers of links of the weights of a model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.topology import EqualDensity, ERKDensity

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
