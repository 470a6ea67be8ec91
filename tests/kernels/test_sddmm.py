"""sddmm against its reference implementation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import (
    LAYOUTS,
    assert_sums,
    awkward_patterns,
    integers,
    laid_out,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
)

from sparse_engine import ops

PATTERNS = awkward_patterns()
COLUMNS = st.one_of(sizes(), st.integers(1, 200))


def check_exactly(pattern, columns, dtype, left, right):
    out_features, in_features = pattern.shape
    a = laid_out(integers(out_features, columns, dtype=dtype), left)
    b = laid_out(integers(in_features, columns, dtype=dtype), right)
    assert torch.equal(ops.sddmm(pattern, a, b), ops.sddmm.reference(pattern, a, b))


@given(
    pattern=patterns(),
    columns=COLUMNS,
    dtype=real_dtypes(),
    left=st.sampled_from(LAYOUTS),
    right=st.sampled_from(LAYOUTS),
)
def test_any_structure_exactly(pattern, columns, dtype, left, right):
    check_exactly(pattern, columns, dtype, left, right)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("columns", [1, 2, 5, 33, 64, 100, 200])
def test_awkward_structures_exactly(name, layout, columns):
    for dtype in (torch.float32, torch.float64):
        check_exactly(PATTERNS[name], columns, dtype, layout, "rows")
        check_exactly(PATTERNS[name], columns, dtype, "columns", layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_inner_length_of_thousands_exactly(layout):
    check_exactly(random_pattern(130, 90, 1000), 4096, torch.float32, layout, layout)


def test_rows_that_exceed_the_second_level_cache_exactly():
    pattern = random_pattern(40, 70_000, 9000)
    check_exactly(pattern, 37, torch.float32, "rows", "columns")
    check_exactly(pattern, 130, torch.float64, "columns", "rows")


@given(pattern=patterns(), columns=COLUMNS, dtype=real_dtypes())
def test_real_numbers(pattern, columns, dtype):
    out_features, in_features = pattern.shape
    a = torch.randn(out_features, columns, dtype=dtype)
    b = torch.randn(in_features, columns, dtype=dtype)
    exact = ops.sddmm.reference(pattern, a.double(), b.double())
    assert_sums(ops.sddmm(pattern, a, b), exact, columns)


def test_no_columns():
    a, b = torch.randn(70, 0), torch.randn(100, 0)
    assert torch.equal(ops.sddmm(PATTERNS["ordinary"], a, b), torch.zeros(800))


def test_nan_stays_at_its_links():
    pattern = PATTERNS["all"]
    a, b = torch.randn(19, 5), torch.randn(17, 5)
    b[3, 2] = torch.nan
    assert torch.equal(ops.sddmm(pattern, a, b).isnan(), pattern.col == 3)
