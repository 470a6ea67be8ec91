"""Sparse weights stay in floating point where torch quantizes a model, and say so."""

import pytest
import torch
from torch import nn
from torch.ao.quantization import default_dynamic_qconfig, quantize_dynamic
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear, SparseLSTM, SparseRNN


class Model(nn.Module):
    def __init__(self, cell=SparseRNN):
        super().__init__()
        self.cell, self.readout = cell(6, 21, density=0.3), nn.Linear(21, 2)

    def forward(self, x):
        return self.readout(self.cell(x)[0])


pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
]
NOTE = "sparse weights stay in floating point"


@pytest.mark.parametrize("cell", [SparseRNN, SparseLSTM])
@pytest.mark.parametrize(
    "what",
    [None, {nn.Linear}, {SparseRNN, SparseLSTM, nn.Linear}, {"cell": default_dynamic_qconfig}],
)
def test_it_is_said(what, cell):
    model, x = Model(cell).eval(), torch.randn(5, 3, 6)
    with pytest.warns(UserWarning, match=NOTE):
        quantized = quantize_dynamic(model, what, dtype=torch.qint8)
    assert torch.equal(quantized.cell(x)[0], model.cell(x)[0])
    assert type(quantized.cell) is cell


def test_what_torch_can_quantize_is_a_dense_network():
    model, x = nn.Sequential(SparseLinear(6, 21, density=0.3).to_dense()), torch.randn(3, 6)
    quantized = quantize_dynamic(model)
    assert type(quantized[0]) is not nn.Linear
    assert_close(quantized(x), model(x), rtol=0.1, atol=0.1)
