"""Selfish-RNN: one threshold for all gates, equal growth in each."""

import numpy as np
import torch

from sparse_engine.nn import SparseLinear
from sparse_engine.topology import Selfish


def test_each_gate_gets_back_the_same_number():
    model = SparseLinear(20, 32, density=0.3)
    weight = model.weight
    with torch.no_grad():
        weight.values[weight.rows() < 8] *= 0.01
    per_gate = torch.bincount(weight.rows() // 8, minlength=4).numpy()
    order = weight.values.detach().abs().argsort(stable=True)
    rule = Selfish(model, None, steps=1000, fraction=0.25, every=1)
    gone = order[: int(rule.fraction.at(1) * weight.nnz)]
    lost = torch.bincount(weight.rows()[gone] // 8, minlength=4).numpy()
    quotient, rest = divmod(len(gone), 4)
    rule.step()
    gained = quotient + (np.arange(4) < rest)
    after = torch.bincount(weight.rows() // 8, minlength=4).numpy()
    assert np.array_equal(after, per_gate - lost + gained)
    assert lost[0] > 2 * lost[1:].max()


def test_weights_of_different_numbers_of_gates():
    # 10 rows make no 4 gates; only the weights that are named have several.
    model = torch.nn.Sequential(
        SparseLinear(20, 32, density=0.3), SparseLinear(32, 10, density=0.3)
    )
    weight = model[0].weight
    rule = Selfish(model, None, steps=1000, fraction=1.0, gates={"0.weight": 4}, every=1)
    fraction = rule.fraction.at(1)
    rule.step()
    born = weight.values.detach() == 0
    per_gate = torch.bincount(weight.rows()[born] // 8, minlength=4)
    assert int(per_gate.sum()) == int(fraction * weight.nnz)
    assert int(per_gate.max() - per_gate.min()) <= 1
    assert model[1].weight.topology_version == 1
