"""First and second derivatives, by finite differences in double precision."""

import pytest
import torch
from testing import awkward_patterns
from torch.autograd import gradcheck, gradgradcheck

from sparse_engine import ops
from sparse_engine.ops.products import TWO_PANELS

PATTERNS = awkward_patterns()
SMALL = [name for name, pattern in PATTERNS.items() if pattern.nnz < 400]


def real(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def products(pattern, columns):
    """Every product as a function of its real arguments, with those."""
    rows, cols = pattern.shape
    return {
        "spmm": (
            lambda v, x, b: ops.spmm(v, pattern, x, b),
            [real(pattern.nnz), real(cols, columns), real(rows)],
        ),
        "spmm_t": (
            lambda v, y: ops.spmm_t(v, pattern, y),
            [real(pattern.nnz), real(rows, columns)],
        ),
        "sddmm": (
            lambda a, b: ops.sddmm(pattern, a, b),
            [real(rows, columns), real(cols, columns)],
        ),
        "linear": (
            lambda v, x, b: ops.linear(v, pattern, x, b),
            [real(pattern.nnz), real(columns, 2, cols), real(rows)],
        ),
    }


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("operation", ["spmm", "spmm_t", "sddmm", "linear"])
def test_products(name, operation):
    for columns in (1, 3):
        function, inputs = products(PATTERNS[name], columns)[operation]
        assert gradcheck(function, inputs)
    function, inputs = products(PATTERNS[name], TWO_PANELS)[operation]
    assert gradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("operation", ["spmm", "spmm_t", "sddmm", "linear"])
def test_second_derivatives_of_products(name, operation):
    for columns in (1, TWO_PANELS):
        function, inputs = products(PATTERNS[name], columns)[operation]
        assert gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("operation", ["spmm", "spmm_t", "sddmm", "linear"])
def test_one_gradient_of_a_product_alone_has_the_same_bits(operation):
    function, inputs = products(PATTERNS["ordinary"], 9)[operation]
    upstream = torch.randn_like(function(*inputs))
    expected = torch.autograd.grad(function(*inputs), inputs, upstream)
    for wanted in range(len(inputs)):
        alone = [leaf.detach().requires_grad_(i == wanted) for i, leaf in enumerate(inputs)]
        (grad,) = torch.autograd.grad(function(*alone), alone[wanted], upstream)
        assert torch.equal(grad, expected[wanted])
