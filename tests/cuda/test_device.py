"""What only a real GPU can show."""

from functools import partial

import pytest
import torch
from torch import Tensor

from sparse_engine import ops
from sparse_engine.nn import (
    SparseCTRNN,
    SparseGRU,
    SparseLSTM,
    SparseLTC,
    SparseNeuralODE,
    SparseONLSTM,
    SparseRHN,
    SparseRNN,
)
from sparse_engine.testing import random_pattern

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def on_device(pattern):
    return type(pattern)(*(index.cuda() for index in pattern))


CELLS = [SparseRNN, SparseLSTM, SparseGRU, SparseCTRNN, SparseNeuralODE, SparseLTC]
CELLS += [partial(SparseRHN, recurrence_depth=2), partial(SparseONLSTM, chunk_size=10)]


@pytest.mark.parametrize("cell", CELLS)
def test_training_steps_on_device_repeat_without_synchronising(cell):
    layer = cell(5, 300, density=0.1).cuda()
    x = torch.randn(6, 32, 5, device="cuda")

    def gradients() -> list[Tensor]:
        layer.zero_grad()
        layer(x)[0].square().sum().backward()
        return [p.grad.clone() for p in layer.parameters()]

    first = gradients()
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = gradients()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_derivatives_on_device():
    pattern = on_device(random_pattern(7, 7, 20))
    values, x = (
        torch.randn(n, dtype=torch.float64, device="cuda", requires_grad=True)
        for n in ((20,), (7, 3))
    )
    torch.autograd.gradcheck(lambda v, x: ops.spmm(v, pattern, x), (values, x))
    z = torch.randn(3, 2, 7, dtype=torch.float64, device="cuda", requires_grad=True)
    torch.autograd.gradcheck(lambda z, v: ops.rnn(z, None, None, v, pattern), (z, values))


def test_a_user_may_capture_a_graph_on_device():
    layer = SparseRNN(5, 300, density=0.1).cuda()
    x = torch.randn(6, 32, 5, device="cuda")
    with torch.no_grad():
        wanted = layer(x)[0]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = layer(x)[0]
        graph.replay()
    assert torch.equal(found, wanted)


def test_arguments_on_two_devices_are_an_error_on_device():
    pattern = on_device(random_pattern(7, 7, 20))
    with pytest.raises(ValueError, match="expected x on a CUDA device"):
        ops.spmm(torch.randn(20, device="cuda"), pattern, torch.randn(7, 3))
