"""SparseRNN against torch.nn.RNN."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseRNN, SparseWeight

VARIANTS = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "both ways": {"bidirectional": True},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "batch first": {"batch_first": True, "num_layers": 2},
    "no bias": {"bias": False},
    "relu": {"nonlinearity": "relu"},
    "sparse input": {"input_density": 0.5},
}


def make(dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(4)
    options = {"density": 0.3} | options
    return SparseRNN(6, 21, dtype=dtype, generator=generator, **options)


def gradients_at_links(network, dense):
    """Pairs of gradients, of the network's parameters and of the dense one's same entries."""
    for name, parameter in dense.named_parameters():
        own = getattr(network, name)
        if isinstance(own, SparseWeight):
            yield own.values.grad, parameter.grad[own.rows(), own.col_indices.long()]
        else:
            yield own.grad, parameter.grad


def check(network, x, h0, close):
    dense = network.to_dense()
    leaves = [t for t in (x, h0) if t is not None]
    copies = [t.detach().clone().requires_grad_() for t in leaves]
    for leaf in leaves:
        leaf.requires_grad_()
    y, h_n = network(*leaves)
    y_dense, h_dense = dense(*copies)
    assert_close(y, y_dense, **close)
    assert_close(h_n, h_dense, **close)
    left, right = torch.randn_like(y), torch.randn_like(h_n)
    ((y * left).sum() + (h_n * right).sum()).backward()
    ((y_dense * left).sum() + (h_dense * right).sum()).backward()
    for leaf, other in zip(leaves, copies, strict=True):
        assert_close(leaf.grad, other.grad, **close)
    for own, other in gradients_at_links(network, dense):
        assert_close(own, other, **close)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("batch", [1, 5, None])
def test_equals_the_dense_network(variant, initial, batch):
    network = make(**VARIANTS[variant])
    states = network.num_layers * (2 if network.bidirectional else 1)
    x = torch.randn(7, *(() if batch is None else (batch,)), 6, dtype=torch.float64)
    if network.batch_first and batch is not None:
        x = x.transpose(0, 1).contiguous()
    h0 = None
    if initial:
        h0 = torch.randn(states, *(() if batch is None else (batch,)), 21, dtype=torch.float64)
    check(network, x, h0, {"rtol": 1e-10, "atol": 1e-10})


def test_single_precision():
    check(
        make(torch.float32, num_layers=2), torch.randn(7, 5, 6), None, {"rtol": 1e-5, "atol": 1e-5}
    )


def test_wide_input_is_multiplied_up_front():
    generator = torch.Generator().manual_seed(4)
    network = SparseRNN(300, 21, density=0.3, dtype=torch.float64, generator=generator)
    x = torch.randn(4, 3, 300, dtype=torch.float64)
    check(network, x, None, {"rtol": 1e-10, "atol": 1e-10})


def test_names_are_those_of_the_dense_network():
    network = make(num_layers=2, bidirectional=True)
    sparse = {name.removesuffix(".values") for name, _ in network.named_parameters()}
    assert sparse == {name for name, _ in network.to_dense().named_parameters()}
    assert "weight_hh_l0.values" in dict(network.named_parameters())
    assert isinstance(network.weight_ih_l0, nn.Parameter)
    assert isinstance(network.weight_ih_l1, SparseWeight)


def test_every_sparse_weight_has_its_exact_size():
    network = make(num_layers=2, density=0.1, input_density=0.5)
    assert network.weight_hh_l0.nnz == network.weight_hh_l1.nnz == network.weight_ih_l1.nnz == 44
    assert network.weight_ih_l0.nnz == 63


def test_from_dense():
    dense = nn.RNN(6, 21, num_layers=2)
    network = SparseRNN.from_dense(dense, density=0.1, input_density=0.5)
    kept = network.weight_hh_l0.to_dense() != 0
    assert kept.sum() == 44
    assert dense.weight_hh_l0.abs()[kept].min() >= dense.weight_hh_l0.abs()[~kept].max()
    mask = torch.rand(21, 21) < 0.2
    one = nn.RNN(6, 21, nonlinearity="relu", batch_first=True, dtype=torch.float64).eval()
    masked = SparseRNN.from_dense(one, mask=mask)
    assert torch.equal(masked.weight_hh_l0.to_dense(), one.weight_hh_l0 * mask)
    assert (masked.nonlinearity, masked.batch_first, masked.training) == ("relu", True, False)
    whole = SparseRNN.from_dense(dense)
    x = torch.randn(3, 2, 6)
    assert_close(whole(x)[0], dense(x)[0])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            {"density": 0.1, "mask": torch.ones(21, 21) > 0},
            ValueError,
            "density or mask, found both",
        ),
        ({"mask": torch.ones(5, 5) > 0}, ValueError, r"mask of shape \[21, 21\], found \[5, 5\]"),
        ({"mask": {"weight_xx": torch.ones(1)}}, ValueError, r"found \['weight_xx'\]"),
        ({"density": 0.0}, ValueError, r"density in \(0, 1\], found 0.0"),
    ],
)
def test_from_dense_errors(arguments, kind, message):
    with pytest.raises(kind, match=message):
        SparseRNN.from_dense(nn.RNN(6, 21), **arguments)


def test_from_dense_of_another_kind():
    with pytest.raises(TypeError, match=r"expected a torch.nn.RNN, found LSTM"):
        SparseRNN.from_dense(nn.LSTM(6, 21), density=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 2.0}, r"density in \(0, 1\], found 2.0"),
        ({"density": float("nan")}, "found nan"),
        ({"input_density": 0.0}, r"input_density in \(0, 1\], found 0.0"),
        ({"num_layers": 0}, "num_layers of at least 1, found 0"),
        ({"dropout": 1.5}, r"dropout in \[0, 1\], found 1.5"),
        ({"nonlinearity": "sin"}, "'tanh' or 'relu', found 'sin'"),
    ],
)
def test_constructor_errors(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_input_errors():
    network = make(torch.float32)
    cases = [
        ((torch.randn(4, 3, 5),), r"\[steps, batch, 6\] or \[steps, 6\], found \[4, 3, 5\]"),
        ((torch.randn(6),), r"found \[6\]"),
        ((torch.randn(0, 3, 6),), "expected at least one time step, found none"),
        ((torch.randn(4, 3, 6), torch.zeros(1, 2, 21)), r"h0 of shape \[1, 3, 21\], found \[1, 2"),
        ((torch.randn(4, 3, 6).double(),), "dtype float32, found float64"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            network(*arguments)
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 6)])
    with pytest.raises(TypeError, match="found a PackedSequence; unpack it"):
        network(packed)


def test_empty_batch():
    network = make()
    y, h_n = network(torch.randn(4, 0, 6, dtype=torch.float64))
    assert y.shape == (4, 0, 21) and h_n.shape == (1, 0, 21)
    y.sum().backward()
    assert torch.equal(network.weight_hh_l0.values.grad, torch.zeros(132, dtype=torch.float64))


def test_dropout_between_layers_in_training_only():
    network = make(num_layers=2, dropout=0.5)
    x = torch.randn(4, 3, 6, dtype=torch.float64)
    assert not torch.equal(network(x)[0], network(x)[0])
    network.eval()
    assert torch.equal(network(x)[0], network(x)[0])
    check(network, x, None, {"rtol": 1e-10, "atol": 1e-10})


@pytest.mark.parametrize("batch", [1, 4])
def test_a_training_step_compiles_without_a_break(batch):
    network = make(torch.float32, num_layers=2, bidirectional=True)
    twin = copy.deepcopy(network)
    x = torch.randn(5, batch, 6)

    def loss(model):
        return model(x)[0].square().mean()

    compiled = torch.compile(lambda: loss(network), fullgraph=True)()
    compiled.backward()
    eager = loss(twin)
    eager.backward()
    assert_close(compiled, eager)
    for own, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert_close(own.grad, other.grad)


def test_functional_call_and_state_round_trip():
    network, other = make(), make(density=0.1)
    x = torch.randn(4, 3, 6, dtype=torch.float64)
    doubled = {name: 2 * p for name, p in network.named_parameters()}
    y, _ = torch.func.functional_call(network, doubled, (x,))
    assert not torch.equal(y, network(x)[0])
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x)[0], network(x)[0])
