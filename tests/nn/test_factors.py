"""The factors that weights note are those of the dense gradient."""

import pytest
import torch
from torch import nn

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight


def dense_gradient(weight):
    (pairs,) = weight.captured
    return sum(dy.T @ x for dy, x in pairs)


def noting(model):
    for module in model.modules():
        if isinstance(module, SparseWeight):
            module.captured = [[]]
    return model


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_linear(shape):
    layer = noting(SparseLinear(7, 5, density=0.3, dtype=torch.float64))
    dense, x = layer.to_dense(), torch.randn(shape, dtype=torch.float64)
    for model in (layer, dense):
        model(x).square().sum().backward()
    torch.testing.assert_close(dense_gradient(layer.weight), dense.weight.grad)


@pytest.mark.parametrize("inputs", [6, 200])
@pytest.mark.parametrize("with_h0", [True, False])
@pytest.mark.parametrize("input_density", [1.0, 0.5])
def test_recurrence(inputs, with_h0, input_density):
    options = {"num_layers": 2, "bidirectional": True, "dtype": torch.float64}
    network = SparseRNN(inputs, 8, density=0.4, input_density=input_density, **options)
    noting(network)
    dense, x = network.to_dense(), torch.randn(4, 3, inputs, dtype=torch.float64)
    h0 = torch.randn(4, 3, 8, dtype=torch.float64) if with_h0 else None
    for model in (network, dense):
        y, h_n = model(x, h0)
        (y.square().sum() + h_n.sum()).backward()
    for name, parameter in dense.named_parameters():
        weight = getattr(network, name)
        if isinstance(weight, SparseWeight):
            torch.testing.assert_close(dense_gradient(weight), parameter.grad)


def test_every_use_is_noted():
    layer = noting(SparseLinear(7, 7, density=0.3))
    dense, x = layer.to_dense(), torch.randn(3, 7)
    for model in (layer, dense):
        model(model(x)).sum().backward()
        model(x).sum().backward()
    assert len(layer.weight.captured[0]) == 3
    torch.testing.assert_close(dense_gradient(layer.weight), dense.weight.grad)


def test_nothing_is_noted_without_gradients():
    model = noting(nn.ModuleList([SparseLinear(7, 7, density=0.3), SparseRNN(7, 7, density=0.3)]))
    with torch.no_grad():
        for module in model:
            module(torch.randn(4, 3, 7))
    assert model[0].weight.captured == model[1].weight_hh_l0.captured == [[]]
