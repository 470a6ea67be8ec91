"""Products of sparse weights and dense matrices, and sums over columns, against references."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pairwise import pairwise
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
from torch.nn import functional
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops.products import TWO_PANELS
from sparse_engine.ops.sums import affine, column_sums

PATTERNS = awkward_patterns()
COLUMNS = st.one_of(sizes(), st.integers(1, 200))
DTYPES = {"float32": torch.float32, "float64": torch.float64}
ORDINARY = PATTERNS["ordinary"]


def linear(values, pattern, x, bias):
    return ops.linear(values, pattern, x.t(), bias).t()


def dense_linear(values, pattern, x, bias):
    return functional.linear(x.t(), pattern.dense(values), bias).t()


def both_gradients(values, pattern, x, dy):
    return ops.sddmm.reference(pattern, dy, x), ops.spmm_t.reference(values, pattern, dy)


#: Each product of values, pattern, x, bias and y, and what it equals.
PRODUCTS = {
    "spmm": lambda v, p, x, b, y: (ops.spmm(v, p, x, b), ops.spmm.reference(v, p, x, b)),
    "without bias": lambda v, p, x, b, y: (ops.spmm(v, p, x), ops.spmm.reference(v, p, x)),
    "spmm_t": lambda v, p, x, b, y: (ops.spmm_t(v, p, y), ops.spmm_t.reference(v, p, y)),
    "sddmm": lambda v, p, x, b, y: (ops.sddmm(p, y, x), ops.sddmm.reference(p, y, x)),
    "linear": lambda v, p, x, b, y: (linear(v, p, x, b), dense_linear(v, p, x, b)),
    "gradients": lambda v, p, x, b, y: (
        native.linear_backward(v, p, x, y),
        both_gradients(v, p, x, y),
    ),
}


def check_exactly(pattern, columns, dtype, left="rows", right="columns", products=PRODUCTS):
    """On whole numbers, where every order of summation gives the same bits."""
    out_features, in_features = pattern.shape
    values, bias = (integers(n, dtype=dtype) for n in (pattern.nnz, out_features))
    x = laid_out(integers(in_features, columns, dtype=dtype), left)
    y = laid_out(integers(out_features, columns, dtype=dtype), right)
    for name in products:
        found, wanted = PRODUCTS[name](values, pattern, x, bias, y)
        if name != "gradients":
            found, wanted = [found], [wanted]
        assert all(map(torch.equal, found, wanted)), name


@given(
    pattern=patterns(),
    columns=COLUMNS,
    dtype=real_dtypes(),
    left=st.sampled_from(LAYOUTS),
    right=st.sampled_from(LAYOUTS),
)
def test_any_structure_exactly(pattern, columns, dtype, left, right):
    check_exactly(pattern, columns, dtype, left, right)


@pairwise(
    pattern=PATTERNS,
    columns=[0, 1, 2, 5, 16, 20, 33, 64, 100, 200],
    left=LAYOUTS,
    right=LAYOUTS,
    dtype=DTYPES,
)
def test_awkward_structures_exactly(pattern, columns, left, right, dtype):
    check_exactly(pattern, columns, dtype, left, right)


MANY = {
    "thousands of columns": ((130, 90, 1000), 4096),
    "more rows than a cache holds": ((70_000, 40, 9000), 37),
    "more columns than a cache holds": ((40, 70_000, 9000), 130),
    # The CPU sorts links by the rows that share a column, from a quarter of all links on.
    "three quarters of the links": ((130, 90, 9000), 1000),
    "all links": ((67, 70, 4690), 500),
    "a short last group": ((131, 131, 9000), 500),
    "a quarter of the links": ((36, 300, 2800), 500),
}


@pairwise(sizes=MANY, layout=LAYOUTS, dtype=DTYPES)
def test_many_rows_columns_and_links_exactly(sizes, layout, dtype):
    shape, columns = sizes
    check_exactly(random_pattern(*shape), columns, dtype, layout, layout)


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("most", [0.02, 0.1, 1.0])
def test_a_column_times_rows_of_all_lengths_exactly(most, dtype):
    """Rows that are summed together: short ones, long ones, and both side by side."""
    for fractions in (torch.linspace(0, most, 43), most * torch.rand(43) ** 4):
        check_exactly(pattern_of(torch.rand(43, 400) < fractions[:, None]), 1, dtype)


@given(
    pattern=patterns(),
    columns=COLUMNS,
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    layout=st.sampled_from(LAYOUTS),
)
def test_real_numbers(pattern, columns, dtype, layout):
    """The gradient of x has the bits of the transposed product; one column is summed by rows."""
    out_features, in_features = pattern.shape
    real = torch.float64 if dtype == torch.float64 else torch.float32
    values, bias = torch.randn(pattern.nnz, dtype=real), torch.randn(out_features, dtype=real)
    x = laid_out(torch.randn(in_features, columns).to(dtype), layout)
    y = laid_out(torch.randn(out_features, columns).to(dtype), layout)
    exact = values.double(), pattern, x.double(), bias.double()
    links = ops.sddmm.reference(pattern, y.double(), x.double())
    back = ops.spmm_t.reference(values.double(), pattern, y.double())
    dvalues, dx = native.linear_backward(values, pattern, x, y)
    assert_sums(dvalues, links, columns)
    assert dvalues.dtype == real
    if columns == 1:
        assert_sums(dx, back, out_features)
    else:
        assert torch.equal(dx, ops.spmm_t(values, pattern, y))
    if dtype == torch.bfloat16:
        for found, wanted, terms in (
            (ops.spmm(values, pattern, x, bias), ops.spmm.reference(*exact), in_features + 1),
            (ops.spmm_t(values, pattern, y), back, out_features),
        ):
            check_rounded(found, wanted, 10 * terms)
        check_summed(ops.sddmm(pattern, y, x), pattern, y, x)
    else:
        assert_sums(ops.spmm(values, pattern, x, bias), ops.spmm.reference(*exact), in_features + 1)
        assert_sums(ops.spmm_t(values, pattern, y), back, out_features)
        assert_sums(ops.sddmm(pattern, y, x), links, columns)


HALF = 2**-8  # of a result: the rounding of bfloat16 to the nearest
TINY = 2**-126  # the least normal number


def check_rounded(actual, exact, terms):
    """Within one rounding of the exact result, and float32's error in the sum of ``terms``."""
    assert actual.dtype == torch.bfloat16
    assert ((actual.double() - exact).abs() <= HALF * exact.abs() + 1e-6 * terms).all()


def check_summed(actual, pattern, a, b):
    """Products are exact: within float32's error in a sum of them, over the columns of a and b."""
    assert actual.dtype == torch.float32
    a, b = a.double(), b.double()
    error = (actual.double() - ops.sddmm(pattern, a, b)).abs()
    assert (error <= 2**-24 * a.shape[1] * ops.sddmm(pattern, a.abs(), b.abs())).all()


@pairwise(shape=[(37, 21, 155), (300, 700, 42_000)], columns=[1, 2, 15, 16, 17, 33, 48, 64, 100])
def test_many_activations_in_bfloat16(shape, columns):
    pattern = random_pattern(*shape)
    values, dense = torch.randn(pattern.nnz), pattern.dense
    for turned in (False, True):
        x, y = (
            (torch.randn(columns, n).t() if turned else torch.randn(n, columns)).bfloat16()
            for n in (shape[1], shape[0])
        )
        terms = 10 * dense(values.double()).abs() @ x.double().abs()
        check_rounded(ops.spmm(values, pattern, x), dense(values.double()) @ x.double(), terms)
        check_summed(ops.sddmm(pattern, y, x), pattern, y, x)


@pytest.mark.parametrize("columns", [1, 16, 32, 48])
def test_sums_at_the_edge(columns):
    """Products of bfloat16, of which the least may become 0."""
    numbers = torch.tensor([0.5 * TINY, TINY, 3e38, -3e38, torch.inf, torch.nan]).bfloat16()
    a, b = torch.zeros(6, columns).bfloat16(), torch.zeros(1, columns).bfloat16()
    a[:, 0], b[:, 0] = numbers, 2.0
    found = ops.sddmm(random_pattern(6, 1, 6), a, b)
    assert found[0] in (0.0, TINY)
    expected = torch.tensor([2 * TINY, torch.inf, -torch.inf, torch.inf, torch.nan])
    assert_close(found[1:], expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-40, -3e38, torch.inf, torch.nan])
@pytest.mark.parametrize("columns", [1, 16, 40])
def test_numbers_at_the_edge_are_rounded_as_torch_rounds(value, columns):
    bias = torch.tensor([value, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-9])
    x = torch.zeros(4, columns).bfloat16()
    y = ops.spmm(torch.zeros(20), random_pattern(5, 4, 20), x, bias)
    expected = bias.bfloat16()[:, None].expand(5, columns)
    assert_close(y, expected, rtol=0, atol=0, equal_nan=True)


def test_results_follow_the_memory_order_of_the_input():
    values = torch.randn(800)
    for product, rows in ((ops.spmm, 100), (ops.spmm_t, 70)):
        assert product(values, ORDINARY, torch.randn(rows, 6)).is_contiguous()
        assert product(values, ORDINARY, torch.randn(6, rows).t()).t().is_contiguous()


def test_expanded_input_and_strided_values_and_bias():
    values, bias = integers(1600, dtype=torch.float32)[::2], torch.ones(210)[::3]
    for shape in ((100, 1), (1, 33), (1, 1)):
        x = integers(*shape, dtype=torch.float32).expand(100, 33)
        found = ops.spmm(values, ORDINARY, x, bias)
        assert torch.equal(found, ops.spmm.reference(values, ORDINARY, x, bias))


def test_nan_stays_in_its_column_and_at_its_links():
    pattern, x, y = PATTERNS["all"], torch.randn(17, 5), torch.randn(19, 5)
    values, x[3, 2] = torch.randn(pattern.nnz), torch.nan
    product = ops.spmm(values, pattern, x).isnan()
    assert product[:, 2].all() and product.sum() == 19
    dvalues, dx = native.linear_backward(values, pattern, x, y)
    for each in (dvalues, ops.sddmm(pattern, y, x)):
        assert torch.equal(each.isnan(), pattern.col == 3)
    assert not dx.isnan().any()


def test_the_path_without_autograd_gives_the_same_bits():
    values, x = torch.randn(800), torch.randn(100, 9)
    recorded = ops.spmm(values.requires_grad_(), ORDINARY, x)
    with torch.no_grad():
        plain = ops.spmm(values, ORDINARY, x)
    with torch.inference_mode():
        inferred = ops.spmm(values, ORDINARY, x)
    assert recorded.requires_grad and not plain.requires_grad and inferred.is_inference()
    assert torch.equal(recorded, plain) and torch.equal(recorded, inferred)


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 1, 7), (2, 3, 4, 7), (0, 7), (3, 0, 7)])
def test_linear_in_any_number_of_dimensions_exactly(shape):
    pattern = random_pattern(5, 7, 20)
    values, bias = (integers(n, dtype=torch.float64) for n in (20, 5))
    x = integers(*shape, dtype=torch.float64)
    for each in (x, x.permute(*range(x.dim() - 2, -1, -1), -1).contiguous()):
        wanted = functional.linear(each, pattern.dense(values), bias)
        assert torch.equal(ops.linear(values, pattern, each, bias), wanted)
    last_first = x.movedim(-1, 0).contiguous().movedim(0, -1)
    wanted = functional.linear(x, pattern.dense(values), bias)
    assert torch.equal(ops.linear(values, pattern, last_first, bias), wanted)


def test_no_inputs_give_the_bias():
    pattern, bias = random_pattern(3, 0, 0), torch.randn(3)
    y = ops.linear(torch.empty(0), pattern, torch.empty(4, 0), bias)
    assert torch.equal(y, bias.expand(4, 3))


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
    (alone,) = torch.autograd.grad(ops.linear(values, pattern, x.detach()), values, upstream)
    for each in (dvalues, alone):
        assert_sums(each, exact, columns)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "shape", [(0, 3), (3, 0), (1, 1), (7, 300), (300, 7), (257, 513), (40, 5000)]
)
def test_whole_numbers_are_summed_exactly(shape, dtype):
    x = integers(*shape, dtype=dtype, most=2)
    expected = x.double().sum(1)
    for same in (x, x.t().contiguous().t(), torch.cat([x, x], 1)[:, : shape[1]]):
        assert torch.equal(column_sums(same).double(), expected)


def test_derivatives_of_affine_maps():
    leaves = [torch.randn(*n, 4, dtype=torch.float64, requires_grad=True) for n in ((3, 2), (), ())]
    for which in ((0, 1, 2), (0, 1), (0, 2)):

        def run(*tensors, which=which):
            held = dict(zip(which, tensors, strict=True))
            return affine(*(held.get(i) for i in range(3)))

        x, gain, bias = (leaves[i] if i in which else torch.tensor(float(i == 1)) for i in range(3))
        given = [leaves[i] for i in which]
        assert_close(run(*given), x * gain + bias.double())
        assert torch.autograd.gradcheck(run, given)
        assert torch.autograd.gradgradcheck(run, given)
