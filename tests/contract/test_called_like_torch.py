"""Modules are called as those of torch.nn are, and their errors are found by the same names."""

import copy
import inspect
from functools import partial

import pytest
import torch
from testing import CELLS
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close

from sparse_engine import nn as sparse
from sparse_engine.nn import SparseLinear

EVERY = pytest.mark.parametrize("kind", CELLS)
OTHERS = [
    (SparseLinear(6, 9, density=0.5), torch.randn(3, 6)),
    (sparse.SparseEmbedding(SparseLinear(6, 9, density=0.5).weight), torch.arange(9)),
    (sparse.EmbeddingDropout(nn.Embedding(9, 6)), torch.arange(9)),
    (sparse.LockedDropout(0.5), torch.randn(3, 4, 6)),
    (sparse.AllReLU(0.5, 1), torch.randn(3, 6)),
    (sparse.SReLU(6), torch.randn(3, 6)),
    (
        sparse.MixtureOfSoftmaxes(nn.Linear(6, 2), nn.Linear(6, 8), nn.Linear(4, 9)),
        torch.randn(3, 6),
    ),
]


def make(kind, **options):
    torch.manual_seed(1)
    return CELLS[kind](6, 21, 2, density=0.3, **options)


def leaves_of(network, batch=3, steps=4):
    x = torch.randn(steps, batch, 6)
    hx = tuple(torch.randn(2, batch, 21) for _ in network.states)
    return x, hx if len(hx) > 1 else hx[0]


@EVERY
def test_input_and_hx_by_name(kind):
    network = make(kind)
    for method in (network.forward, network.step):
        assert [*inspect.signature(method).parameters][:2] == ["input", "hx"]
    x, hx = leaves_of(network)
    expected = network(x, hx)
    parameters = dict(network.named_parameters())
    for y in (
        network(input=x, hx=hx),
        network(hx=hx, input=x),
        functional_call(network, parameters, (), {"input": x, "hx": hx}),
        functional_call(network, parameters, (x,), {"hx": hx}),
        sparse.DropConnect(network, 0.0, weights=["weight_ih_l1"])(input=x, hx=hx),
    ):
        assert_close(y, expected, rtol=0, atol=0)
    assert_close(network.step(input=x[0], hx=hx), network.step(x[0], hx), rtol=0, atol=0)
    assert_close(network(input=x, hx=None), network(x), rtol=0, atol=0)


@pytest.mark.parametrize(("module", "x"), OTHERS, ids=[type(each).__name__ for each, _ in OTHERS])
def test_input_by_name(module, x):
    torch.manual_seed(1)
    expected = module(x)
    torch.manual_seed(1)
    assert torch.equal(module(input=x), expected)


@EVERY
def test_no_tensors(kind):
    network = make(kind)
    x, hx = leaves_of(network)
    for wrong in ((x.tolist(), None), (x.numpy(), None), (x, "zeros"), (x, [hx])):
        with pytest.raises(TypeError, match=r"expected .* found"):
            network(*wrong)


def test_embedding():
    embedding = sparse.SparseEmbedding(SparseLinear(6, 9, density=0.5).weight)
    for words, names in (
        (torch.tensor([3, 9]), (IndexError, ValueError)),
        (torch.tensor([-1]), (IndexError, ValueError)),
        (torch.tensor([1.0]), (RuntimeError, ValueError)),
    ):
        for name in names:
            with pytest.raises(name, match=r"expected words .* found"):
                embedding(words)
        with pytest.raises(names[0]):
            nn.Embedding(9, 6)(words)


RESET = {
    **{kind: partial(make, kind, input_density=0.5) for kind in CELLS},
    "bidirectional": partial(make, "lstm", bidirectional=True, proj_size=7, gain=3.0),
    "dense inputs": partial(make, "gru", gain=0.2, dtype=torch.float64),
    "linear": lambda: SparseLinear(60, 90, density=0.5, gain=4.0),
    "embedding": lambda: sparse.SparseEmbedding(SparseLinear(60, 90, density=0.5).weight),
    "srelu": lambda: sparse.SReLU(500),
    "grouped": lambda: grouped(),
}


def grouped():
    weight = SparseLinear(6, 9, density=0.5).weight
    return sparse.GroupedWeight(weight.values, weight.pattern, torch.arange(weight.nnz) % 3)


@pytest.mark.parametrize("kind", RESET)
def test_parameters_are_drawn_again_for_the_same_links(kind):
    torch.manual_seed(0)
    module = RESET[kind]()
    first = copy.deepcopy(module)
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for each in parameters.values():
            each.add_(7)
    torch.manual_seed(5)
    assert module.reset_parameters() is None
    drawn = copy.deepcopy(module)
    torch.manual_seed(5)
    module.reset_parameters()
    for name, each in module.named_parameters():
        assert each is parameters[name]
        start, each = first.get_parameter(name).detach(), each.detach()
        assert torch.equal(each, drawn.get_parameter(name)), name
        if start.unique().numel() <= 2 or "log_tau" in name:  # not drawn, or but a sign
            assert torch.equal(each.abs(), start.abs()), name
            continue
        assert not torch.equal(each, start), name
        if each.numel() >= 60:
            assert 0.7 < float(each.std() / start.std()) < 1.4, name
            assert abs(float(each.mean() - start.mean())) < 0.6 * float(start.std()), name
    for name, each in module.named_buffers():
        assert torch.equal(each, first.get_buffer(name)), name


@EVERY
def test_parameters_are_flat_already(kind):
    network = make(kind)
    x, _ = leaves_of(network)
    expected = network(x)
    assert network.flatten_parameters() is None
    assert_close(network(x), expected, rtol=0, atol=0)
