"""SparseRNN against torch.nn.RNN: results, states and every gradient."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseRNN, SparseWeight
from sparse_engine.testing import leaves_of

VARIANTS = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "both ways": {"bidirectional": True},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "batch first": {"batch_first": True, "num_layers": 2},
    "batch first both ways": {"batch_first": True, "bidirectional": True},
    "no bias": {"bias": False, "num_layers": 2},
    "relu": {"nonlinearity": "relu", "num_layers": 2},
    "sparse input": {"input_density": 0.5},
    "sparse input both ways": {"input_density": 0.5, "num_layers": 2, "bidirectional": True},
    "almost no links": {"density": 0.01, "input_density": 0.01},
    "all links": {"density": 1.0},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("batch", [1, 5, None])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_dense_network(variant, initial, batch, dtype, make_rnn, check_like_dense):
    network = make_rnn(dtype, **VARIANTS[variant])
    leaves = leaves_of(network, 7, batch)[: 1 + initial]
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    check_like_dense(network, network.to_dense(), leaves, bound)


@pytest.mark.parametrize("steps", [1, 2, 40])
@pytest.mark.parametrize("batch", [1, 33, 150])
def test_lengths_and_batches(steps, batch, make_rnn, check_like_dense):
    network = make_rnn(num_layers=2)
    check_like_dense(network, network.to_dense(), leaves_of(network, steps, batch), 1e-10)


@pytest.mark.parametrize("inputs", [127, 128, 129, 300])
def test_wide_input(inputs, check_like_dense):
    network = SparseRNN(inputs, 21, density=0.3, dtype=torch.float64)
    x = torch.randn(4, 3, inputs, dtype=torch.float64)
    check_like_dense(network, network.to_dense(), [x], 1e-10)


def test_input_that_is_not_contiguous(make_rnn, check_like_dense):
    network = make_rnn(batch_first=True)
    x = torch.randn(12, 5, 7, dtype=torch.float64).permute(1, 2, 0)[..., ::2]
    check_like_dense(network, network.to_dense(), [x], 1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_are_those_of_the_dense_network(variant, make_rnn):
    network = make_rnn(**VARIANTS[variant])
    names = [name.removesuffix(".values") for name, _ in network.named_parameters()]
    assert sorted(names) == sorted(name for name, _ in network.to_dense().named_parameters())
    for name, parameter in network.named_parameters():
        owner = network.get_submodule(name.rpartition(".")[0])
        assert isinstance(owner, SparseWeight) == name.endswith(".values")
        assert parameter.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_empty_batch(dtype, make_rnn):
    network = make_rnn(dtype, num_layers=2, bidirectional=True)
    y, h_n = network(*leaves_of(network, 4, 0))
    assert y.shape == (4, 0, 42) and h_n.shape == (4, 0, 21)
    y.sum().backward()
    for parameter in network.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def test_results_without_gradients_have_the_same_bits(make_rnn):
    network = make_rnn(torch.float32, num_layers=2)
    x, h0 = leaves_of(network, 5, 3)
    recorded, _ = network(x, h0)
    with torch.no_grad():
        assert torch.equal(network(x, h0)[0], recorded)
    with torch.inference_mode():
        assert torch.equal(network(x, h0)[0], recorded)


def test_the_final_state_continues_a_sequence(make_rnn):
    network = make_rnn(num_layers=2)
    x, h0 = leaves_of(network, 9, 4)
    whole, last = network(x, h0)
    first, between = network(x[:5], h0)
    second, end = network(x[5:], between)
    assert_close(torch.cat([first, second]), whole, rtol=1e-14, atol=1e-14)
    assert_close(end, last, rtol=1e-14, atol=1e-14)


def test_works_inside_a_model_of_torch():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = SparseRNN(3, 30, density=0.2)
            self.readout = nn.Linear(30, 2)

        def forward(self, x):
            return self.readout(self.recurrent(x)[1][-1])

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, target = torch.randn(8, 16, 3), torch.randn(16, 2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
