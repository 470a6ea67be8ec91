"""Copies of networks, devices of parameters, and tensors without data."""

import copy
import io
import json
import pickle
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from contract.networks import MODULES, make, weights_of
from safetensors.torch import load, save
from testing import CELLS, assert_valid, output_of
from torch import nn
from torch.utils._pytree import tree_leaves

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight
from sparse_engine.ops._dispatch.native import native
from sparse_engine.topology import SET


def through_torch_save(module):
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "state_dict": nn.Module.state_dict,
    "torch.save": through_torch_save,
    "safetensors": lambda module: load(save(module.state_dict())),
}


@pytest.mark.parametrize(
    ("kind", "way"),
    [*((kind, "pickle") for kind in ("linear", *CELLS)), *(("rhn", way) for way in COPIES)],
)
def test_copies_compute_the_same_and_are_independent(kind, way):
    dtype = torch.float64
    module = MODULES[kind](dtype=dtype)
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


EVERY = pytest.mark.parametrize("kind", MODULES)
X = torch.randn(7, 3, 6)
PREFIX = "sparse_engine::"
OPERATIONS = sorted(
    name.removeprefix(PREFIX)
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith(PREFIX)
)
MIXED = r"on one device|expected device"


def outputs_of(module, x):
    return [y for y in tree_leaves(module(x)) if isinstance(y, torch.Tensor)]


def devices_of(module):
    return {each.device.type for each in (*module.parameters(), *module.buffers())}


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


MAKERS = {
    "device=": lambda make: make(device="meta"),
    "with": lambda make: within(torch.device("meta"), make),
    "default": lambda make: within(default_device("meta"), make),
}


def within(context, make):
    with context:
        return make()


@EVERY
@pytest.mark.parametrize("how", MAKERS)
def test_modules_are_made_without_data(kind, how):
    module, real = MAKERS[how](MODULES[kind]), MODULES[kind]()
    assert devices_of(module) == {"meta"}
    expected = {name: (each.shape, each.dtype) for name, each in real.state_dict().items()}
    found = {name: (each.shape, each.dtype) for name, each in module.state_dict().items()}
    assert found == expected
    for y, other in zip(outputs_of(module, X.to("meta")), outputs_of(real, X), strict=True):
        assert (y.device.type, y.shape, y.dtype) == ("meta", other.shape, other.dtype)


def test_modules_are_made_within_accelerate():
    accelerate = pytest.importorskip("accelerate")
    with accelerate.init_empty_weights(include_buffers=True):
        network = MODULES["lstm"]()
    assert devices_of(network) == {"meta"}


@EVERY
def test_a_device_that_is_given_is_taken(kind):
    torch.manual_seed(5)
    expected = MODULES[kind]()
    torch.manual_seed(5)
    with torch.device("meta"):
        module = MODULES[kind](device="cpu")
    for name, each in module.state_dict().items():
        assert torch.equal(each, expected.state_dict()[name]), name


@EVERY
def test_no_data_is_no_result(kind):
    for module, x in (
        (MODULES[kind](device="meta"), X),
        (MODULES[kind](), X.to("meta")),
    ):
        with pytest.raises((ValueError, RuntimeError), match=MIXED):
            module(x)
    half = MODULES[kind]()
    name, values = next(iter(half.named_parameters()))
    owner, _, name = name.rpartition(".")
    setattr(half.get_submodule(owner), name, nn.Parameter(values.to("meta")))
    with pytest.raises((ValueError, RuntimeError), match=MIXED):
        half(X)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_refuse_tensors_of_different_devices(name):
    schema = getattr(native, name).default._schema

    def arguments(devices):
        for argument in schema.arguments:
            kind = str(argument.type)
            if kind in ("Tensor", "Optional[Tensor]") and argument.name != "batch_sizes":
                yield torch.zeros(1, device=next(devices))
            elif kind == "List[Tensor]":
                yield [torch.zeros(1, device=next(devices)) for _ in range(5)]
            else:
                yield None if kind.startswith("Optional") else _any_of(kind)

    tensors = sum("Tensor" in str(a.type) and a.name != "batch_sizes" for a in schema.arguments)
    if tensors < 2:
        return
    for first, others in (("cpu", "meta"), ("meta", "cpu")):
        devices = iter([first] + [others] * 40)
        with pytest.raises(ValueError, match=f"all tensors of sparse_engine.{name} on one device"):
            getattr(native, name)(*arguments(devices))


def _any_of(kind):
    return {"int": 1, "float": 1.0, "bool": True, "List[float]": [0.0]}[kind]


@EVERY
@pytest.mark.parametrize("make", [{}, {"device": "meta"}])
def test_assigned_state_is_taken_as_it_is(kind, make):
    module, saved = MODULES[kind](**make), MODULES[kind](dtype=torch.float64)
    first = next(iter(module.parameters())).requires_grad_(False)
    names = [name for name, each in module.named_parameters() if each is first]
    module.load_state_dict(saved.state_dict(), assign=True)
    assert devices_of(module) == {"cpu"}
    assert {each.dtype for each in module.parameters()} == {torch.float64}
    assert [n for n, each in module.named_parameters() if not each.requires_grad] == names
    for name, each in module.state_dict().items():
        assert each.data_ptr() == saved.state_dict()[name].data_ptr(), name
    for weight in (each for each in module.modules() if isinstance(each, SparseWeight)):
        assert_valid(weight)
    for y, other in zip(outputs_of(module, X.double()), outputs_of(saved, X.double()), strict=True):
        assert torch.equal(y, other)


@EVERY
def test_memory_for_a_state_dict(kind):
    saved = MODULES[kind]()
    module = MODULES[kind](device="meta").to_empty(device="cpu")
    if any(isinstance(each, SparseWeight) for each in module.modules()):
        with pytest.raises((ValueError, IndexError), match=r"expected crow_indices|range in self"):
            module(X)
    module.load_state_dict(saved.state_dict())
    for y, other in zip(outputs_of(module, X), outputs_of(saved, X), strict=True):
        assert torch.equal(y, other)


def test_loading_into_nothing_is_said():
    layer = SparseLinear(6, 21, density=0.3, device="meta", bias=False)
    with pytest.warns(UserWarning, match=r"into weight on the meta device does nothing.*assign"):
        layer.load_state_dict(SparseLinear(6, 21, density=0.3, bias=False).state_dict())
    assert devices_of(layer) == {"meta"}


def test_lengths_do_not_depend_on_the_default_device():
    network, lengths = SparseRNN(6, 21, 2, density=0.3, bidirectional=True), [7, 2, 5]
    expected = network(X, lengths=lengths)
    with torch.device("meta"):
        for each in (lengths, torch.tensor(lengths, device="cpu")):
            assert all(map(torch.equal, network(X, lengths=each), expected))
