"""spmm, spmm_t and sddmm against their slow twins, and their derivatives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.testing import awkward_patterns, random_pattern, tolerance

PATTERNS = awkward_patterns()
COLUMNS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 127, 129, 200]


def matrix(features, columns, dtype, feature_last):
    if feature_last:
        return torch.randn(columns, features, dtype=dtype).t()
    return torch.randn(features, columns, dtype=dtype)


def check(pattern, columns, dtype, feature_last):
    values = torch.randn(pattern.nnz, dtype=dtype)
    out_features, in_features = pattern.shape
    x = matrix(in_features, columns, dtype, feature_last)
    y = matrix(out_features, columns, dtype, feature_last)
    bias = torch.randn(out_features, dtype=dtype)
    close = tolerance(dtype, max(in_features, out_features))
    assert_close(ops.spmm(values, pattern, x), ops.spmm_ref(values, pattern, x), **close)
    assert_close(
        ops.spmm(values, pattern, x, bias), ops.spmm_ref(values, pattern, x, bias), **close
    )
    assert_close(ops.spmm_t(values, pattern, y), ops.spmm_t_ref(values, pattern, y), **close)
    close = tolerance(dtype, columns)
    assert_close(ops.sddmm(pattern, y, x), ops.sddmm_ref(pattern, y, x), **close)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("feature_last", [False, True])
def test_equal_the_slow_twins(name, dtype, feature_last):
    for columns in COLUMNS:
        check(PATTERNS[name], columns, dtype, feature_last)


def test_a_wide_batch():
    check(random_pattern(130, 90, 1000), 4096, torch.float32, feature_last=True)
    check(random_pattern(130, 90, 1000), 4096, torch.float32, feature_last=False)


@given(data=st.data())
def test_random_structures(data):
    rows, cols = data.draw(st.integers(1, 140)), data.draw(st.integers(1, 140))
    nnz = data.draw(st.integers(0, rows * cols))
    pattern = random_pattern(rows, cols, nnz, seed=data.draw(st.integers(0, 2**31)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    check(pattern, data.draw(st.integers(1, 140)), dtype, data.draw(st.booleans()))


def test_results_follow_the_memory_order_of_the_input():
    pattern, values = PATTERNS["ordinary"], torch.randn(800)
    assert ops.spmm(values, pattern, torch.randn(100, 6)).is_contiguous()
    assert ops.spmm(values, pattern, torch.randn(6, 100).t()).t().is_contiguous()


@pytest.mark.parametrize("stride", [2, 3])
def test_strided_input(stride):
    pattern, values = PATTERNS["ordinary"], torch.randn(800)
    x = torch.randn(100 * stride, 6 * stride)[::stride, ::stride]
    assert_close(ops.spmm(values, pattern, x), ops.spmm_ref(values, pattern, x))
    wide = torch.randn(100, 50)[:, 10:43]
    assert_close(ops.spmm(values, pattern, wide), ops.spmm_ref(values, pattern, wide))
    expanded = torch.randn(100, 1).expand(100, 33)
    assert_close(ops.spmm(values, pattern, expanded), ops.spmm_ref(values, pattern, expanded))


def test_no_columns():
    pattern, values = PATTERNS["ordinary"], torch.randn(800)
    assert ops.spmm(values, pattern, torch.randn(100, 0)).shape == (70, 0)
    assert torch.equal(
        ops.sddmm(pattern, torch.randn(70, 0), torch.randn(100, 0)), torch.zeros(800)
    )


def test_nan_stays_in_its_column():
    pattern, values = PATTERNS["all"], torch.randn(19 * 17)
    x = torch.randn(17, 5)
    x[3, 2] = torch.nan
    y = ops.spmm(values, pattern, x)
    assert y[:, 2].isnan().all() and not y[:, [0, 1, 3, 4]].isnan().any()


@pytest.mark.parametrize("name", ["nothing", "one cell", "uneven"])
@pytest.mark.parametrize("columns", [1, 3, 17])
def test_derivatives(name, columns):
    pattern = PATTERNS[name]
    rows, cols = pattern.shape

    def double(*shape):
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    products = [
        (lambda v, x, b: ops.spmm(v, pattern, x, b), (pattern.nnz,), (cols, columns), (rows,)),
        (lambda v, y: ops.spmm_t(v, pattern, y), (pattern.nnz,), (rows, columns)),
        (lambda a, b: ops.sddmm(pattern, a, b), (rows, columns), (cols, columns)),
    ]
    for product, *shapes in products:
        inputs = [double(*shape) for shape in shapes]
        assert torch.autograd.gradcheck(product, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(product, inputs, fast_mode=True)


@pytest.mark.parametrize("feature_last", [False, True])
def test_opcheck(feature_last):
    pattern = PATTERNS["sparse"]
    values = torch.randn(31, requires_grad=True)
    x = matrix(70, 5, torch.float32, feature_last).requires_grad_()
    y = matrix(100, 5, torch.float32, feature_last).requires_grad_()
    bias = torch.randn(100, requires_grad=True)
    native = torch.ops.sparse_engine
    torch.library.opcheck(native.spmm.default, (values, *pattern, x, bias))
    torch.library.opcheck(native.spmm_t.default, (values, *pattern, y))
    torch.library.opcheck(native.sddmm.default, (*pattern, y, x))


def test_errors_say_what_was_expected_and_found():
    pattern, values = PATTERNS["ordinary"], torch.randn(800)
    x = torch.randn(100, 4)
    cases = [
        ((values[:5], x), r"expected values of shape \[800\], found \[5\]"),
        ((values, x[:7]), r"expected x of shape \[100, columns\], found \[7, 4\]"),
        ((values, x.double()), "expected x of dtype float32, found float64"),
        ((values.half(), x), "expected values of dtype float32 or float64, found float16"),
        ((values, x[0]), r"expected x of shape \[100, columns\], found \[4\]"),
    ]
    for (v, argument), message in cases:
        with pytest.raises(ValueError, match=message):
            ops.spmm(v, pattern, argument)
    with pytest.raises(ValueError, match=r"expected bias of shape \[70\], found \[3\]"):
        ops.spmm(values, pattern, x, torch.randn(3))
    with pytest.raises(ValueError, match="same number of columns, found 4 and 5"):
        ops.sddmm(pattern, torch.randn(70, 4), torch.randn(100, 5))
    with pytest.raises(ValueError, match=r"expected crow_indices to run from 0 to the 799 links"):
        ops.spmm(values, pattern._replace(col=pattern.col[:-1]), x)
