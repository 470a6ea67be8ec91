"""Weights know which of their rows are which gate's, from the network that holds them."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sparse_engine.nn import CELLS, GroupedWeight, SparseLinear, SparseLSTM, SparseWeight

#: Cell, options, and the blocks that its weights have.
NETWORKS = [
    ("rnn", {}, (6,)),
    ("lstm", {"proj_size": 3}, (6,) * 4),
    ("gru", {"bidirectional": True}, (6,) * 3),
    ("mgu", {}, (6,) * 2),
    ("rhn", {"recurrence_depth": 2}, (6,) * 2),
    ("rhn", {"recurrence_depth": 2, "coupled": False}, (6,) * 3),
    ("on_lstm", {"chunk_size": 3}, (2, 2, 6, 6, 6, 6)),
    *((cell, {}, (6,)) for cell in ("ctrnn", "rate_rnn", "neural_ode", "ltc")),
]
WAYS = {
    "made": lambda network: network,
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("cell", "options", "blocks"), NETWORKS)
def test_the_weights_of_every_network(cell, options, blocks, way):
    network = WAYS[way](CELLS[cell](4, 6, 2, density=0.5, input_density=0.5, **options))
    found = {n: m for n, m in network.named_modules() if isinstance(m, SparseWeight)}
    assert len(found) >= 4
    for own, weight in found.items():
        assert weight.blocks == ((3,) if own.startswith("weight_hr") else blocks), own
        assert not any("blocks" in key for key in weight.state_dict())


def test_other_weights():
    assert SparseLinear(4, 8, density=0.5).weight.blocks == (8,)
    lstm = SparseLSTM.from_dense(nn.LSTM(4, 6))
    assert lstm.weight_hh_l0.blocks == (6,) * 4
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
