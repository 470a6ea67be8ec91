"""PyTorch's own tests of RNN, LSTM and GRU, run on sparse networks in which every link exists.

The inputs, the references and the mistakes are those of torch.testing's database of modules.
"""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.testing import assert_close
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_leaves

from sparse_engine.nn import CELLS

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")

DENSE = {entry.dense: name for name, entry in CELLS.items() if entry.dense}
MODULES = {info.module_cls.__name__: info for info in module_db if info.module_cls in DENSE}


def sparse(dense):
    """Return the sparse network that has all links of a dense one, and its values."""
    network = CELLS[DENSE[type(dense)]].network.from_dense(dense, density=1.0)
    assert network.weight_hh_l0.density == 1
    return network


def samples():
    """Yield each input of each module, in both dtypes, by name."""
    for name, info in MODULES.items():
        for dtype in (torch.float32, torch.float64):
            torch.manual_seed(0)
            inputs = info.module_inputs_func(
                info, "cpu", dtype, requires_grad=True, training=True, with_packed_sequence=True
            )
            for i, sample in enumerate(inputs):
                short = str(dtype).removeprefix("torch.")
                yield pytest.param(name, dtype, sample, id=f"{name}, {short}, sample {i}")


def made(name, dtype, sample):
    """Return torch's module and the sparse network of the same function."""
    torch.manual_seed(1)
    constructor = sample.constructor_input
    dense = MODULES[name].module_cls(*constructor.args, **constructor.kwargs, dtype=dtype)
    return dense, sparse(dense)


def numbers(results):
    """Return all tensors in results, the data of packed sequences among them."""
    return [
        each.data if isinstance(each, PackedSequence) else each
        for each in tree_leaves(results, is_leaf=lambda each: isinstance(each, PackedSequence))
    ]


@pytest.mark.parametrize(("name", "dtype", "sample"), [*samples()])
def test_forward_and_backward(name, dtype, sample):
    dense, network = made(name, dtype, sample)
    given = sample.forward_input  # of numbers up to 9
    close = dict.fromkeys(("rtol", "atol"), 1e-4 if dtype == torch.float32 else 1e-10)
    leaves = [leaf for leaf in tree_leaves([*given.args]) if is_leaf(leaf)]
    grads = []
    for module in (network, dense):
        results = numbers(module(*given.args, **given.kwargs))
        parameters = [entries(module, key) for key, _ in dense.named_parameters()]
        upstream = [torch.ones_like(each) for each in results]
        found = torch.autograd.grad(results, leaves + parameters, upstream)
        grads.append([*results, *(each.flatten() for each in found)])
    for own, other in zip(*grads, strict=True):
        assert_close(own, other, **close)
    if sample.reference_fn is not None and not isinstance(given.args[0], PackedSequence):
        wanted = sample.reference_fn(network, *given.args, **given.kwargs)
        assert_close(numbers(network(*given.args)), numbers(wanted), **close)


def is_leaf(value):
    return isinstance(value, torch.Tensor) and value.requires_grad


def entries(module, name):
    """Return a parameter: of a sparse weight its values, of which there are as many as entries."""
    own = getattr(module, name)
    return own if isinstance(own, nn.Parameter) else own.values


@pytest.mark.parametrize("name", MODULES)
def test_repr_pickle_and_copies(name):
    sample = next(s.values[2] for s in samples() if s.values[0] == name)
    _, network = made(name, torch.float32, sample)
    x = torch.randn(4, 3, 2)
    assert repr(network).startswith(f"Sparse{name}(")
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert_close(other(x), network(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", MODULES)
def test_factory_arguments(name):
    """``device=`` and ``dtype=`` reach every parameter; what ``to`` moves is all of them."""
    kind = CELLS[DENSE[MODULES[name].module_cls]]
    for device in ("cpu", "meta"):
        for dtype in (torch.float32, torch.float64):
            network = kind(2, 3, 2, density=1.0, device=device, dtype=dtype)
            for each in network.parameters():
                assert (each.device.type, each.dtype) == (device, dtype)
    assert {p.dtype for p in kind(2, 3, density=1.0).to(torch.float64).parameters()} == {
        torch.float64
    }


def mistakes():
    """Yield what torch finds wrong, of these modules and of the cells of one step."""
    for info in module_db:
        name = info.module_cls.__name__.removesuffix("Cell")
        if name in MODULES:
            wrong = info.module_error_inputs_func(
                info, "cpu", torch.float32, requires_grad=False, training=True
            )
            for i, each in enumerate(wrong):
                step = info.module_cls not in DENSE
                yield pytest.param(name, step, each, id=f"{info.module_cls.__name__}, mistake {i}")


@pytest.mark.parametrize(("name", "step", "wrong"), [*mistakes()])
def test_mistakes_are_found_as_torch_finds_them(name, step, wrong):
    kind, given = CELLS[DENSE[MODULES[name].module_cls]], wrong.module_error_input
    constructor, forward = given.constructor_input, given.forward_input
    with pytest.raises(wrong.error_type, match=r"expected .* found"):
        if step:  # what a cell takes beside its sizes makes no difference to its mistakes
            x, *states = tree_leaves([*forward.args])
            hx = [state[None] for state in states]
            kind(*constructor.args[:2], density=1.0).step(x, hx if len(hx) > 1 else hx[0])
        else:
            network = kind(*constructor.args, **constructor.kwargs, density=1.0)
            network(*forward.args, **forward.kwargs)


def differentiated_twice(network, x):
    y, _ = network(x.requires_grad_())
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    first.sum().backward()


#: What torch's tests ask of these modules and a sparse network refuses by design.
REFUSED = {
    # A sequence is one operation, which can be differentiated once.
    "second derivative": (differentiated_twice, RuntimeError, "differentiated once"),
    # There are kernels for float32 and float64, and under autocast for bfloat16.
    "float16": (
        lambda network, x: network.half()(x.half()),
        ValueError,
        r"expected values of dtype .* found float16",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("name", MODULES)
def test_what_is_refused_by_design(name, what):
    run, error, message = REFUSED[what]
    with pytest.raises(error, match=message):
        run(sparse(MODULES[name].module_cls(2, 3)), torch.randn(4, 3, 2))
