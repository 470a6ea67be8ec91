"""Importance pruning, read word for word row by row."""

import math

import numpy as np
import pytest
import torch

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import RandomKey
from sparse_engine.testing import awkward_patterns
from sparse_engine.topology import NeuronImportance


def literal(weight, share=None, threshold=None):
    rows, values = weight.rows().numpy(), weight.values.detach().numpy()
    importance = {row: np.abs(values[rows == row]).sum() for row in sorted(set(rows))}
    if share is None:
        fallen = {row for row, sum_ in importance.items() if sum_ <= threshold}
    else:
        fallen = set(sorted(importance, key=importance.get)[: int(share * len(importance))])
    return [row in fallen for row in rows]


@pytest.mark.parametrize(
    "limit", [{"share": 0.0}, {"share": 0.25}, {"share": 1.0}, {"threshold": 0.0}]
)
def test_literally(limit, weight):
    dropped = NeuronImportance(**limit).drop(weight, 0.3, RandomKey(0))
    assert dropped.tolist() == literal(weight, **limit)


@pytest.mark.parametrize("name", awkward_patterns())
@pytest.mark.parametrize("limit", [{"share": 0.4}, {"threshold": 6.0}])
def test_awkward_patterns_with_ties(name, limit):
    pattern = awkward_patterns()[name]
    weight = SparseWeight(torch.randint(-2, 3, (pattern.nnz,)).double(), pattern)
    dropped = NeuronImportance(**limit).drop(weight, 0.3, RandomKey(0))
    assert dropped.tolist() == literal(weight, **limit)


def test_neurons_without_links_do_not_count():
    dense = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 5.0]])
    weight = SparseWeight.from_dense(dense)
    assert NeuronImportance(0.5).drop(weight, 0.0, RandomKey(0)).tolist() == [False, False, True]


def test_a_sum_equal_to_the_threshold_falls():
    weight = SparseWeight.from_dense(torch.tensor([[1.0, -2.0], [3.5, 0.0]]))
    dropped = NeuronImportance(threshold=3.0).drop(weight, 0.0, RandomKey(0))
    assert dropped.tolist() == [True, True, False]


def test_sums_are_not_rounded_as_the_values_are():
    large = 2.0**24
    weight = SparseWeight.from_dense(torch.tensor([[large, 1.0, 1.0], [large, 1.0, 0.0]]))
    dropped = NeuronImportance(0.5).drop(weight, 0.0, RandomKey(0))
    assert dropped.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of share and threshold"),
        ({"share": 0.1, "threshold": 1.0}, "exactly one of share and threshold"),
        ({"share": 1.5}, r"share in \[0, 1\], found 1.5"),
        ({"threshold": -1.0}, "threshold of at least 0, found -1.0"),
        ({"threshold": math.nan}, "threshold of at least 0, found nan"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        NeuronImportance(**arguments)


def test_nan_is_named(with_nan):
    with pytest.raises(ValueError, match="NaN at link 4"):
        NeuronImportance(0.3).drop(with_nan, 0.3, RandomKey(0))
