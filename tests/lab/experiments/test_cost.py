"""Cost of networks: bytes, connections and synaptic operations, counted by brute force."""

import pytest
import torch
from testing import refusals
from torch import nn

from sparse_engine.lab.experiments.neurobench import (
    connection_sparsity,
    footprint,
    synaptic_operations,
)
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseLTC, SparseMGU, SparseRNN

CELLS = [SparseRNN, SparseLSTM, SparseGRU, SparseMGU]


class Model(nn.Module):
    def __init__(self, cell, **options):
        super().__init__()
        torch.manual_seed(0)
        self.recurrent = cell(5, 8, density=0.3, **options)
        self.activation = nn.ReLU()
        self.readout = nn.Linear(8, 2)

    def forward(self, x):
        return self.readout(self.activation(self.recurrent(x)[0]))


def test_footprint_is_what_a_file_holds():
    linear = SparseLinear(6, 4, density=0.5)  # 12 links
    assert footprint(linear) == 4 * 12 + 4 * 12 + 8 * 5 + 4 * 4
    tied = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    tied[1].weight = tied[0].weight
    assert footprint(tied) == 4 * (9 + 3 + 3)


def test_connection_sparsity_counts_positions():
    model = nn.Sequential(SparseLinear(10, 10, density=0.2), nn.Linear(10, 10))
    assert connection_sparsity(model) == pytest.approx(1 - 120 / 200)
    with torch.no_grad():
        model[0].weight.values[0] = 0  # a link of value 0 connects nothing
        model[1].weight[0] = 0
    assert connection_sparsity(model) == pytest.approx(1 - 109 / 200)
    assert connection_sparsity(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4))) == 0


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("input_density", [0.4, 1.0])
def test_operations_are_products_of_what_is_not_zero(cell, input_density):
    model = Model(cell, input_density=input_density)
    x = torch.randn(7, 3, 5) * (torch.rand(7, 3, 5) < 0.5)
    with torch.no_grad():
        h = model.recurrent(x)[0]
        before = torch.cat([torch.zeros(1, 3, 8), h[:-1]])
    weights = model.recurrent.weight_ih_l0, model.recurrent.weight_hh_l0, model.readout.weight
    dense = [w if isinstance(w, torch.Tensor) else w.to_dense() for w in weights]
    inputs = x, before, h.relu()
    effective = sum(
        int(((w != 0) & (row != 0)).sum())
        for w, each in zip(dense, inputs, strict=True)
        for row in each.reshape(21, 1, -1)
    )
    found = synaptic_operations(model, x)
    assert found.effective == pytest.approx(effective / 21)
    assert found.dense == sum(w.numel() for w in dense)
    assert not model.readout._forward_hooks


def test_a_first_state_is_counted():
    rnn = SparseRNN(5, 8, density=0.3)
    x, h0 = torch.randn(1, 3, 5), torch.ones(1, 3, 8)
    without, with_state = synaptic_operations(rnn, x), synaptic_operations(rnn, x, h0)
    assert with_state.effective - without.effective == rnn.weight_hh_l0.nnz


def counted(network):
    return lambda: synaptic_operations(network, torch.randn(2, 3, 5))


ONE_LAYER = "expected a network of one layer and direction among"
test_what_cannot_be_counted_is_refused = refusals(
    (ONE_LAYER, counted(SparseLTC(5, 8, density=0.3))),
    (ONE_LAYER, counted(SparseRNN(5, 8, 2, density=0.3))),
    (ONE_LAYER, counted(nn.LSTM(5, 8))),
    ("a model with weights, found ReLU", lambda: connection_sparsity(nn.ReLU())),
)
