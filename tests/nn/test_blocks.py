"""Weights know which of their rows are which gate's, from the network that holds them."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sparse_engine.nn import (
    GroupedWeight,
    SparseCTRNN,
    SparseGRU,
    SparseLinear,
    SparseLSTM,
    SparseNeuralODE,
    SparseONLSTM,
    SparseRHN,
    SparseRNN,
    SparseWeight,
)

SIZES = {"input_size": 4, "hidden_size": 6, "num_layers": 2}
SPARSE = {"density": 0.5, "input_density": 0.5}

# Networks, and what blocks their weights have.
NETWORKS = {
    "rnn": (lambda: SparseRNN(**SIZES, **SPARSE), {"": (6,)}),
    "lstm": (lambda: SparseLSTM(**SIZES, **SPARSE), {"": (6,) * 4}),
    "projected lstm": (
        lambda: SparseLSTM(**SIZES, **SPARSE, proj_size=3),
        {"": (6,) * 4, "weight_hr": (3,)},
    ),
    "lstm from dense": (lambda: SparseLSTM.from_dense(nn.LSTM(4, 6)), {"": (6,) * 4}),
    "gru": (lambda: SparseGRU(**SIZES, **SPARSE, bidirectional=True), {"": (6,) * 3}),
    "rhn": (lambda: SparseRHN(**SIZES, **SPARSE, recurrence_depth=2), {"": (6,) * 2}),
    "rhn, carry gates": (
        lambda: SparseRHN(**SIZES, **SPARSE, recurrence_depth=2, coupled=False),
        {"": (6,) * 3},
    ),
    "on-lstm": (
        lambda: SparseONLSTM(**SIZES, **SPARSE, chunk_size=3),
        {"": (2, 2, 6, 6, 6, 6)},
    ),
    "ct-rnn": (lambda: SparseCTRNN(**SIZES, **SPARSE), {"": (6,)}),
    "neural ode": (lambda: SparseNeuralODE(**SIZES, **SPARSE), {"": (6,)}),
    "linear": (lambda: SparseLinear(4, 8, density=0.5), {"": (8,)}),
}
WAYS = {
    "made": lambda network: network,
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_weights_of_every_network(name, way):
    make, blocks = NETWORKS[name]
    network = WAYS[way](make())
    found = {n: m for n, m in network.named_modules() if isinstance(m, SparseWeight)}
    assert found
    for own, weight in found.items():
        assert weight.blocks == blocks.get(own.partition("_l")[0], blocks[""]), own
        assert not any("blocks" in key for key in weight.state_dict())


def test_a_weight_that_takes_the_place_of_another():
    lstm = SparseLSTM(4, 6, density=0.5)
    old = lstm.weight_hh_l0
    lstm.weight_hh_l0 = GroupedWeight(old.values, old.pattern)
    assert lstm.weight_hh_l0.blocks == (6,) * 4


def test_blocks_of_ones_own():
    weight = SparseWeight.from_dense(torch.ones(5, 2))
    assert weight.blocks == (5,)
    weight.blocks = [2, 0, 3]
    assert weight.blocks == (2, 0, 3)
    for wrong in ([2, 2], [6, -1], [], 5 * [2]):
        with pytest.raises(ValueError, match=r"blocks that make the 5 rows .*, found \("):
            weight.blocks = wrong
    assert weight.blocks == (2, 0, 3)
