"""SparseLinear against torch.nn.Linear."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 12), (0, 12), (1, 12), (4, 0, 12)])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_dense_layer(shape, bias):
    layer = SparseLinear(12, 7, bias, density=0.4, dtype=torch.float64)
    dense = layer.to_dense()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    x_dense = x.detach().clone().requires_grad_()
    y, y_dense = layer(x), dense(x_dense)
    assert_close(y, y_dense)
    upstream = torch.randn_like(y)
    y.backward(upstream)
    y_dense.backward(upstream)
    assert_close(x.grad, x_dense.grad)
    at_links = layer.weight.rows(), layer.weight.col_indices.long()
    assert_close(layer.weight.values.grad, dense.weight.grad[at_links])
    if bias:
        assert_close(layer.bias.grad, dense.bias.grad)


def test_from_dense_round_trip():
    dense = nn.Linear(12, 7)
    mask = torch.rand(7, 12) < 0.3
    layer = SparseLinear.from_dense(dense, mask)
    assert layer.weight.nnz == int(mask.sum())
    assert torch.equal(layer.to_dense().weight, dense.weight * mask)
    assert torch.equal(layer.bias, dense.bias)
    assert layer.bias is not dense.bias


def test_input_of_the_wrong_width():
    layer = SparseLinear(12, 7, density=0.4)
    with pytest.raises(ValueError, match=r"expected input of shape \[..., 12\], found \[3, 11\]"):
        layer(torch.randn(3, 11))


def test_compiles_without_a_break():
    layer = SparseLinear(12, 7, density=0.4)
    x = torch.randn(5, 12)
    compiled = torch.compile(layer, fullgraph=True)
    compiled(x).sum().backward()
    gradient = layer.weight.values.grad.clone()
    layer.zero_grad()
    layer(x).sum().backward()
    assert_close(gradient, layer.weight.values.grad)
