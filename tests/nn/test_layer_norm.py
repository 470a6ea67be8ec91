"""Layer normalisation inside the recurrence, against the equations of Ba et al. 2016."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm
from torch.testing import assert_close

from sparse_engine.nn import CELLS, SparseLSTM, SparseRNN
from sparse_engine.topology import SET, RigL

NETWORKS = pytest.mark.parametrize(
    "kind", [entry.network for entry in CELLS.values() if entry.layer_norm]
)


def make(kind, dtype=torch.float64, **options):
    torch.manual_seed(5)
    network = kind(6, 21, density=0.3, layer_norm=True, dtype=dtype, **options)
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
        y = (y - mean) / (var + norms[of].eps).sqrt()
        return y * norms[of].weight + norms[of].bias if norms[of].elementwise_affine else y

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


def check(network, x, bound):
    """Outputs and all gradients, relative to the largest of each, against the equations."""
    leaves = [x, *network.parameters()]
    y, expected = network(x)[0], literal(network, x)
    upstream = torch.randn_like(y)
    found = y, *torch.autograd.grad(y, leaves, upstream)
    wanted = expected, *torch.autograd.grad(expected, leaves, upstream)
    for own, other in zip(found, wanted, strict=True):
        size = other.detach().abs().max().clamp(min=1)
        assert_close(own / size, other / size, rtol=bound, atol=bound)


@NETWORKS
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_equals_the_equations(kind, dtype, bound):
    check(make(kind, dtype), torch.randn(5, 3, 6, dtype=dtype, requires_grad=True), bound)


@NETWORKS
def test_norms_may_be_others(kind):
    """What they are is asked of the modules."""
    network, x = make(kind), torch.randn(5, 3, 6, dtype=torch.float64, requires_grad=True)
    for of, norm in network.norm_l0.items():
        norm.eps = 0.3
        if of != "ih":
            network.norm_l0[of] = nn.LayerNorm(norm.normalized_shape, 0.2, False)
    check(network, x, 1e-10)


@NETWORKS
def test_noted_factors_are_those_of_the_dense_gradient(kind):
    network, x = make(kind), torch.randn(5, 3, 6, dtype=torch.float64)
    weight = network.weight_hh_l0
    (expected,) = torch.autograd.grad(network(x)[0].cos().sum(), weight.values)
    weight.captured = [[]]
    network(x)[0].cos().sum().backward()
    assert_close(weight.values.grad, expected, rtol=1e-10, atol=1e-10)
    dense = sum(dy.T @ state for dy, state in weight.captured[0])
    at_links = dense[weight.rows(), weight.col_indices.long()]
    assert_close(at_links, expected, rtol=1e-10, atol=1e-10)


@NETWORKS
def test_training_steps_compile_without_a_break(kind):
    network, x = make(kind), torch.randn(5, 3, 6, dtype=torch.float64)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    parameters = [*network.parameters()]
    expected = torch.autograd.grad(network(x)[0].cos().sum(), parameters)
    found = torch.autograd.grad(compiled(x)[0].cos().sum(), parameters)
    assert_close(found, expected, rtol=1e-12, atol=1e-12)


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
    with pytest.raises(ValueError, match="expected no layer_norm to convert, found True"):
        make(kind).to_dense()
    assert "norm_l0" not in dict(kind(6, 21, density=0.3).named_children())


def test_the_norm_is_that_of_torch():
    network, x = make(SparseRNN), torch.randn(1, 3, 6, dtype=torch.float64)
    norm = network.norm_l0["ih"]
    assert isinstance(norm, nn.LayerNorm)
    z = layer_norm(x[0] @ network.weight_ih_l0.T, (21,), norm.weight, norm.bias)
    z = z + network.norm_l0["hh"].bias + network.bias_ih_l0 + network.bias_hh_l0
    assert_close(network(x)[0][0], z.tanh())
