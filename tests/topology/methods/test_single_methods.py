"""What one method does and no other: equal gates, links that go for good, neurons that do."""

import copy

import pytest
import torch
from torch import nn

from sparse_engine import topology
from sparse_engine.models import SparseMLP
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRHN, SparseRNN

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
    rewiring = topology.Selfish(model, None, steps=1000, fraction=0.5, every=1)
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


def trained(output_density=0.3, **options):
    generator = torch.Generator().manual_seed(0)
    densities = [0.3, 0.3, output_density]
    model = SparseMLP([30, 20, 16, 10], density=densities, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(8, 30, generator=generator)).square().mean().backward()
    optimizer.step()
    return model, optimizer, topology.ImportanceSET(model, optimizer, **options)


def weights_of(model):
    return [layer.weight for layer in model.linear]


def lost(dense, share):
    """Return the rows that are to lose their links, the least sums first."""
    sums, linked = dense.abs().sum(1), (dense != 0).any(1)
    order = [i for i in sums.argsort().tolist() if linked[i]]
    return order[: int(share * len(order))]


@pytest.mark.parametrize("output_density", [0.3, 1.0])
def test_hidden_units_lose_their_links_and_outputs_keep_theirs(output_density):
    model, optimizer, method = trained(output_density, share=0.25)
    hidden = weights_of(model)[:2]
    before = [weight.to_dense().detach() for weight in hidden]
    momentum = [optimizer.state[weight.values]["momentum_buffer"].clone() for weight in hidden]
    rows = [weight.rows() for weight in hidden]
    output = copy.deepcopy(model.linear[-1].state_dict())
    seen = []
    method.observers.append(lambda name, weight, rewired: seen.append((name, len(rewired.born))))
    method.remove_neurons()
    for weight, dense, moments, row in zip(hidden, before, momentum, rows, strict=True):
        gone = lost(dense, 0.25)
        assert len(gone) == len(dense) // 4
        dense[gone] = 0
        assert torch.equal(weight.to_dense(), dense)
        kept = ~torch.isin(row, torch.tensor(gone))
        assert torch.equal(optimizer.state[weight.values]["momentum_buffer"], moments[kept])
    now = model.linear[-1].state_dict()
    assert all(torch.equal(entry, now[name]) for name, entry in output.items())
    assert seen == [("layers.linear0.weight", 0), ("layers.linear1.weight", 0)]


def test_prunes_at_its_times_and_is_set_otherwise():
    model, _, method = trained(every=2, prune_every=3, prune_after=2, share=0.2)
    counts = [sum(weight.nnz for weight in weights_of(model))]
    for _ in range(20):
        method.step()
        counts.append(sum(weight.nnz for weight in weights_of(model)))
    # Rewirings 5 and 8, which are at steps 10 and 16, are 3 and 6 after the second.
    changes = [i for i in range(1, 21) if counts[i] != counts[i - 1]]
    assert changes == [10, 16]
    assert counts[0] > counts[10] > counts[16]


def test_equals_set_before_the_first_pruning():
    one, *_, method = trained(every=2, seed=5)
    other, optimizer, _ = trained()
    rewiring = topology.SET(other, optimizer, every=2, seed=5)
    for _ in range(6):
        method.step()
        rewiring.step()
    hashes = [[topology.topology_hash(weight) for weight in weights_of(m)] for m in (one, other)]
    assert hashes[0] == hashes[1]
