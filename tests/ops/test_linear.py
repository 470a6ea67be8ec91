"""linear: a sparse weight on activations of any number of dimensions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from sparse_engine import ops
from sparse_engine.testing import integers, patterns, random_pattern, real_dtypes, sizes


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


@pytest.mark.parametrize("shape", [(), (6,), (7, 3), (2, 8)])
def test_input_of_the_wrong_width(shape):
    pattern = random_pattern(5, 7, 20)
    with pytest.raises(ValueError, match=r"expected input of shape \[..., 7\], found \["):
        ops.linear(torch.randn(20), pattern, torch.randn(shape))


def test_no_inputs_give_the_bias():
    pattern, bias = random_pattern(3, 0, 0), torch.randn(3)
    y = ops.linear(torch.empty(0), pattern, torch.empty(4, 0), bias)
    assert torch.equal(y, bias.expand(4, 3))
