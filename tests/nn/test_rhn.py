"""SparseRHN against a network in plain torch that is written from the equations."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear, SparseRHN, SparseWeight
from sparse_engine.testing import assert_valid
from sparse_engine.topology import SET
from sparse_engine.topology.presets import RigL

VARIANTS = {
    "plain": {},
    "separate gates": {"coupled": False},
    "one level": {"recurrence_depth": 1},
    "two layers both ways": {"num_layers": 2, "bidirectional": True, "coupled": False},
    "batch first": {"batch_first": True, "num_layers": 2},
    "no bias": {"bias": False, "num_layers": 2},
    "sparse input both ways": {"input_density": 0.5, "num_layers": 2, "bidirectional": True},
    "almost no links": {"density": 0.01, "input_density": 0.01},
    "all links": {"density": 1.0},
}


def make(dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(4)
    options = {"density": 0.3, "recurrence_depth": 3, "dtype": dtype} | options
    return SparseRHN(6, 21, generator=generator, **options)


class Dense(nn.Module):
    """The same function with dense weights; a mask of the recurrent state for all layers."""

    def __init__(self, network, mask=None):
        super().__init__()
        self.network, self.mask = network, mask
        self.weights = nn.ParameterDict()
        for name, module in network.named_modules():
            if isinstance(module, SparseWeight):
                self.weights[name.replace(".", "_")] = module.to_dense().detach()
        for name, parameter in network.named_parameters():
            if not name.endswith(".values"):
                self.weights[name] = parameter.detach().clone()

    def layer(self, name, x, s):
        own, network = self.weights, self.network
        outputs = []
        for step in x @ own[f"weight_ih_{name}"].T:
            for level in range(network.recurrence_depth):
                u = (s if self.mask is None else s * self.mask) @ own[f"weight_hh_{name}_{level}"].T
                u = u + step if level == 0 else u
                u = u + own[f"bias_hh_{name}"][level] if network.bias else u
                blocks = u.split(network.hidden_size, -1)
                h, t = blocks[0].tanh(), blocks[1].sigmoid()
                c = 1 - t if network.coupled else blocks[2].sigmoid()
                s = h * t + s * c
            outputs.append(s)
        return torch.stack(outputs)

    def forward(self, x, h0=None):
        network, single = self.network, x.dim() == 2
        x = x[:, None] if single else x.transpose(0, 1) if network.batch_first else x
        layers = network.num_layers * (2 if network.bidirectional else 1)
        if h0 is None:
            states = iter(x.new_zeros(layers, x.shape[1], 21))
        else:
            states = iter(h0[:, None] if single else h0)
        final = []
        for layer in range(network.num_layers):
            outputs = [self.layer(f"l{layer}", x, next(states))]
            final.append(outputs[0][-1])
            if network.bidirectional:
                outputs.append(self.layer(f"l{layer}_reverse", x.flip(0), next(states)))
                final.append(outputs[1][-1])
                outputs[1] = outputs[1].flip(0)
            x = torch.cat(outputs, 2)
        h_n = torch.stack(final)
        if single:
            return x[:, 0], h_n[:, 0]
        return x.transpose(0, 1) if network.batch_first else x, h_n


def leaves_of(network, steps, batch, *, initial=True):
    dtype = next(network.parameters()).dtype
    of_batch = () if batch is None else (batch,)
    shape = (steps, *of_batch, 6)
    if network.batch_first and batch is not None:
        shape = (batch, steps, 6)
    layers = network.num_layers * (2 if network.bidirectional else 1)
    states = [torch.randn(layers, *of_batch, 21, dtype=dtype)] if initial else []
    return [torch.randn(shape, dtype=dtype), *states]


def check_like(network, dense, leaves, bound):
    """Results and all gradients."""
    close = {"rtol": bound, "atol": bound}
    upstream, results = None, []
    for model in (network, dense):
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        y = model(*own)
        upstream = upstream or [torch.randn_like(each) for each in y]
        torch.autograd.backward(y, upstream)
        results.append([*y, *(leaf.grad for leaf in own)])
    for one, other in zip(*results, strict=True):
        assert_close(one, other, **close)
    for name, parameter in network.named_parameters():
        weight = name.removesuffix(".values")
        expected = dense.weights[weight.replace(".", "_")].grad
        if weight != name:
            module = network.get_submodule(weight)
            expected = expected[module.rows(), module.col_indices.long()]
        assert_close(parameter.grad, expected, **close, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("batch", [1, 5, None])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_dense_network(variant, initial, batch, dtype):
    network = make(dtype, **VARIANTS[variant])
    leaves = leaves_of(network, 7, batch, initial=initial)
    check_like(network, Dense(network), leaves, 1e-10 if dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize("coupled", [True, False])
def test_one_mask_drops_the_recurrent_state_of_a_sequence(coupled):
    network = make(coupled=coupled, recurrent_dropout=0.4)
    leaves = leaves_of(network, 7, 5)
    torch.manual_seed(1)
    mask = nn.functional.dropout(torch.ones(5, 21, dtype=torch.float64), 0.4)
    assert 0 < (mask == 0).sum() < mask.numel()
    dense = Dense(network, mask)
    torch.manual_seed(1)
    check_like(network, dense, leaves, 1e-10)
    assert not torch.equal(network(*leaves)[0], network(*leaves)[0])
    network.eval()
    assert_close(network(*leaves), Dense(network)(*leaves), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_checkpoints_change_no_result(bidirectional):
    network = make(recurrent_dropout=0.4, num_layers=2, bidirectional=bidirectional)
    leaves, results = leaves_of(network, 7, 5), []
    for every in (None, 3):
        network.checkpoint_every = every
        network.zero_grad()
        torch.manual_seed(1)
        y, h_n = network(*leaves)
        (y.square().sum() + h_n.sum()).backward()
        results.append([y, h_n, *(parameter.grad.clone() for parameter in network.parameters())])
    for one, other in zip(*results, strict=True):
        assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_names_and_shapes():
    network = make(num_layers=2, bidirectional=True, coupled=False)
    shapes = {name: [*p.shape] for name, p in network.named_parameters() if "values" not in name}
    assert shapes["weight_ih_l0_reverse"] == [63, 6]
    assert shapes["bias_hh_l1"] == [3, 63]
    assert len(shapes) == 6
    assert [weight.shape for weight in network.weight_hh_l1_reverse] == [(63, 21)] * 3
    assert network.weight_ih_l1.shape == (63, 42)
    assert "weight_hh_l0.2.values" in dict(network.named_parameters())
    assert "recurrence_depth=3, coupled=False, recurrent_dropout=0.0" in repr(network)


def test_empty_batch():
    network = make(num_layers=2, bidirectional=True)
    y, h_n = network(*leaves_of(network, 4, 0))
    assert y.shape == (4, 0, 42) and h_n.shape == (4, 0, 21)
    y.sum().backward()
    for parameter in network.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def test_the_final_state_continues_a_sequence():
    network = make(num_layers=2)
    x = leaves_of(network, 9, 4)[0]
    whole, last = network(x)
    first, between = network(x[:5])
    second, end = network(x[5:], between)
    assert_close(torch.cat([first, second]), whole, rtol=1e-14, atol=1e-14)
    assert_close(end, last, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("input_density", [1.0, 0.5])
@pytest.mark.parametrize("recurrent_dropout", [0.0, 0.4])
def test_factors_are_those_of_the_dense_gradient(input_density, recurrent_dropout):
    options = {"input_density": input_density, "recurrent_dropout": recurrent_dropout}
    network = make(num_layers=1, **options)
    for module in network.modules():
        if isinstance(module, SparseWeight):
            module.factors = [[]]
    leaves = leaves_of(network, 4, 3)
    torch.manual_seed(1)
    ones = torch.ones(3, 21, dtype=torch.float64)
    dense = Dense(network, nn.functional.dropout(ones, recurrent_dropout))
    torch.manual_seed(1)
    for model in (network, dense):
        sum(result.square().sum() for result in model(*leaves)).backward()
    for name, module in network.named_modules():
        if isinstance(module, SparseWeight):
            (pairs,) = module.factors
            assert_close(
                sum(dy.T @ x for dy, x in pairs), dense.weights[name.replace(".", "_")].grad
            )


def test_nothing_is_noted_without_gradients():
    network = make()
    network.weight_hh_l0[1].factors = [[]]
    with torch.no_grad():
        network(leaves_of(network, 4, 3)[0])
    assert network.weight_hh_l0[1].factors == [[]]


@pytest.mark.parametrize("way", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_independent(way):
    network = make(torch.float32)
    other, fresh = way(network), make(torch.float32, density=0.2)
    fresh.load_state_dict(network.state_dict())
    x = leaves_of(network, 4, 3)[0]
    before = network(x)[0]
    SET(network, None, fraction=0.5, every=1).step()
    assert not torch.equal(network(x)[0], before)
    assert torch.equal(other(x)[0], before)
    assert torch.equal(fresh(x)[0], before)


@pytest.mark.parametrize("method", [SET, partial(RigL, steps=80)])
def test_learns_while_it_is_rewired(method):
    recurrent = SparseRHN(3, 30, recurrence_depth=2, density=0.2, recurrent_dropout=0.1)
    readout = SparseLinear(30, 2, density=0.5)
    model = nn.ModuleList([recurrent, readout])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    rewiring = method(model, optimizer, fraction=0.2, every=5)
    before = [weight.nnz for weight in rewiring.weights]
    x, target = torch.randn(8, 16, 3), torch.randn(16, 2)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = (readout(recurrent(x)[0][-1]) - target).square().mean()
        loss.backward()
        optimizer.step()
        rewiring.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]
    assert [weight.nnz for weight in rewiring.weights] == before
    for weight in recurrent.weight_hh_l0:
        assert weight.topology_version > 5
        assert_valid(weight)


def test_compiles_without_a_graph_break():
    network = make(torch.float32, num_layers=2)
    x = leaves_of(network, 4, 3)[0]
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), network(x))
    compiled(x)[0].sum().backward()
    grads = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    network(x)[0].sum().backward()
    for one, parameter in zip(grads, network.parameters(), strict=True):
        assert_close(one, parameter.grad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recurrence_depth": 0}, "recurrence_depth of at least 1, found 0"),
        ({"recurrent_dropout": 1.5}, r"recurrent_dropout in \[0, 1\], found 1.5"),
        ({"density": 0}, r"density in \(0, 1\], found 0"),
        ({"input_density": 1.5}, r"input_density in \(0, 1\], found 1.5"),
        ({"checkpoint_every": 0}, "checkpoint_every of at least 1 step, found 0"),
        ({"num_layers": 0}, "num_layers of at least 1, found 0"),
    ],
)
def test_arguments_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        make(**change)


def test_a_state_of_the_wrong_shape():
    network = make()
    with pytest.raises(ValueError, match=r"h0 of shape \[1, 3, 21\], found \[1, 2, 21\]"):
        network(torch.randn(4, 3, 6).double(), torch.randn(1, 2, 21).double())
