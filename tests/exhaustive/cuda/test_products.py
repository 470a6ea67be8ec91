"""spmm, spmm_t, sddmm and linear_backward of the GPU against those of the CPU."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_engine.ops._dispatch.native import native
from sparse_engine.testing import (
    LAYOUTS,
    as_tuple,
    assert_sums,
    awkward_patterns,
    hub_pattern,
    integers,
    laid_out,
    pattern_of,
    patterns,
    real_dtypes,
)

# A row of more than 256 links is cut into pieces; one of 900 into four.
first_columns = torch.zeros(40, 90, dtype=torch.bool)
first_columns[::2, :3] = True
PATTERNS = awkward_patterns() | {
    "long rows": hub_pattern(24, 900),
    "long columns": hub_pattern(600, 9),
    "first columns": pattern_of(first_columns),
}


def check(gpu, pattern, columns, dtype, layout="rows"):
    """On whole numbers, where every order of summation gives the same bits."""
    out_features, in_features = pattern.shape
    values, bias = integers(pattern.nnz, dtype=dtype), integers(out_features, dtype=dtype)
    x = laid_out(integers(in_features, columns, dtype=dtype), layout)
    y = laid_out(integers(out_features, columns, dtype=dtype), layout)
    for name, arguments in [
        ("spmm", (values, pattern, x, bias)),
        ("spmm", (values, pattern, x, None)),
        ("spmm_t", (values, pattern, y)),
        ("sddmm", (pattern, y, x)),
        ("linear_backward", (values, pattern, x, y)),
    ]:
        found, wanted = (as_tuple(getattr(on, name)(*arguments)) for on in (gpu, native))
        for one, other in zip(found, wanted, strict=True):
            assert torch.equal(one, other), name
            assert one.is_contiguous() == other.is_contiguous()


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("columns", [1, 3, 8, 17, 33])
def test_awkward_structures(gpu, name, columns):
    for dtype in (torch.float32, torch.float64):
        check(gpu, PATTERNS[name], columns, dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("columns", [1, 4, 30, 64, 100])
def test_layouts(gpu, layout, columns):
    for dtype in (torch.float32, torch.float64):
        check(gpu, PATTERNS["uneven"], columns, dtype, layout)


@settings(max_examples=10)
@given(
    pattern=patterns(),
    columns=st.integers(1, 70),
    dtype=real_dtypes(),
    staged=st.sampled_from("01"),
)
def test_any_structure(gpu, pattern, columns, dtype, staged):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSE_ENGINE_STAGED", staged)
        check(gpu, pattern, columns, dtype)


def test_no_columns(gpu):
    pattern = PATTERNS["ordinary"]
    values, x, y = torch.randn(800), torch.randn(100, 0), torch.randn(70, 0)
    assert gpu.spmm(values, pattern, x, None).shape == (70, 0)
    assert torch.equal(gpu.sddmm(pattern, y, x), torch.zeros(800))
    dvalues, dx = gpu.linear_backward(values, pattern, x, y)
    assert torch.equal(dvalues, torch.zeros(800)) and dx.shape == (100, 0)


@pytest.mark.usefixtures("staging")
@pytest.mark.parametrize("name", ["ordinary", "long rows"])
def test_real_numbers(gpu, name):
    pattern = PATTERNS[name]
    out_features, in_features = pattern.shape
    values, x, y = (
        torch.randn(pattern.nnz),
        torch.randn(in_features, 20),
        torch.randn(out_features, 20),
    )
    dense = pattern.dense(values.double())
    assert_sums(gpu.spmm(values, pattern, x, None), dense @ x.double(), in_features)
    assert_sums(gpu.spmm_t(values, pattern, y), dense.T @ y.double(), out_features)
    gradient = (y.double() @ x.double().T)[pattern.rows(), pattern.col.long()]
    assert_sums(gpu.sddmm(pattern, y, x), gradient, 20)


@pytest.mark.usefixtures("staging")
def test_not_a_number_stays_in_its_column(gpu):
    pattern = PATTERNS["all"]
    x = torch.randn(17, 5)
    x[3, 2] = torch.nan
    y = gpu.spmm(torch.randn(19 * 17), pattern, x, None)
    assert y[:, 2].isnan().all() and not y[:, [0, 1, 3, 4]].isnan().any()
