"""PyTorch's tools for modules: export, functional_call, parametrizations."""

import copy
from functools import partial

import pytest
import torch
from testing import CELLS, output_of
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrize
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear, SparseRNN
from sparse_engine.topology import SET

MODULES = {
    "linear": lambda: SparseLinear(6, 21, density=0.3),
    **{
        name: lambda kind=kind: kind(6, 21, 2, density=0.3, bidirectional=True)
        for name, kind in CELLS.items()
    },
}
EVERY = pytest.mark.parametrize("kind", MODULES)


@EVERY
def test_functional_call_takes_other_parameters(kind):
    module, x = MODULES[kind](), torch.randn(7, 3, 6)
    expected = output_of(module, x)
    doubled = {name: 2 * value.detach() for name, value in module.named_parameters()}
    actual = output_of(partial(functional_call, module, doubled), (x,))
    assert torch.equal(output_of(module, x), expected)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    assert torch.equal(output_of(module, x), actual)


class Doubled(nn.Module):
    def forward(self, values):
        return 2 * values


@pytest.mark.parametrize("name", ["weight_ih_l0", "bias_hh_l0"])
def test_dense_parameters_are_parametrized(name):
    network, x = SparseRNN(6, 21, density=0.3), torch.randn(7, 3, 6)
    parametrize.register_parametrization(network, name, Doubled())
    y = network(x)[0]
    y.sum().backward()
    assert network.parametrizations[name].original.grad.abs().sum() > 0
    parametrize.remove_parametrizations(network, name)
    assert_close(network(x)[0], y)


class Halved(Doubled):
    def right_inverse(self, values):
        return values / 2


def test_values_are_parametrized():
    torch.manual_seed(2)
    network, x = SparseRNN(6, 21, density=0.3), torch.randn(7, 3, 6)
    weight, before = network.weight_hh_l0, network(x)[0]
    parametrize.register_parametrization(weight, "values", Halved())
    assert torch.equal(network(x)[0], before)
    network(x)[0].sum().backward()
    assert weight.parametrizations["values"].original.grad.abs().sum() > 0

    other = SparseRNN(6, 21, density=0.3)
    parametrize.register_parametrization(other.weight_hh_l0, "values", Doubled(), unsafe=True)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x)[0], before)
    assert torch.equal(copy.deepcopy(network)(x)[0], before)

    with pytest.raises(ValueError, match="without parametrizations, found one of"):
        SET(network, None, every=1).step()
    parametrize.remove_parametrizations(weight, "values")
    assert isinstance(weight.values, nn.Parameter)
    assert torch.equal(network(x)[0], before)
    SET(network, None, every=1).step()


def test_a_parametrized_weight_of_another_size_is_refused():
    network, other = SparseRNN(6, 21, density=0.3), SparseRNN(6, 21, density=0.2)
    for each in (network, other):
        parametrize.register_parametrization(each.weight_hh_l0, "values", Doubled(), unsafe=True)
    with pytest.raises(RuntimeError, match="expected 132 links, as many as the parametrized"):
        network.load_state_dict(other.state_dict())
