"""Networks that train: with optimizers, rewiring, dropout, zoneout and time constants."""

from functools import partial

import pytest
import torch
from contract.networks import forms_where, make, weights_of
from testing import assert_valid, leaves_of
from torch import nn
from torch.testing import assert_close

from sparse_engine.deploy import quantize
from sparse_engine.nn import CELLS, SparseCTRNN, SparseLSTM, SparseRNN
from sparse_engine.topology import SET, RigL

GROWING = forms_where(lambda entry: entry.cell.gradient_growth)


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


def dense_loop(network, x, keep):
    """An LSTM with a mask of kept units for each state and step, with torch's own cell."""
    cell = nn.LSTMCell(6, 21, dtype=x.dtype)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        own = getattr(network, f"{name}_l0")
        getattr(cell, name).data = (own.to_dense() if name == "weight_hh" else own).detach()
    state, outputs = x.new_zeros(2, x.shape[1], 21), []
    for t, each in enumerate(x):
        new = torch.stack(cell(each, tuple(state)))
        state = keep[t] * state + (1 - keep[t]) * new
        outputs.append(state[0])
    return torch.stack(outputs), state


@pytest.mark.parametrize("training", [False, True])
def test_units_that_are_drawn_keep_their_states_and_evaluation_takes_the_expectation(training):
    network = SparseLSTM(6, 21, density=0.3, zoneout=(0.3, 0.1), dtype=torch.float64)
    x = torch.randn(7, 3, 6, dtype=torch.float64)
    torch.manual_seed(5)
    y, state = network.train(training)(x)
    torch.manual_seed(5)
    keep = torch.tensor([0.3, 0.1]).double()[:, None, None].expand(7, 2, 3, 21)
    if training:
        drawn = [torch.rand(3, 21, dtype=x.dtype) < rate for _ in range(7) for rate in (0.3, 0.1)]
        keep = torch.stack(drawn).reshape(7, 2, 3, 21).to(x.dtype)
    wanted, last = dense_loop(network, x, keep)
    assert_close(y, wanted)
    assert_close(torch.cat(state), last)
    y.square().sum().backward()
    assert network.weight_hh_l0.values.grad.abs().max() > 0


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_has_zoneout(cell):
    network, x = CELLS[cell](6, 21, 2, density=0.3, zoneout=1.0), torch.randn(4, 3, 6)
    assert "zoneout=1.0" in network.extra_repr() and not network(x)[0].any()
    network.zoneout = 0.0
    still = CELLS[cell](6, 21, 2, density=0.3)
    still.load_state_dict(network.state_dict())
    assert torch.equal(network(x)[0], still(x)[0]) and network(x)[0].any()
    network.zoneout = 0.4
    torch.manual_seed(0)
    half = network(x)[0]
    network.checkpoint_every = 3
    torch.manual_seed(0)
    assert_close(network(x)[0], half)
    one, _ = network.eval().step(x[0])
    assert_close(one, network(x[:1])[0][0])


def test_what_zoneout_does_not_go_with():
    with pytest.raises(ValueError, match=r"zoneout in \[0, 1\], found 2.0"):
        SparseLSTM(6, 21, density=0.3, zoneout=2.0)
    with pytest.raises(ValueError, match="found 1 numbers"):
        SparseLSTM(6, 21, density=0.3, zoneout=(0.1,))
    network = SparseLSTM(6, 21, density=0.3, zoneout=0.1)
    with pytest.raises(ValueError, match=r"expected no zoneout to convert, found 0\.1"):
        network.to_dense()
    assert "has zoneout" in str(quantize(nn.Sequential(network)).report)
