"""Selfish-RNN: one threshold for all gates, equal growth in each."""

import pytest
import torch
from torch import nn

from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRHN, SparseRNN
from sparse_engine.topology import Selfish

NETWORKS = {
    "LSTM": (lambda: SparseLSTM(9, 12, density=0.3, input_density=0.3), 4),
    "GRU": (lambda: SparseGRU(9, 12, density=0.3, input_density=0.3), 3),
    "RHN": (lambda: SparseRHN(9, 12, recurrence_depth=2, density=0.3, input_density=0.3), 2),
    "RNN": (lambda: SparseRNN(9, 12, density=0.3, input_density=0.3), 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_weight_of_a_language_model_has_the_gates_of_its_network(name):
    make, gates = NETWORKS[name]
    decoder = SparseLinear(12, 400, density=0.3)
    model = nn.Sequential(make(), decoder)
    rewiring = Selfish(model, None, steps=1000, fraction=0.5, every=1)
    grown = {}
    rewiring.observers.append(lambda name, weight, rewired: grown.update({weight: rewired.born}))
    rewiring.step()
    for weight, born in grown.items():
        rows, expected = weight.rows()[born.long()], 1 if weight is decoder.weight else gates
        per_gate = torch.bincount(rows // (weight.shape[0] // expected), minlength=expected)
        assert int(per_gate.max() - per_gate.min()) <= 1
    # Growth in four blocks of a hundred words would be as equal there.
    words = torch.bincount(decoder.weight.rows()[grown[decoder.weight].long()] // 100, minlength=4)
    assert int(words.max() - words.min()) > 1
