"""Sparse weights and what their links carry."""

from __future__ import annotations

import pytest
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.testing import random_pattern


@pytest.fixture(scope="session")
def links_of():
    """Maps each cell that holds a link to its entry of a tensor, by default to its value."""

    def read(weight: SparseWeight, entries: Tensor | None = None) -> dict[int, float]:
        entries = weight.values.detach() if entries is None else entries
        return dict(zip(weight.pattern.links.cells().tolist(), entries.tolist(), strict=True))

    return read


@pytest.fixture(scope="session")
def weight_of():
    """Makes a weight of given values at random cells."""

    def make(values: Tensor, rows: int, cols: int, seed: int = 0) -> SparseWeight:
        return SparseWeight(values, random_pattern(rows, cols, values.numel(), seed=seed))

    return make
