"""Properties that only a real GPU can show."""

import copy
from contextlib import contextmanager

import pytest
import torch
from testing import CELLS as EVERY_CELL
from testing import random_pattern
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.nn import SparseGRU, SparseLSTM, SparseRNN, SparseWeight
from sparse_engine.topology import (
    RandomGrowth,
    Rewiring,
    SignedMagnitude,
)

CELLS = pytest.mark.parametrize("cell", [SparseRNN, SparseLSTM, SparseGRU])
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@contextmanager
def refusing_to_wait():
    """Let everything that makes the host wait raise an error."""
    try:
        torch.cuda.set_sync_debug_mode("error")  # warns that it is a prototype
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def on_device(pattern):
    return type(pattern)(*(index.cuda() for index in pattern))


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_training_steps_on_device_repeat_without_synchronising(cell):
    layer = EVERY_CELL[cell](5, 280, density=0.1).cuda()
    x = torch.randn(6, 32, 5, device="cuda")

    def gradients() -> list[Tensor]:
        layer.zero_grad()
        layer(x)[0].square().sum().backward()
        return [p.grad.clone() for p in layer.parameters()]

    first = gradients()
    with refusing_to_wait():
        again = gradients()
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_derivatives_on_device():
    pattern = on_device(random_pattern(7, 7, 20))
    values, x = (
        torch.randn(n, dtype=torch.float64, device="cuda", requires_grad=True)
        for n in ((20,), (7, 3))
    )
    torch.autograd.gradcheck(lambda v, x: ops.spmm(v, pattern, x), (values, x))
    torch.autograd.gradcheck(lambda x: ops.sddmm(pattern, x, x), x)
    z = torch.randn(3, 2, 7, dtype=torch.float64, device="cuda", requires_grad=True)
    torch.autograd.gradcheck(lambda z, v: ops.rnn(z, None, None, v, pattern), (z, values))


@CELLS
def test_a_user_may_capture_a_graph_on_device(cell):
    layer = cell(5, 300, density=0.1).cuda()
    x = torch.randn(6, 32, 5, device="cuda")
    with torch.no_grad():
        wanted = layer(x)[0]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = layer(x)[0]
        graph.replay()
    assert torch.equal(found, wanted)


def test_a_captured_graph_multiplies_links_that_are_rewired_on_device():
    """Rows that have become long are cut into pieces."""
    short, rows = random_pattern(90, 3000, 900), torch.arange(900) // 300
    weight = SparseWeight(torch.randn(900), short).cuda()
    x, graph = torch.randn(3000, 8, device="cuda"), torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        y = ops.spmm(weight.values, weight.pattern, x)
    columns = torch.arange(900) % 300
    long = SparseWeight.from_coo(rows, columns, torch.randn(900), (90, 3000)).cuda()
    weight.set_pattern(long.pattern, long.values.detach())
    graph.replay()
    assert_close(y, long.to_dense() @ x)


@CELLS
def test_a_compiled_network_on_device(cell):
    layer = cell(5, 300, density=0.1).cuda()
    x = torch.randn(6, 32, 5, device="cuda")
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x)[0], layer(x)[0])


@CELLS
def test_packed_sequences_on_device(cell):
    layer = cell(5, 40, density=0.1).cuda()
    sequences = [torch.randn(n, 5, device="cuda") for n in (7, 7, 3, 1)]
    found, _ = layer(pack_sequence(sequences))
    alone = [layer(x)[0] for x in sequences]
    assert_close(found.data, pack_sequence(alone).data)


@CELLS
def test_both_kinds_of_products_on_device(cell, monkeypatch):
    """With more shared memory than a launch has without asking for it."""
    layer = cell(5, 6000, density=0.01).cuda()
    x = torch.randn(3, 32, 5, device="cuda")
    found = []
    for staged in "01":
        monkeypatch.setenv("SPARSE_ENGINE_STAGED", staged)
        layer.zero_grad()
        y = layer(x)[0]
        y.square().sum().backward()
        found.append([y, *(parameter.grad for parameter in layer.parameters())])
    for one, other in zip(*found, strict=True):
        assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


def test_autocast_on_device():
    layer = SparseRNN(5, 300, density=0.1).cuda()
    x = torch.randn(6, 32, 5, device="cuda")
    wanted = layer(x)[0]
    with torch.autocast("cuda", torch.bfloat16):
        y = layer(x)[0]
    y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert (y - wanted).norm() < 2**-6 * wanted.norm()
    assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())


@pytest.mark.parametrize("cell", [SparseLSTM, SparseGRU])
def test_gates_are_computed_in_float32_on_device(cell):
    layer = cell(5, 300, density=0.1).cuda()
    x = torch.randn(6, 32, 5, device="cuda")
    wanted = layer(x)[0]
    with torch.autocast("cuda", torch.bfloat16):
        assert torch.equal(layer(x)[0], wanted)


def test_fifty_rewirings_on_device_give_the_topology_of_the_cpu():
    layers = [SparseRNN(5, 90, density=0.1, generator=torch.Generator().manual_seed(1))]
    layers.append(copy.deepcopy(layers[0]).cuda())
    rules = [
        Rewiring(
            layer,
            torch.optim.Adam(layer.parameters()),
            prune=SignedMagnitude(),
            grow=RandomGrowth(),
            every=1,
        )
        for layer in layers
    ]
    for step in range(50):
        for layer, rule in zip(layers, rules, strict=True):
            # The same numbers on both, which training only gives up to rounding.
            values = layer.weight_hh_l0.values
            values.data = torch.sin(torch.arange(values.numel()) * 0.7 + step).to(values)
            rule.step()
    one, other = (layer.weight_hh_l0 for layer in layers)
    assert torch.equal(one.crow_indices, other.crow_indices.cpu())
    assert torch.equal(one.col_indices, other.col_indices.cpu())


def test_arguments_on_two_devices_are_an_error_on_device():
    pattern = on_device(random_pattern(7, 7, 20))
    with pytest.raises(ValueError, match="expected x on a CUDA device"):
        ops.spmm(torch.randn(20, device="cuda"), pattern, torch.randn(7, 3))
