"""Networks that torch.nn.utils.prune has masked become sparse with exactly those links."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close

from sparse_engine.nn import CELLS, SparseLinear, SparseRNN

NETWORKS = {
    entry.cell.dense_type: entry.network for entry in CELLS.values() if entry.cell.dense_type
}


@pytest.mark.parametrize("dense_type", NETWORKS)
def test_recurrent_network(dense_type):
    dense = dense_type(6, 21, num_layers=2, dtype=torch.float64)
    for name, _ in [*dense.named_parameters()]:
        if name.startswith("weight"):
            prune.random_unstructured(dense, name, amount=0.7)
    with torch.no_grad():
        dense.weight_hh_l1_orig[dense.weight_hh_l1_mask.bool()] = 0.0
    x = torch.randn(5, 3, 6, dtype=torch.float64)
    expected = dense(x)[0]
    network = NETWORKS[dense_type].from_dense(dense)
    for name in ("weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"):
        weight, mask = getattr(network, name), getattr(dense, f"{name}_mask")
        assert torch.equal(weight.pattern.dense(torch.ones_like(weight.values)), mask)
    assert_close(network(x)[0], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dense_type", NETWORKS)
def test_density_chooses_among_what_is_left(dense_type):
    dense = dense_type(6, 21)
    prune.l1_unstructured(dense, "weight_hh_l0", amount=0.5)
    network = NETWORKS[dense_type].from_dense(dense, density=0.2)
    kept = network.weight_hh_l0.to_dense() != 0
    assert kept.sum() == network.weight_hh_l0.nnz == round(0.2 * kept.numel())
    assert dense.weight_hh_l0_mask.bool()[kept].all()
    assert isinstance(network.weight_ih_l0, nn.Parameter)


def test_linear_layer():
    dense = nn.Linear(20, 30)
    prune.random_unstructured(dense, "weight", amount=0.9)
    prune.random_unstructured(dense, "bias", amount=0.5)
    layer = SparseLinear.from_dense(dense)
    assert layer.weight.nnz == 60
    x = torch.randn(4, 20)
    assert_close(layer(x), dense(x))


def test_a_parametrization_is_applied():
    dense = nn.RNN(6, 21)
    nn.utils.parametrizations.spectral_norm(dense, "weight_hh_l0")
    dense.eval()
    network = SparseRNN.from_dense(dense)
    x = torch.randn(5, 3, 6)
    assert_close(network(x)[0], dense(x)[0])
