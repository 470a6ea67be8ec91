"""Networks in the hands of torch's own tools."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseRNN, SparseWeight
from sparse_engine.testing import leaves_of
from sparse_engine.topology import SET


def loss(model, x):
    return model(x)[0].square().mean()


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: SparseRNN(6, 21, 2, bidirectional=True, density=0.3), (5, 1, 6)),
        (lambda: SparseRNN(6, 21, 2, density=0.3, dropout=0.0, batch_first=True), (4, 5, 6)),
        (lambda: SparseRNN(6, 21, nonlinearity="relu", density=0.3, input_density=0.5), (5, 4, 6)),
    ],
)
def test_training_steps_compile_without_a_break(make, shape):
    network = make()
    twin = copy.deepcopy(network)
    compiled = torch.compile(lambda x: loss(network, x), fullgraph=True)
    rules = [SET(model, None, fraction=0.5, every=1) for model in (network, twin)]
    for _ in range(2):
        x = torch.randn(shape)
        found, expected = compiled(x), loss(twin, x)
        assert_close(found, expected)
        found.backward()
        expected.backward()
        for own, other in zip(network.parameters(), twin.parameters(), strict=True):
            assert_close(own.grad, other.grad)
        for rule in rules:
            rule.step()


def test_checkpointing_gives_the_same_gradients(make_rnn):
    network = make_rnn()
    x, h0 = leaves_of(network, 5, 3)
    network(x, h0)[0].square().sum().backward()
    grads = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    y, _ = torch.utils.checkpoint.checkpoint(network, x, h0, use_reentrant=False)
    y.square().sum().backward()
    for parameter, grad in zip(network.parameters(), grads, strict=True):
        assert torch.equal(parameter.grad, grad)


def test_gradients_add_up_and_are_zeroed(make_rnn):
    network = make_rnn()
    x, _ = leaves_of(network, 5, 3)
    loss(network, x).backward()
    once = [parameter.grad.clone() for parameter in network.parameters()]
    loss(network, x).backward()
    for parameter, grad in zip(network.parameters(), once, strict=True):
        assert torch.equal(parameter.grad, 2 * grad)
    network.zero_grad(set_to_none=False)
    assert not any(parameter.grad.count_nonzero() for parameter in network.parameters())
    network.zero_grad()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_clipping_sees_the_links_only(make_rnn):
    network = make_rnn(num_layers=2)
    x, _ = leaves_of(network, 5, 3)
    loss(network, x).backward()
    before = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    norm = nn.utils.clip_grad_norm_(network.parameters(), 1e-3)
    assert_close(norm, before.norm())
    after = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    assert_close(after.norm().item(), 1e-3, rtol=1e-2, atol=0)


def test_parameters_are_as_many_as_links(make_rnn):
    network = make_rnn(num_layers=2, density=0.1, input_density=0.5)
    links = sum(part.nnz for part in network.modules() if isinstance(part, SparseWeight))
    assert links == 3 * 44 + 63
    assert sum(p.numel() for p in network.parameters()) == links + 4 * 21
    assert all(p.is_leaf and p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("frozen", ["weight_hh_l0.values", "weight_ih_l0", "bias_hh_l0"])
def test_frozen_parameters_get_no_gradient(frozen, make_rnn):
    network = make_rnn()
    x, _ = leaves_of(network, 5, 3)
    loss(network, x).backward()
    grads = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    network.get_parameter(frozen).requires_grad_(False)
    loss(network, x).backward()
    for name, parameter in network.named_parameters():
        if name == frozen:
            assert parameter.grad is None
        else:
            assert torch.equal(parameter.grad, grads[name]), name


def dropout_alone(share):
    """A network that shows the dropout between its layers, on ones."""
    dense = nn.RNN(1, 4000, 2, "relu", dropout=share)
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.zero_()
        dense.bias_ih_l0.fill_(1)
    network = SparseRNN.from_dense(dense, mask={"weight_ih_l1": torch.eye(4000) > 0})
    with torch.no_grad():
        network.weight_ih_l1.values.fill_(1)
    return network


@pytest.mark.parametrize("share", [0.25, 0.8])
def test_dropout_has_its_share_and_keeps_the_mean(share):
    network = dropout_alone(share)
    y, _ = network(torch.zeros(2, 5, 1))
    dropped = y == 0
    assert_close(y[~dropped], torch.full_like(y[~dropped], 1 / (1 - share)))
    # 40,000 units, of which some are dropped: five standard deviations.
    spread = (share * (1 - share) / y.numel()) ** 0.5
    assert abs(dropped.double().mean().item() - share) < 5 * spread
    assert not torch.equal(network(torch.zeros(2, 5, 1))[0], y)
    assert torch.equal(network.eval()(torch.zeros(2, 5, 1))[0], torch.ones(2, 5, 4000))


def test_no_dropout_behind_the_last_layer(make_rnn):
    with pytest.warns(UserWarning, match=r"num_layers of at least 2 .* dropout=0\.9"):
        network = make_rnn(dropout=0.9)
    x, _ = leaves_of(network, 4, 3)
    assert torch.equal(network(x)[0], network.eval()(x)[0])
