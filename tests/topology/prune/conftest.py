"""Weights at which prune rules tend to break."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from testing import random_pattern

from sparse_engine.nn import SparseWeight

RANDOM = np.random.default_rng(0)
VALUES = {
    "ordinary": RANDOM.normal(size=60),
    "ties": RANDOM.integers(-2, 3, 60).astype(float),
    "all negative": -np.arange(1.0, 61.0),
    "zeros": np.zeros(60),
    "signed zeros": np.array([0.0, -0.0] * 30),
    "98 % dense": RANDOM.normal(size=118),
    "all positions": RANDOM.normal(size=120),
    "one": np.array([-3.0]),
    "none": np.zeros(0),
}


@pytest.fixture(params=VALUES)
def weight(request) -> SparseWeight:
    """A 10 x 12 weight of one kind of values."""
    values = torch.tensor(VALUES[request.param])
    return SparseWeight(values, random_pattern(10, 12, values.numel(), seed=3))


@pytest.fixture
def with_nan() -> SparseWeight:
    """A weight whose link 4 is NaN."""
    values = torch.arange(10.0)
    values[4] = torch.nan
    return SparseWeight(values, random_pattern(5, 5, 10))
