"""Copies of networks and layers: complete, independent, readable without pickle, and later."""

import copy
import io
import json
import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from contract.networks import make, weights_of
from safetensors.torch import load, save
from testing import CELLS, assert_valid, output_of
from torch import nn

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight
from sparse_engine.topology import SET


def through_torch_save(module):
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


MODULES = {
    "weight": lambda: SparseWeight.erdos_renyi(30, 6, density=0.2),
    "linear": lambda: SparseLinear(6, 30, density=0.2),
    "model": lambda: nn.Sequential(nn.Linear(6, 20), SparseLinear(20, 30, density=0.2)),
    **{
        name: partial(make, name, torch.float32, input_density=0.5, bidirectional=True)
        for name in CELLS
    },
}
COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "state_dict": nn.Module.state_dict,
    "torch.save": through_torch_save,
    "safetensors": lambda module: load(save(module.state_dict())),
}


@pytest.mark.parametrize(
    ("kind", "way"), [*((kind, "pickle") for kind in MODULES), *(("rhn", way) for way in COPIES)]
)
def test_copies_compute_the_same_and_are_independent(kind, way):
    dtype = torch.float64
    module = MODULES[kind]().to(dtype)
    other = COPIES[way](module)
    if not isinstance(other, nn.Module):
        state, other = other, MODULES[kind]().to(dtype)
        SET(other, None, fraction=0.5, every=1, seed=1).step()  # so that the links are others
        other.load_state_dict(state)
    x = torch.randn(4, 3, 6, dtype=dtype)
    expected = output_of(module, x)
    assert torch.equal(output_of(other, x), expected)
    SET(module, None, fraction=0.5, every=1).step()
    assert not torch.equal(output_of(module, x), expected)
    assert torch.equal(output_of(other, x), expected)
    for weight in (*weights_of(module).values(), *weights_of(other).values()):
        assert_valid(weight)


@pytest.mark.parametrize("form", CELLS)
def test_dtype_moves_only_what_is_real(form):
    network = make(form, torch.float32, num_layers=2, input_density=0.5)
    before = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    for name, tensor in network.to(torch.float64).state_dict().items():
        real = before[name] == torch.float32
        assert tensor.dtype == (torch.float64 if real else before[name]), name
    x = torch.randn(4, 3, 6, dtype=torch.float64)
    assert network(x)[0].dtype == torch.float64
    assert torch.equal(network.float().double()(x)[0], network(x)[0])
    for weight in weights_of(network).values():
        assert_valid(weight)


def test_default_dtype_is_that_of_torch():
    torch.set_default_dtype(torch.float64)
    try:
        network = SparseRNN(20, 30, density=0.2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}


SAVED = json.loads((Path(__file__).parent / "saved_states.json").read_text())


@pytest.mark.parametrize("cell", CELLS)
def test_a_state_dict_that_an_earlier_version_saved_loads(cell):
    saved = SAVED[cell]

    def tensor(each):
        dtype = getattr(torch, each.get("dtype", "float32"))
        return torch.tensor(each["values"], dtype=dtype).reshape(each["shape"])

    network = CELLS[cell](3, 7, density=0.3, **saved["options"])
    assert [*network.state_dict()] == [*saved["state"]]
    network.load_state_dict({name: tensor(each) for name, each in saved["state"].items()})
    x = torch.linspace(-1, 1, 4 * 2 * 3).reshape(4, 2, 3).sin()
    torch.testing.assert_close(network(x)[0], tensor(saved["output"]), rtol=1e-5, atol=1e-6)
