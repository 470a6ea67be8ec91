"""Layer normalisation inside the recurrence, against the equations of Ba et al. 2016."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm
from torch.testing import assert_close

from sparse_engine.nn import SparseLSTM, SparseRNN
from sparse_engine.topology import SET, RigL

NETWORKS = pytest.mark.parametrize("kind", [SparseRNN, SparseLSTM])


def make(kind, **options):
    torch.manual_seed(5)
    network = kind(6, 21, density=0.3, layer_norm=True, dtype=torch.float64, **options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("norm"):
                parameter.normal_()
    return network


def literal(network, x):
    """One layer, one direction."""
    norms = network.norm_l0

    def norm(of, y):
        mean, var = y.mean(-1, keepdim=True), y.var(-1, correction=0, keepdim=True)
        return (y - mean) / (var + 1e-5).sqrt() * norms[of].weight + norms[of].bias

    w_hh = network.weight_hh_l0.to_dense()
    h = c = x.new_zeros(x.shape[1], 21)
    outputs = []
    for step in x:
        z = norm("ih", step @ network.weight_ih_l0.T) + norm("hh", h @ w_hh.T)
        z = z + network.bias_ih_l0 + network.bias_hh_l0
        if isinstance(network, SparseLSTM):
            i, f, g, o = z.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * norm("c", c).tanh()
        else:
            h = z.tanh()
        outputs.append(h)
    return torch.stack(outputs)


@NETWORKS
def test_equals_the_equations(kind):
    network, x = make(kind), torch.randn(5, 3, 6, dtype=torch.float64, requires_grad=True)
    leaves = [x, *network.parameters()]
    y, expected = network(x)[0], literal(network, x)
    assert_close(y, expected, rtol=1e-10, atol=1e-10)
    upstream = torch.randn_like(y)
    for own, other in zip(
        torch.autograd.grad(y, leaves, upstream),
        torch.autograd.grad(expected, leaves, upstream),
        strict=True,
    ):
        assert_close(own, other, rtol=1e-10, atol=1e-10)


@NETWORKS
@pytest.mark.parametrize("options", [{}, {"bias": False, "input_density": 0.5}])
def test_sequences_of_different_lengths(kind, options):
    network = make(kind, num_layers=2, bidirectional=True, **options)
    x = torch.randn(7, 3, 6, dtype=torch.float64)
    y, state = network(x, lengths=[4, 7, 1])
    state = state if isinstance(state, tuple) else (state,)
    for n, length in enumerate([4, 7, 1]):
        alone, last = network(x[:length, n])
        assert_close(y[:length, n], alone, rtol=1e-10, atol=1e-10)
        last = last if isinstance(last, tuple) else (last,)
        for all_of, own in zip(state, last, strict=True):
            assert_close(all_of[:, n], own, rtol=1e-10, atol=1e-10)


@NETWORKS
def test_steps_segments_and_rewiring(kind):
    network, x = make(kind), torch.randn(7, 3, 6, dtype=torch.float64)
    expected, state = network(x)[0], None
    for t, step in enumerate(x):
        y, state = network.step(step, state)
        assert_close(y, expected[t], rtol=1e-10, atol=1e-10)
    network.checkpoint_every = 3
    assert_close(network(x)[0], expected, rtol=1e-10, atol=1e-10)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for method in (SET, partial(RigL, steps=9)):
        rule = method(network, optimizer, every=1)
        network(x)[0].sum().backward()
        optimizer.step()
        rule.step()


@NETWORKS
def test_no_dense_counterpart(kind):
    with pytest.raises(ValueError, match="without layer_norm"):
        make(kind).to_dense()
    assert "norm_l0" not in dict(kind(6, 21, density=0.3).named_children())


def test_the_norm_is_that_of_torch():
    network, x = make(SparseRNN), torch.randn(1, 3, 6, dtype=torch.float64)
    norm = network.norm_l0["ih"]
    assert isinstance(norm, nn.LayerNorm)
    z = layer_norm(x[0] @ network.weight_ih_l0.T, (21,), norm.weight, norm.bias)
    z = z + network.norm_l0["hh"].bias + network.bias_ih_l0 + network.bias_hh_l0
    assert_close(network(x)[0][0], z.tanh())
