"""linear: a sparse weight on activations of any number of dimensions."""

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
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from sparse_engine import ops
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops.linear import TWO_PANELS

PATTERNS = awkward_patterns()
COLUMNS = st.one_of(sizes(), st.integers(1, 200))


@given(pattern=patterns(), batch=sizes(), dtype=real_dtypes(), with_bias=st.booleans())
def test_any_structure_exactly(pattern, batch, dtype, with_bias):
    values = integers(pattern.nnz, dtype=dtype)
    bias = integers(pattern.shape[0], dtype=dtype) if with_bias else None
    x = integers(batch, pattern.shape[1], dtype=dtype)
    expected = functional.linear(x, pattern.dense(values), bias)
    assert torch.equal(ops.linear(values, pattern, x, bias), expected)


@pytest.mark.parametrize(
    "shape", [(7,), (1, 7), (3, 7), (2, 1, 7), (2, 3, 4, 7), (0, 7), (3, 0, 7)]
)
def test_any_number_of_dimensions_exactly(shape):
    pattern = random_pattern(5, 7, 20)
    values, bias = integers(20, dtype=torch.float64), integers(5, dtype=torch.float64)
    x = integers(*shape, dtype=torch.float64)
    y = ops.linear(values, pattern, x, bias)
    assert torch.equal(y, functional.linear(x, pattern.dense(values), bias))


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_permuted_input_exactly(order):
    pattern = random_pattern(5, 7, 20)
    values = integers(20, dtype=torch.float32)
    x = torch.empty([(3, 4, 7)[order.index(d)] for d in range(3)]).permute(order)
    x.copy_(integers(3, 4, 7, dtype=torch.float32))
    y = ops.linear(values, pattern, x)
    assert torch.equal(y, functional.linear(x, pattern.dense(values)))


def test_no_inputs_give_the_bias():
    pattern, bias = random_pattern(3, 0, 0), torch.randn(3)
    y = ops.linear(torch.empty(0), pattern, torch.empty(4, 0), bias)
    assert torch.equal(y, bias.expand(4, 3))


def both_gradients(values, pattern, x, dy):
    """Gradients of the links and of x, in one visit."""
    return native.linear_backward(values, pattern, x, dy)


def check_gradients_exactly(pattern, columns, dtype, left, right):
    out_features, in_features = pattern.shape
    values = integers(pattern.nnz, dtype=dtype)
    x = laid_out(integers(in_features, columns, dtype=dtype), left)
    dy = laid_out(integers(out_features, columns, dtype=dtype), right)
    dvalues, dx = both_gradients(values, pattern, x, dy)
    assert torch.equal(dvalues, ops.sddmm.reference(pattern, dy, x))
    assert torch.equal(dx, ops.spmm_t.reference(values, pattern, dy))


@given(
    pattern=patterns(),
    columns=COLUMNS,
    dtype=real_dtypes(),
    left=st.sampled_from(LAYOUTS),
    right=st.sampled_from(LAYOUTS),
)
def test_both_gradients_of_any_structure_exactly(pattern, columns, dtype, left, right):
    check_gradients_exactly(pattern, columns, dtype, left, right)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("columns", [0, 1, 2, 5, 16, 20, 33, 64, 100, 200])
def test_both_gradients_of_awkward_structures_exactly(name, columns):
    for dtype in (torch.float32, torch.float64):
        check_gradients_exactly(PATTERNS[name], columns, dtype, "rows", "columns")
        check_gradients_exactly(PATTERNS[name], columns, dtype, "columns", "rows")


def test_both_gradients_with_rows_that_exceed_the_second_level_cache_exactly():
    pattern = random_pattern(70_000, 40, 9000)
    check_gradients_exactly(pattern, 37, torch.float32, "rows", "columns")
    check_gradients_exactly(pattern, 130, torch.float64, "columns", "rows")


@given(
    pattern=patterns(),
    columns=COLUMNS,
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    layout=st.sampled_from(LAYOUTS),
)
def test_both_gradients_of_real_numbers(pattern, columns, dtype, layout):
    """The gradient of x has the bits of the transposed product; one column is summed by rows."""
    out_features, in_features = pattern.shape
    real = torch.float64 if dtype == torch.float64 else torch.float32
    values = torch.randn(pattern.nnz, dtype=real)
    x = laid_out(torch.randn(in_features, columns).to(dtype), layout)
    dy = laid_out(torch.randn(out_features, columns).to(dtype), layout)
    dvalues, dx = both_gradients(values, pattern, x, dy)
    assert dvalues.dtype == real
    assert_sums(dvalues, ops.sddmm.reference(pattern, dy.double(), x.double()), columns)
    if columns == 1:
        assert_sums(dx, ops.spmm_t.reference(values.double(), pattern, dy.double()), out_features)
    else:
        assert torch.equal(dx, ops.spmm_t(values, pattern, dy))


@pytest.mark.parametrize("columns", [TWO_PANELS - 1, TWO_PANELS, 200])
def test_one_gradient_alone(columns):
    """The gradient of x has the same bits as beside that of the links, summed in another order."""
    pattern = random_pattern(33, 40, 200)
    values, x = torch.randn(200, requires_grad=True), torch.randn(columns, 40, requires_grad=True)
    upstream = torch.randn(columns, 33)
    dvalues, dx = torch.autograd.grad(ops.linear(values, pattern, x), [values, x], upstream)
    (alone,) = torch.autograd.grad(ops.linear(values.detach(), pattern, x), x, upstream)
    assert torch.equal(dx, alone)
    exact = ops.sddmm.reference(pattern, upstream.T.double(), x.detach().T.double())
    assert_sums(dvalues, exact, columns)
    (alone,) = torch.autograd.grad(ops.linear(values, pattern, x.detach()), values, upstream)
    assert_sums(alone, exact, columns)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("name", ["nothing", "one row", "one column", "uneven"])
def test_derivatives_of_several_panels(name, check):
    pattern = PATTERNS[name]
    out_features, in_features = pattern.shape
    inputs = [
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in (pattern.nnz, (TWO_PANELS, in_features), out_features)
    ]
    assert check(lambda v, x, b: ops.linear(v, pattern, x, b), inputs, fast_mode=True)


def test_nan_stays_at_its_links_and_units():
    pattern, x, dy = PATTERNS["all"], torch.randn(17, 5), torch.randn(19, 5)
    x[3, 2] = torch.nan
    dvalues, dx = both_gradients(torch.randn(pattern.nnz), pattern, x, dy)
    assert torch.equal(dvalues.isnan(), pattern.col == 3)
    assert not dx.isnan().any()
