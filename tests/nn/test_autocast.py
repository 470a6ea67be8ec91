"""Recurrent networks under autocast: inputs may be in bfloat16, states stay in float32."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine import nn as sparse

CELLS = {
    "rnn": sparse.SparseRNN,
    "lstm": sparse.SparseLSTM,
    "gru": sparse.SparseGRU,
    "rhn": lambda *sizes, **options: sparse.SparseRHN(*sizes, recurrence_depth=2, **options),
    "on-lstm": lambda *sizes, **options: sparse.SparseONLSTM(*sizes, chunk_size=3, **options),
    "ctrnn": sparse.SparseCTRNN,
    "neural ode": sparse.SparseNeuralODE,
    "ltc": sparse.SparseLTC,
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("input_density", [1.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_stay_in_float32(cell, input_density, dtype):
    network = CELLS[cell](140, 21, 2, density=0.3, input_density=input_density)
    x = torch.randn(7, 3, 140).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x.to(dtype))[0]
    assert y.dtype == torch.float32
    expected = network(x.float())[0]
    # Sums of rounded products: a few roundings of bfloat16.
    assert_close(y, expected, rtol=0, atol=2**-5)
    target = torch.randn_like(y)
    parameters = [*network.parameters()]
    own, other = (torch.autograd.grad((each * target).sum(), parameters) for each in (y, expected))
    for one, two in zip(own, other, strict=True):
        assert one.dtype == torch.float32
        assert (one - two).norm() < 2**-4 * two.norm()


def test_between_layers_that_autocast_knows():
    model = nn.ModuleList(
        [nn.Linear(5, 8), sparse.SparseLSTM(8, 12, density=0.4), nn.Linear(12, 2)]
    )
    with torch.autocast("cpu", torch.bfloat16):
        y = model[2](model[1](model[0](torch.randn(6, 3, 5)))[0])
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_without_autocast_bfloat16_is_refused():
    network = sparse.SparseGRU(5, 8, density=0.4)
    with pytest.raises(ValueError, match="input of dtype float32, found bfloat16"):
        network(torch.randn(6, 3, 5).to(torch.bfloat16))
