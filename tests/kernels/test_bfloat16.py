"""Activations in bfloat16: products and sums in float32, one rounding per result."""

import pytest
import torch
from testing import awkward_patterns
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.nn import SparseLinear, SparseWeight

HALF = 2**-8  # of a result: the rounding of bfloat16 to the nearest
TINY = 2**-126  # the least normal number
COLUMNS = pytest.mark.parametrize("columns", [0, 1, 2, 5, 15, 16, 17, 32, 33, 48, 64, 100])
SHAPES = pytest.mark.parametrize("shape", [(1, 1), (37, 21), (300, 700)])


def weight_of(shape, density=0.2):
    generator = torch.Generator().manual_seed(3)
    return SparseWeight.erdos_renyi(*shape, density=density, generator=generator)


def activations(*shape):
    return torch.randn(shape).to(torch.bfloat16)


def check_rounded(actual, exact, terms):
    """Within one rounding of the exact result, and float32's error in the sum of ``terms``."""
    assert actual.dtype == torch.bfloat16
    error = (actual.double() - exact).abs()
    assert (error <= HALF * exact.abs() + 1e-5 * terms).all()


@SHAPES
@COLUMNS
@pytest.mark.parametrize("turned", [False, True])
def test_spmm(shape, columns, turned):
    weight, bias = weight_of(shape), torch.randn(shape[0])
    x = activations(columns, shape[1]).t() if turned else activations(shape[1], columns)
    dense = weight.to_dense().double()
    y = ops.spmm(weight.values, weight.pattern, x, bias)
    exact = dense @ x.double() + bias[:, None].double()
    check_rounded(y, exact, dense.abs() @ x.double().abs() + 1)
    back = ops.spmm_t(weight.values, weight.pattern, y)
    check_rounded(back, dense.T @ y.double(), dense.T.abs() @ y.double().abs())


def check_summed(actual, pattern, a, b):
    """Products are exact: within float32's error in a sum of them, over the columns of a and b."""
    assert actual.dtype == torch.float32
    a, b = a.double(), b.double()
    error = (actual.double() - ops.sddmm(pattern, a, b)).abs()
    assert (error <= 2**-24 * a.shape[1] * ops.sddmm(pattern, a.abs(), b.abs())).all()


@SHAPES
@COLUMNS
def test_sddmm(shape, columns):
    weight = weight_of(shape)
    a, b = activations(shape[0], columns), activations(columns, shape[1]).t()
    check_summed(ops.sddmm(weight.pattern, a, b), weight.pattern, a, b)


@pytest.mark.parametrize("pattern", awkward_patterns().values(), ids=awkward_patterns())
def test_sddmm_of_awkward_patterns(pattern):
    rows, cols = pattern.shape
    a, b = activations(rows, 40), activations(cols, 40)
    check_summed(ops.sddmm(pattern, a, b), pattern, a, b)


@pytest.mark.parametrize("columns", [1, 16, 32, 48])
def test_sddmm_of_numbers_at_the_edge(columns):
    pattern = weight_of((6, 1), 1.0).pattern
    numbers = torch.tensor([0.5 * TINY, TINY, 3e38, -3e38, float("inf"), float("nan")]).bfloat16()
    a, b = torch.zeros(6, columns).bfloat16(), torch.zeros(1, columns).bfloat16()
    a[:, 0], b[:, 0] = numbers, 2.0
    found = ops.sddmm(pattern, a, b)
    assert found[0] in (0.0, TINY)
    infinity = float("inf")
    expected = torch.tensor([2 * TINY, infinity, -infinity, infinity, float("nan")])
    assert_close(found[1:], expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-40, -3e38, float("inf"), float("nan")])
@pytest.mark.parametrize("columns", [1, 16, 40])
def test_numbers_at_the_edge_are_rounded_as_torch_rounds(value, columns):
    weight = weight_of((5, 4), 1.0)
    weight.values.data.fill_(0.0)
    bias = torch.full((5,), value)
    bias[1:] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-9])
    y = ops.spmm(weight.values, weight.pattern, torch.zeros(4, columns).bfloat16(), bias)
    expected = bias.bfloat16()[:, None].expand(5, columns)
    assert_close(y, expected, rtol=0, atol=0, equal_nan=True)


def test_a_layer_under_autocast():
    layer = SparseLinear(70, 50, density=0.2)
    x = torch.randn(4, 9, 70, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        assert y.dtype == torch.bfloat16
        assert layer(y.new_zeros(2, 70)).dtype == torch.bfloat16
    target = torch.randn(y.shape)
    gradients = torch.autograd.grad((y * target).sum(), [x, *layer.parameters()])
    expected = torch.autograd.grad((layer(x) * target).sum(), [x, *layer.parameters()])
    for own, other in zip(gradients, expected, strict=True):
        assert own.dtype == torch.float32
        assert (own - other).norm() < 2 * HALF * other.norm()
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        assert layer(x).dtype == torch.float32


def test_float64_stays_float64_under_autocast():
    layer, x = SparseLinear(7, 5, density=0.5, dtype=torch.float64), torch.randn(3, 7).double()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.float64
