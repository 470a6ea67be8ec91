"""Networks that train: with optimizers, rewiring, dropout and torch's utilities."""

from functools import partial

import pytest
import torch
from contract.networks import FORMS, assert_same, forms_where, make, outcome, weights_of
from testing import assert_valid, leaves_of
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import CELLS, SparseCTRNN, SparseRNN
from sparse_engine.topology import SET, RigL

EVERY = pytest.mark.parametrize("form", FORMS)
GROWING = forms_where(lambda entry: entry.cell.gradient_growth)


def loss(model, x):
    return model(x)[0].square().mean()


@pytest.mark.parametrize("form", CELLS)
def test_learns_while_it_is_rewired(form):
    method = partial(RigL, steps=60) if form in GROWING else SET
    dropped = {"recurrent_dropout": 0.1} if form.startswith("rhn") else {}
    network = make(form, torch.float32, **dropped)
    model = nn.ModuleList([network, nn.Linear(network.size_of("h0"), 2)])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    if hasattr(network, "clip_"):
        optimizer.register_step_post_hook(lambda *_: network.clip_())
    rewiring = method(model, optimizer, fraction=0.2, every=5)
    before = {name: each.nnz for name, each in weights_of(network).items()}
    x, target = torch.randn(8, 16, 6), torch.randn(16, 2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        error = (model[1](network(x)[0][-1]) - target).square().mean()
        error.backward()
        optimizer.step()
        rewiring.step()
        losses.append(error.item())
    assert losses[-1] < 0.5 * losses[0]
    for name, weight in weights_of(network).items():
        assert weight.nnz == before[name] and weight.topology_version > 5
        assert_valid(weight)


@EVERY
def test_torchs_checkpointing_gives_the_same_gradients(form):
    network = make(form)
    leaves = leaves_of(network, 5, 3)

    def call(*arguments):
        return torch.utils.checkpoint.checkpoint(network, *arguments, use_reentrant=False)

    assert_same(outcome(network, leaves, call=call), outcome(network, leaves))


def dropout_alone(fraction):
    """A network that shows the dropout between its layers, on ones."""
    dense = nn.RNN(1, 4000, 2, "relu", dropout=fraction)
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.zero_()
        dense.bias_ih_l0.fill_(1)
    network = SparseRNN.from_dense(dense, mask={"weight_ih_l1": torch.eye(4000) > 0})
    with torch.no_grad():
        network.weight_ih_l1.values.fill_(1)
    return network


@pytest.mark.parametrize("fraction", [0.25, 0.8])
def test_dropout_has_its_fraction_and_keeps_the_mean(fraction):
    network = dropout_alone(fraction)
    y, _ = network(torch.zeros(2, 5, 1))
    dropped = y == 0
    assert_close(y[~dropped], torch.full_like(y[~dropped], 1 / (1 - fraction)))
    # 40,000 units, of which some are dropped: five standard deviations.
    spread = (fraction * (1 - fraction) / y.numel()) ** 0.5
    assert abs(dropped.double().mean().item() - fraction) < 5 * spread
    assert not torch.equal(network(torch.zeros(2, 5, 1))[0], y)
    assert torch.equal(network.eval()(torch.zeros(2, 5, 1))[0], torch.ones(2, 5, 4000))


@pytest.mark.parametrize("cell", CELLS)
def test_no_dropout_behind_the_last_layer(cell):
    with pytest.warns(UserWarning, match=r"num_layers of at least 2 .* dropout=0\.9"):
        network = make(cell, dropout=0.9)
    x, *_ = leaves_of(network, 4, 3)
    assert torch.equal(network(x)[0], network.eval()(x)[0])


@pytest.mark.parametrize("trainable", [True, False])
def test_time_constants(trainable):
    tau = torch.linspace(0.5, 3, 21)
    network = SparseCTRNN(6, 21, density=0.3, tau=tau, trainable_tau=trainable, bidirectional=True)
    for layer in ("l0", "l0_reverse"):
        assert_close(network.tau(layer), tau)
        assert network.tau(layer).requires_grad == trainable
    names = [name for name, _ in network.named_parameters() if "tau" in name]
    assert names == (["log_tau_l0", "log_tau_l0_reverse"] if trainable else [])
    other = SparseCTRNN(6, 21, density=0.3, trainable_tau=trainable, bidirectional=True)
    other.load_state_dict(network.state_dict())
    assert_close(other.tau("l0_reverse"), tau)
