"""spmm and spmm_t against their reference implementations."""

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
    pattern_of,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
)

from sparse_engine import ops

PATTERNS = awkward_patterns()
COLUMNS = st.one_of(sizes(), st.integers(1, 200))


def check_exactly(pattern, columns, dtype, layout):
    """On whole numbers, where every order of summation gives the same bits."""
    out_features, in_features = pattern.shape
    values = integers(pattern.nnz, dtype=dtype)
    bias = integers(out_features, dtype=dtype)
    x = laid_out(integers(in_features, columns, dtype=dtype), layout)
    y = laid_out(integers(out_features, columns, dtype=dtype), layout)
    product = ops.spmm.reference(values, pattern, x)
    assert torch.equal(ops.spmm(values, pattern, x), product)
    assert torch.equal(ops.spmm(values, pattern, x, bias), product + bias[:, None])
    assert torch.equal(ops.spmm_t(values, pattern, y), ops.spmm_t.reference(values, pattern, y))


@given(pattern=patterns(), columns=COLUMNS, dtype=real_dtypes(), layout=st.sampled_from(LAYOUTS))
def test_any_structure_exactly(pattern, columns, dtype, layout):
    check_exactly(pattern, columns, dtype, layout)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("columns", [1, 2, 5, 20, 33, 64, 100, 200])
def test_awkward_structures_exactly(name, layout, columns):
    for dtype in (torch.float32, torch.float64):
        check_exactly(PATTERNS[name], columns, dtype, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_batch_of_thousands_exactly(layout):
    check_exactly(random_pattern(130, 90, 1000), 4096, torch.float32, layout)


MANY_LINKS = {
    "three quarters": (130, 90, 9000),
    "all": (67, 70, 4690),
    "short last group": (131, 131, 9000),
    "a quarter": (36, 300, 2800),
}


@pytest.mark.parametrize("name", MANY_LINKS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("columns", [500, 1000])
def test_groups_of_rows_exactly(name, layout, columns):
    """The CPU sorts links by the rows that share a column, from a quarter of all links on."""
    for dtype in (torch.float32, torch.float64):
        check_exactly(random_pattern(*MANY_LINKS[name]), columns, dtype, layout)


@given(pattern=patterns(), columns=COLUMNS, dtype=real_dtypes())
def test_real_numbers(pattern, columns, dtype):
    out_features, in_features = pattern.shape
    values, bias = torch.randn(pattern.nnz, dtype=dtype), torch.randn(out_features, dtype=dtype)
    x = torch.randn(in_features, columns, dtype=dtype)
    y = torch.randn(out_features, columns, dtype=dtype)
    exact = ops.spmm.reference(values.double(), pattern, x.double(), bias.double())
    assert_sums(ops.spmm(values, pattern, x, bias), exact, in_features + 1)
    exact = ops.spmm_t.reference(values.double(), pattern, y.double())
    assert_sums(ops.spmm_t(values, pattern, y), exact, out_features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("most", [0.02, 0.1, 1.0])
def test_a_column_times_rows_of_all_lengths_exactly(most, dtype):
    """Rows that are summed together: short ones, long ones, and both side by side."""
    for fractions in (torch.linspace(0, most, 43), most * torch.rand(43) ** 4):
        check_exactly(pattern_of(torch.rand(43, 400) < fractions[:, None]), 1, dtype, LAYOUTS[0])


def test_results_follow_the_memory_order_of_the_input():
    pattern, values = PATTERNS["ordinary"], torch.randn(800)
    assert ops.spmm(values, pattern, torch.randn(100, 6)).is_contiguous()
    assert ops.spmm(values, pattern, torch.randn(6, 100).t()).t().is_contiguous()
    assert ops.spmm_t(values, pattern, torch.randn(70, 6)).is_contiguous()
    assert ops.spmm_t(values, pattern, torch.randn(6, 70).t()).t().is_contiguous()


@pytest.mark.parametrize("shape", [(100, 1), (1, 33), (1, 1)])
def test_expanded_input(shape):
    pattern, values = PATTERNS["ordinary"], integers(800, dtype=torch.float32)
    x = integers(*shape, dtype=torch.float32).expand(100, 33)
    assert torch.equal(ops.spmm(values, pattern, x), ops.spmm.reference(values, pattern, x))


def test_strided_values_and_bias():
    pattern, x = PATTERNS["ordinary"], integers(100, 6, dtype=torch.float32)
    values, bias = integers(1600, dtype=x.dtype)[::2], integers(210, dtype=x.dtype)[::3]
    assert torch.equal(
        ops.spmm(values, pattern, x, bias), ops.spmm.reference(values, pattern, x, bias)
    )


def test_no_columns():
    pattern, values = PATTERNS["ordinary"], torch.randn(800)
    assert ops.spmm(values, pattern, torch.randn(100, 0)).shape == (70, 0)
    assert ops.spmm_t(values, pattern, torch.randn(70, 0)).shape == (100, 0)


def test_nan_stays_in_its_column():
    pattern, values = PATTERNS["all"], torch.randn(19 * 17)
    x = torch.randn(17, 5)
    x[3, 2] = torch.nan
    y = ops.spmm(values, pattern, x)
    assert y[:, 2].isnan().all() and not y[:, [0, 1, 3, 4]].isnan().any()


def test_the_path_without_autograd_gives_the_same_bits():
    pattern, values, x = PATTERNS["ordinary"], torch.randn(800), torch.randn(100, 9)
    recorded = ops.spmm(values.requires_grad_(), pattern, x)
    with torch.no_grad():
        plain = ops.spmm(values, pattern, x)
    with torch.inference_mode():
        inferred = ops.spmm(values, pattern, x)
    assert recorded.requires_grad and not plain.requires_grad and inferred.is_inference()
    assert torch.equal(recorded, plain) and torch.equal(recorded, inferred)
