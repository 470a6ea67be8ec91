"""Copies of weights and networks: complete, independent, and readable without pickle."""

import copy
import io
import pickle

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight
from sparse_engine.testing import assert_valid
from sparse_engine.topology import SET


def through_torch_save(module):
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


MODULES = {
    "weight": lambda: SparseWeight.erdos_renyi(30, 20, density=0.2),
    "linear": lambda: SparseLinear(20, 30, density=0.2),
    "network": lambda: SparseRNN(20, 30, 2, bidirectional=True, density=0.2, input_density=0.5),
    "model": lambda: nn.Sequential(nn.Linear(20, 20), SparseLinear(20, 30, density=0.2)),
}
COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "state_dict": nn.Module.state_dict,
    "torch.save": through_torch_save,
    "safetensors": lambda module: load(save(module.state_dict())),
}


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_copies_compute_the_same_and_are_independent(kind, way, dtype):
    module = MODULES[kind]().to(dtype)
    other = COPIES[way](module)
    if not isinstance(other, nn.Module):
        state, other = other, MODULES[kind]().to(dtype)
        other.load_state_dict(state)
    x = torch.randn(4, 3, 20, dtype=dtype)

    def run(of):
        return torch.cat([y.flatten() for y in of(x)])

    expected = run(module)
    assert torch.equal(run(other), expected)
    SET(module, None, fraction=0.5, every=1).step()
    assert not torch.equal(run(module), expected)
    assert torch.equal(run(other), expected)
    for part in (*module.modules(), *other.modules()):
        if isinstance(part, SparseWeight):
            assert_valid(part)


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_flags_are_copied(way):
    layer = SparseLinear(20, 30, density=0.2).eval()
    layer.weight.values.requires_grad_(False)
    other = COPIES[way](layer)
    assert not other.training
    assert not other.weight.values.requires_grad and other.bias.requires_grad


def test_dtype_moves_only_what_is_real():
    network = SparseRNN(20, 30, 2, density=0.2, input_density=0.5).to(torch.float64)
    for name, tensor in network.state_dict().items():
        if name.endswith("_indices"):
            assert tensor.dtype in (torch.int32, torch.int64), name
        else:
            assert tensor.dtype == torch.float64, name
    x = torch.randn(4, 3, 20, dtype=torch.float64)
    assert network(x)[0].dtype == torch.float64
    assert torch.equal(network.float().double()(x)[0], network(x)[0])
    for part in network.modules():
        if isinstance(part, SparseWeight):
            assert_valid(part)


def test_default_dtype_is_that_of_torch():
    torch.set_default_dtype(torch.float64)
    try:
        network = SparseRNN(20, 30, density=0.2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}
