"""Tools for tests of sparse code: awkward patterns, and tolerances that follow from the dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern, RandomKey, rewire, sample_absent
from sparse_engine.ops.pattern import Links


def random_pattern(out_features: int, in_features: int, nnz: int, *, seed: int = 0) -> Pattern:
    """A pattern of ``nnz`` links at random cells."""
    empty = Links(
        torch.zeros(out_features + 1, dtype=torch.int64),
        torch.empty(0, dtype=torch.int32),
        in_features,
    )
    cells = sample_absent(empty, nnz, RandomKey(seed))
    return Pattern.of(rewire(empty, torch.empty(0, dtype=torch.bool), cells).links)


def pattern_of(mask: Tensor) -> Pattern:
    """The pattern of the true cells of a boolean matrix."""
    rows, cols = mask.nonzero(as_tuple=True)
    crow = torch.zeros(mask.shape[0] + 1, dtype=torch.int64)
    crow[1:] = torch.bincount(rows, minlength=mask.shape[0]).cumsum(0)
    return Pattern.from_csr(crow, cols, tuple(mask.shape))


def awkward_patterns() -> dict[str, Pattern]:
    """Patterns at which kernels tend to break, by name."""
    uneven = torch.zeros(37, 53, dtype=torch.bool)
    uneven[3] = True  # a full row
    uneven[:, 7] = True  # a full column
    uneven[20:30] = False  # empty rows
    return {
        "nothing": random_pattern(5, 9, 0),
        "one cell": random_pattern(1, 1, 1),
        "one row": random_pattern(1, 40, 33),
        "one column": random_pattern(40, 1, 17),
        "all": random_pattern(19, 17, 19 * 17),
        "uneven": pattern_of(uneven),
        "sparse": random_pattern(100, 70, 31, seed=1),
        "ordinary": random_pattern(70, 100, 800, seed=2),
    }


def tolerance(dtype: torch.dtype, terms: int) -> dict[str, float]:
    """Bounds for sums of ``terms`` products of numbers of size one, as assert_close takes them."""
    bound = 4 * torch.finfo(dtype).eps * max(1, terms) ** 0.5
    return {"rtol": bound, "atol": 4 * bound}


def assert_valid(weight: SparseWeight) -> None:
    """Checks everything that must always hold of a weight's pattern and its transpose."""
    checked = Pattern.from_csr(weight.crow_indices, weight.col_indices, weight.shape)
    for kept, fresh in zip(weight.pattern, checked, strict=True):
        assert torch.equal(kept, fresh)
    assert weight.values.shape == (weight.nnz,)
