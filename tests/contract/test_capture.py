"""The factors that weights capture for growth by gradient are those of the dense gradient."""

import pytest
import torch
from contract.equations import EQUATIONS, Equations
from contract.networks import (
    assert_same,
    cell_of,
    forms_where,
    is_taken,
    make,
    outcome,
    weights_of,
)
from pairwise import pairwise
from testing import leaves_of
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear

GROWING = forms_where(lambda entry: entry.cell.gradient_growth)


def capturing(model):
    for weight in weights_of(model).values():
        weight.captured = [[]]
    return model


def dense_gradient(weight):
    (pairs,) = weight.captured
    return sum(dy.T @ x for dy, x in pairs)


GIVEN = {
    "padded": {},
    "lengths": {"lengths": [2, 7, 7, 1, 5]},
    "resets": {"resets": torch.rand(7, 5, generator=torch.Generator().manual_seed(1)) < 0.3},
    "timespans": {"timespans": torch.linspace(0.1, 0.7, 7, dtype=torch.float64)},
}


@pairwise(is_taken, form=GROWING, given=GIVEN, initial=[True, False], input_density=[1.0, 0.5])
def test_networks(form, given, initial, input_density):
    dropped = {"recurrent_dropout": 0.4} if form.startswith("rhn") else {}
    network = make(form, num_layers=2, bidirectional=True, input_density=input_density, **dropped)
    network.eval()
    leaves = leaves_of(network, 7, 5, initial=initial)
    plain = outcome(network, leaves, **given)
    equations = Equations(network, EQUATIONS[cell_of(form)])
    outcome(network, leaves, call=equations, **given)
    assert_same(outcome(capturing(network), leaves, **given), plain, 1e-10)
    for name, weight in weights_of(network).items():
        own, dense = dense_gradient(weight), equations.gradients[weight]
        assert_close(own, dense, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("form", GROWING)
def test_nothing_is_captured_without_gradients(form):
    network = make(form, dtype=torch.float32)
    x = torch.randn(4, 3, network.input_size)
    with torch.no_grad():
        wanted, found = network(x)[0], capturing(network)(x)[0]
    assert torch.equal(found, wanted), "evaluation takes the way that it takes without a method"
    assert all(weight.captured == [[]] for weight in weights_of(network).values())


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_linear(shape):
    layer = capturing(SparseLinear(7, 7, density=0.3, dtype=torch.float64))
    dense, x = layer.to_dense(), torch.randn(shape, dtype=torch.float64)
    for model in (layer, dense):
        model(model(x)).square().sum().backward()
        model(x).sum().backward()
    assert len(layer.weight.captured[0]) == 3
    assert_close(dense_gradient(layer.weight), dense.weight.grad)
    layer.weight.captured = [[]]
    with torch.no_grad():
        layer(x)
    assert layer.weight.captured == [[]]
